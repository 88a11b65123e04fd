//! Registrations of webhooks, and how long they are kept.

use std::time::Duration;

use lsps_service::{Config, Input, Limits, PartId, WakeReason};
use lsps_testing::{Act, Lsp, NOON, buys, call, peer};
use lsps_types::Timestamp;
use lsps_types::codes::SetWebhookError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps5::TooManyWebhooks;

use super::{
    NOTHING, apps, has_channels, lsp, lsp_with, lsp_with_two, occurs, posts, removes, serving, set, sets, silent,
    to_both, to_one,
};
use crate::{SCID, SIZE, key, minutes};

/// L5-022, L5-023
#[test]
fn case_N01_webhooks_of_a_client_with_channels_are_kept_and_seven_days_at_the_least_after_the_last() {
    let mut config = serving();
    config.webhooks.keep = 7 * DAY;
    let mut lsp = lsp_with(config.clone());
    has_channels(&mut lsp, true);
    sets(&mut lsp, peer(1), "app", "a");
    lsp.wait_until(NOON + 60 * DAY);
    lsp.restarts();
    assert_eq!(lsp.service().clients_with_channels().collect::<Vec<_>>(), [peer(1)], "the host compares");
    has_channels(&mut lsp, true);
    lsp.wait_until(NOON + 120 * DAY);
    assert_eq!(apps(&mut lsp, peer(1)), ["app"]);
    has_channels(&mut lsp, false);
    let end = NOON + 127 * DAY + RENEWED_AFTER;
    lsp.wait_until(Timestamp::from_unix_millis(end.unix_millis() - 1));
    assert_eq!(apps(&mut lsp, peer(1)), ["app"]);
    lsp.wait_until(end);
    assert!(apps(&mut lsp, peer(1)).is_empty() && lsp.records().is_empty(), "nothing is left behind");
    assert_eq!(lsp.service().next_wake(), None);

    let mut lsp = lsp_with(config.clone());
    sets(&mut lsp, peer(1), "app", "a");
    lsp.wait_until(NOON + 6 * DAY);
    assert!(sets(&mut lsp, peer(1), "app", "a").no_change, "registered anew is kept anew");
    lsp.wait_until(NOON + 12 * DAY);
    has_channels(&mut lsp, true);
    lsp.wait_until(NOON + 40 * DAY);
    assert_eq!(apps(&mut lsp, peer(1)), ["app"], "a channel in time keeps them");

    config.webhooks.keep = 7 * DAY - Duration::from_secs(1);
    assert_eq!(config.validate().expect_err("too short").field, "webhooks.keep");
}

/// L5-003, L5-018, L5-034
#[test]
fn case_N04_one_too_many_is_refused_and_counts_for_nobody_else() {
    let mut config = serving();
    config.limits.webhooks_per_client = 2;
    config.limits.webhooks_per_stranger = 2;
    let mut lsp = lsp_with(config);
    for (count, app) in ["one", "two"].into_iter().enumerate() {
        let answer = sets(&mut lsp, peer(1), app, "a");
        assert_eq!((answer.num_webhooks, answer.max_webhooks), (u32::try_from(count + 1).expect("few"), 2));
    }
    let refused = set(&mut lsp, peer(1), "three", "a").expect_err("the third");
    assert_eq!(refused.refusal, Refusal::Method(SetWebhookError::TooManyWebhooks));
    assert_eq!(refused.object.read_data(), Some(TooManyWebhooks { max_webhooks: 2 }));
    assert_eq!(sets(&mut lsp, peer(1), "two", "c").num_webhooks, 2, "in place of another");
    assert_eq!(sets(&mut lsp, peer(2), "one", "a").num_webhooks, 1);
    assert!(removes(&mut lsp, peer(1), "one"));
    assert_eq!(sets(&mut lsp, peer(1), "three", "a").num_webhooks, 2);
}

