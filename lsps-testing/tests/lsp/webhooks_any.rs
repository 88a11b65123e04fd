//! Webhooks under random events: how often a client is called, and how long it is remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_service::{Config, Input, WakeReason};
use lsps_testing::{Lsp, LspSetup, NOON, peer};
use lsps_types::Timestamp;
use proptest::{collection::vec, prelude::*};

use crate::webhooks::{apps, occurs, posts, serving, sets};

#[derive(Clone, Debug)]
enum Step {
    WakeUp(bool),
    ComesAndGoes,
    Comes,
    Goes,
    Waits(u64),
    Restarts,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::WakeUp),
        2 => Just(Step::ComesAndGoes),
        1 => Just(Step::Comes),
        1 => Just(Step::Goes),
        3 => (1u64..400).prop_map(Step::Waits),
        1 => Just(Step::Restarts),
    ]
}

/// When a method was raised, and whether the client connected since.
#[derive(Default)]
struct Raised {
    at: Vec<Timestamp>,
    came: bool,
}

proptest! {
    #[test]
    fn case_N06_a_client_is_called_when_it_may_and_only_then(steps in vec(any_step(), 1..80)) {
        let mut config = serving();
        config.limits.calls_per_cooldown = 3;
        let (cooldown, most) = (config.webhooks.cooldown, config.limits.calls_per_cooldown);
        let mut lsp = Lsp::at(NOON, LspSetup { config, ..LspSetup::default() });
        sets(&mut lsp, peer(1), "app", "a");
        posts(&mut lsp);
        let (mut now, mut is_here) = (NOON, false);
        let mut raised: BTreeMap<bool, Raised> = BTreeMap::new();
        for step in steps {
            match step {
                Step::WakeUp(payment) => {
                    let reason = if payment { WakeReason::PaymentIncoming } else { WakeReason::OnionMessageIncoming };
                    occurs(&mut lsp, reason);
                    let known = raised.entry(payment).or_default();
                    let is_cool = known.at.last().is_none_or(|last| now >= *last + cooldown);
                    if is_cool {
                        known.at.clear();
                    }
                    let may = !is_here && (is_cool || (known.came && known.at.len() < most));
                    prop_assert_eq!(posts(&mut lsp).len(), usize::from(may));
                    if may {
                        known.at.push(now);
                        known.came = false;
                    } else if is_cool {
                        known.at.clear();
                    }
                }
                Step::Comes | Step::ComesAndGoes | Step::Goes => {
                    if !matches!(step, Step::Goes) {
                        lsp.connects(peer(1));
                        raised.values_mut().for_each(|known| known.came = true);
                        is_here = true;
                    }
                    if !matches!(step, Step::Comes) {
                        lsp.disconnects(peer(1));
                        is_here = false;
                    }
                }
                Step::Waits(seconds) => {
                    now = now + Duration::from_secs(seconds);
                    lsp.wait_until(now);
                }
                Step::Restarts => {
                    lsp.restarts();
                    if is_here {
                        raised.values_mut().for_each(|known| known.came = true);
                    }
                }
            }
            prop_assert!(posts(&mut lsp).is_empty(), "nothing is posted by itself");
        }
    }

    #[test]
    fn case_N01_webhooks_are_kept_while_there_are_channels_and_seven_days_after(
        steps in vec((0u8..4, 0u64..200), 1..60),
    ) {
        let mut config: Config = serving();
        config.webhooks.keep = Duration::from_secs(7 * 86_400);
        // A registration is renewed on record once an hour, and kept for as much longer.
        let keep = config.webhooks.keep + Duration::from_secs(3_600);
        let mut lsp = Lsp::at(NOON, LspSetup { config, ..LspSetup::default() });
        let (mut now, mut has_channel, mut until) = (NOON, false, NOON);
        let mut is_set = false;
        for (kind, hours) in steps {
            match kind {
                0 => {
                    sets(&mut lsp, peer(1), "app", "a");
                    (is_set, until) = (true, now + keep);
                }
                1 => {
                    if has_channel {
                        until = now + keep;
                    }
                    has_channel = !has_channel;
                    lsp.feed(Input::ChannelsWith { peer: peer(1), any: has_channel });
                }
                2 => {
                    lsp.restarts();
                    lsp.feed(Input::ChannelsWith { peer: peer(1), any: has_channel });
                }
                _ => {
                    now = now + Duration::from_secs(3_600 * hours);
                    lsp.wait_until(now);
                }
            }
            is_set &= has_channel || now < until;
            prop_assert_eq!(!apps(&mut lsp, peer(1)).is_empty(), is_set);
        }
    }
}