/// L5-017, L5-020, L5-026, L5-027, L5-028, L5-029, L5-041, L5-084
#[test]
fn case_N05_a_registration_is_durable_and_told_to_its_webhook_once() {
    let mut lsp = silent();
    assert!(!sets(&mut lsp, peer(1), "one", "a").no_change);
    assert_eq!(lsp.records().len(), 1, "written before the answer");
    assert_eq!(posts(&mut lsp), to_one("a", "webhook_registered"));
    assert!(sets(&mut lsp, peer(1), "one", "a").no_change);
    sets(&mut lsp, peer(1), "two", "b");
    assert_eq!(posts(&mut lsp), to_one("b", "webhook_registered"), "nothing for what was there");
    lsp.restarts();
    let [a, b] = to_both("webhook_registered");
    assert_eq!(posts(&mut lsp), [a, b], "of neither it is known whether it was delivered");
    assert!(!sets(&mut lsp, peer(1), "one", "c").no_change, "the URL is another");
    assert_eq!(posts(&mut lsp), to_one("c", "webhook_registered"));
    lsp.restarts();
    let [b, c] = ["b", "c"].map(|host| (host.into(), "webhook_registered".into()));
    assert_eq!(posts(&mut lsp), [c, b], "the old URL of app one hears nothing more");
    lsp.wait_until(NOON + serving().webhooks.post_within);
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "and not for ever");
    assert_eq!(apps(&mut lsp, peer(1)), ["one", "two"], "what could not be delivered is registered all the same");
}

/// L5-006
#[test]
fn an_escape_in_a_name_counts_as_it_is_written() {
    let mut lsp = silent();
    for (c, most) in [('\n', 32), ('"', 32), ('\u{1}', 10), ('é', 32)] {
        let mut sets = |length| set(&mut lsp, peer(1), &c.to_string().repeat(length), "a");
        assert!(sets(most).is_ok(), "{c:?}");
        let refusal = sets(most + 1).expect_err("too long").refusal;
        assert_eq!(refusal, Refusal::Method(SetWebhookError::TooLong), "{c:?}");
        assert!(removes(&mut lsp, peer(1), &c.to_string().repeat(most)));
    }
}

/// L5-063
#[test]
fn a_webhook_that_fails_is_kept() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    for minute in 0..100 {
        lsp.wait_until(minutes(6 * minute));
        occurs(&mut lsp, WakeReason::PaymentIncoming);
        for act in lsp.acts() {
            let Act::Post { key, .. } = act else { panic!("{act:?}") };
            lsp.feed(Input::WebhookFailed { key });
        }
    }
    assert_eq!(apps(&mut lsp, peer(1)), ["one"]);
}

/// L5-095
#[test]
fn changes_of_webhooks_are_counted_as_each_makes_us_post_to_a_stranger() {
    let mut lsp = lsp();
    let change = |lsp: &mut Lsp, client| {
        let changed = (0..100).filter(|number| {
            let changed = set(lsp, client, "app", &format!("h{number}")).is_ok();
            let _its_count_stays = removes(lsp, client, "app");
            changed
        });
        (changed.count(), posts(lsp).len())
    };
    let (limit, of_stranger) = (Limits::default().webhook_changes, 2 * Limits::default().webhooks_per_stranger);
    assert_eq!(change(&mut lsp, peer(66)), (of_stranger, of_stranger));
    has_channels(&mut lsp, true);
    assert_eq!(change(&mut lsp, peer(1)), (limit, limit), "others have their own count");
    lsp.wait_until(minutes(60));
    assert!(lsp.records().is_empty(), "and nobody's is remembered for long");
    assert_eq!(change(&mut lsp, peer(66)), (of_stranger, of_stranger));

    sets(&mut lsp, peer(2), "app", "a");
    assert!((0..100).all(|_| sets(&mut lsp, peer(2), "app", "a").no_change), "what changes nothing does not count");
}

#[test]
fn case_X59_a_crowd_of_strangers_with_webhooks_leaves_room_to_whoever_has_a_channel_or_paid_for_one() {
    let mut config = serving();
    (config.limits.webhook_strangers, config.limits.webhook_clients) = (2, 2);
    let mut lsp = lsp_with(config);
    sets(&mut lsp, peer(11), "app", "a");
    sets(&mut lsp, peer(12), "app", "a");
    let refused = set(&mut lsp, peer(13), "app", "a").expect_err("no room");
    assert!(matches!(refused.refusal, Refusal::ClientRejected(Some(_))), "{refused:?}");
    assert_eq!(sets(&mut lsp, peer(12), "other", "a").num_webhooks, 2, "those who are there notice nothing");
    assert!(set(&mut lsp, peer(12), "third", "a").is_err(), "and have little");

    has_channels(&mut lsp, true);
    let answer = sets(&mut lsp, peer(1), "app", "a");
    assert_eq!((answer.num_webhooks, answer.max_webhooks), (1, 10));
    lsp.feed(Input::ChannelsWith { peer: peer(11), any: true });
    assert_eq!(sets(&mut lsp, peer(11), "third", "a").max_webhooks, 10, "one who has a channel now");
    sets(&mut lsp, peer(13), "app", "a");
    lsp.feed(Input::ChannelsWith { peer: peer(14), any: true });
    assert!(set(&mut lsp, peer(14), "app", "a").is_err(), "customers are bounded too");

    lsp.restarts();
    lsp.wait_until(NOON + 7 * DAY + RENEWED_AFTER);
    assert_eq!(apps(&mut lsp, peer(12)), [""; 0], "a stranger is forgotten after seven days");
    lsp.feed(Input::ChannelsWith { peer: peer(11), any: false });
    lsp.wait_until(NOON + 34 * DAY);
    assert_eq!(apps(&mut lsp, peer(11)).len(), 2, "and a customer 28 days after the last channel");
}

#[test]
fn case_X59_who_paid_for_a_channel_is_no_stranger() {
    let mut config = serving();
    config.limits.webhook_strangers = 0;
    let mut lsp = lsp_with(config);
    assert!(set(&mut lsp, peer(1), "app", "a").is_err());
    lsp.connects(peer(1));
    buys(&mut lsp, peer(1), Some(SIZE));
    assert!(set(&mut lsp, peer(1), "app", "a").is_err(), "an offer costs nothing");
    lsp.part(1, SCID, 1, SIZE);
    lsp.funding_signed(key(1));
    lsp.channel_ready(key(1));
    lsp.claimed(PartId([1; 32]));
    assert_eq!(sets(&mut lsp, peer(1), "app", "a").max_webhooks, 10);
}

#[test]
fn case_X56_a_registration_that_is_renewed_all_the_time_is_not_written_all_the_time() {
    let mut lsp = lsp();
    sets(&mut lsp, peer(1), "app", "a");
    let before = lsp.records().clone();
    for minute in 1..60 {
        lsp.wait_until(minutes(minute));
        assert!(sets(&mut lsp, peer(1), "app", "a").no_change);
        assert_eq!(&before, lsp.records());
    }
    lsp.wait_until(minutes(60));
    assert!(sets(&mut lsp, peer(1), "app", "a").no_change);
    assert_ne!(&before, lsp.records(), "it is kept for longer from now on");
}

/// L5-035, L5-036, L5-037, L5-038, L5-039, L5-040
#[test]
fn a_client_lists_and_removes_its_own_apps_and_no_others() {
    let mut lsp = lsp_with_two();
    sets(&mut lsp, peer(2), "other", "c");
    assert_eq!(apps(&mut lsp, peer(1)), ["one", "two"]);
    assert_eq!(apps(&mut lsp, peer(3)), [""; 0]);
    assert!(!removes(&mut lsp, peer(1), "other") && removes(&mut lsp, peer(1), "one"));
    assert!(!removes(&mut lsp, peer(1), "one"), "once");
    lsp.acts();
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_one("b", "payment_incoming"));
}

#[test]
fn case_T02_case_T17_webhooks_are_served_where_somebody_posts_and_listed_then() {
    let mut lsp = lsp_with(Config::default());
    assert_eq!(call(&mut lsp, peer(1), &ListProtocols {}).expect("a list").protocols, [2]);
    let refused = set(&mut lsp, peer(1), "app", "a").expect_err("off");
    assert_eq!(refused.object.code, -32_601);
    assert_eq!(call(&mut self::lsp(), peer(1), &ListProtocols {}).expect("a list").protocols, [2, 5]);
}

const DAY: Duration = Duration::from_secs(86_400);
/// Interval after which a registration is renewed on record; it is kept for as much longer.
const RENEWED_AFTER: Duration = Duration::from_secs(3_600);
