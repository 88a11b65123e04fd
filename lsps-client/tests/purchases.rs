//! Stories of purchases, of the channels opened for them, and of the payments.
#![allow(non_snake_case)]

mod common;

use common::{
    BOUGHT, FEE, HOUR, LSP, NOON, OTHER_LSP, PARAMS, SIZE, blocks, buy, client, effects, hash, open_request, prepared,
    released, terms,
};
use lsps_client::jit_receive::{
    Event, Fault, Handled, InvoiceParams, OpenRequest, Part, Received, RefuseChannel, RefusePurchase, Rules, State,
    Verdict, prepare,
};
use lsps_client::{AcceptTerms, ChannelKey, Client, Config, Effect, FlowId, Notice, Unreadable, Wake};
use lsps_types::lsps2::{Buy, OpeningFeeParams};
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Timestamp};

const ALLOW: Effect = Effect::AllowUnderpaying { lsp: LSP };
const FORBID: Effect = Effect::ForbidUnderpaying { lsp: LSP };

fn registers(client: &mut Client, lsp: PeerId, number: u8, size: Option<Msat>) {
    client.register(&prepared(lsp, &buy(size)), hash(number), NOON).expect("there is room");
}

fn accept(key: u128, attempt: u32, number: u8) -> Effect {
    let terms = AcceptTerms {
        flow: FlowId::Purchase(hash(number)),
        confirmations: 0,
        max_to_self_delay: blocks(2_016),
        in_flight_percent: 100,
        accept_underpaying: true,
    };
    Effect::AcceptChannel { key: ChannelKey(key), attempt, lsp: LSP, terms }
}

fn sums(received: Msat, skimmed: Msat) -> Received<'static> {
    Received::Totals { received, skimmed }
}

/// The payment as it arrives when the LSP keeps its fee of a payment of the promised size.
const AS_PROMISED: Received<'static> = Received::Totals { received: Msat(990_000), skimmed: FEE };

fn pays(client: &mut Client, number: u8, over: &[u128]) -> Handled {
    let over: Vec<ChannelKey> = over.iter().copied().map(ChannelKey).collect();
    client.claimed(hash(number), Msat(990_000), FEE, &over, NOON)
}

/// The same wallet after a restart, loaded from the written records only.
fn restarted(client: &mut Client) -> Client {
    let batch = client.drain();
    let mut again = common::client();
    for (name, bytes) in batch.records() {
        if let Some(bytes) = bytes {
            again.load(&name.to_string(), bytes).expect("we wrote it");
        }
    }
    again
}

#[test]
fn an_invoice_may_be_handed_out_once_its_purchase_is_written() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    let batch = client.drain();
    let records: Vec<_> = batch.records().map(|(name, bytes)| (name.to_string(), bytes.is_some())).collect();
    assert_eq!(records, [(format!("purchase-{}", hash(1)), true)]);
    let released = batch.written();
    assert_eq!(released.notices, [Notice::Purchase(hash(1), Event::Registered)]);
    assert_eq!(released.effects, [ALLOW]);

    let again = client.register(&prepared(LSP, &buy(Some(SIZE))), hash(1), NOON);
    assert_eq!(again, Err(RefusePurchase::KnownPaymentHash));
    let late = client.register(&prepared(LSP, &buy(Some(SIZE))), hash(2), NOON + HOUR);
    assert_eq!(late, Err(RefusePurchase::Expired));
    assert!(client.drain().is_empty());
}

// Payments

#[test]
fn of_a_payment_too_small_for_the_share_that_the_wallet_gives_nothing_is_kept() {
    let (mut client, limit) = (client(), Some(Ppm(10_000)));
    let params = InvoiceParams { max_proportional_fee: limit, ..PARAMS };
    let variable = prepare(LSP, &buy(None), &BOUGHT, &params, &Rules::default(), NOON).unwrap();
    client.register(&variable, hash(1), NOON).unwrap();
    let verdict = |received| client.judge(hash(1), &received);

    assert_eq!(verdict(sums(Msat(990_000), Msat(10_000))), Verdict::Claim, "exactly the share");
    let too_small = Fault::SkimAboveShare { skimmed: Msat(2_000), gross: Msat(100_000) };
    assert_eq!(verdict(sums(Msat(98_000), Msat(2_000))), Verdict::Reject(too_small), "the minimum fee is two per cent");
    assert_eq!(verdict(sums(Msat(100_000), Msat(0))), Verdict::Claim, "none is fine");
}

#[test]
fn case_W04_the_fee_is_judged_on_the_gross_amount_over_all_parts() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    let rules = Rules { least_net: Msat(1), ..Rules::default() };
    let variable = prepare(LSP, &buy(None), &BOUGHT, &PARAMS, &rules, NOON).unwrap();
    client.register(&variable, hash(2), NOON).unwrap();
    let verdict = |number, received| client.judge(hash(number), &received);

    assert_eq!(verdict(1, AS_PROMISED), Verdict::Claim, "exactly promised");
    assert!(matches!(verdict(1, sums(Msat(989_999), Msat(10_001))), Verdict::Reject(_)));
    assert_eq!(verdict(1, sums(Msat(995_000), Msat(5_000))), Verdict::Claim, "less is fine");
    assert!(matches!(verdict(1, sums(Msat(1_990_000), Msat(10_001))), Verdict::Reject(_)), "overpaying buys no more");

    assert_eq!(verdict(2, sums(Msat(990_000), Msat(10_000))), Verdict::Claim, "one per cent of the gross");
    assert!(matches!(verdict(2, sums(Msat(989_999), Msat(10_001))), Verdict::Reject(_)));
    assert_eq!(verdict(2, sums(Msat(98_000), Msat(2_000))), Verdict::Claim, "the minimum fee binds");
    assert!(matches!(verdict(2, sums(Msat(97_999), Msat(2_001))), Verdict::Reject(_)));
    assert!(matches!(verdict(2, sums(Msat(1), Msat(1_999))), Verdict::Reject(_)), "nothing would be left of it");

    let part = |onion, kept: Option<&'static [u8; 8]>| Part {
        onion: Msat(onion),
        amount: Msat(onion - kept.map_or(0, |tlv| u64::from_be_bytes(*tlv))),
        extra_fee: kept.map(|tlv| &tlv[..]),
    };
    const FIVE: &[u8; 8] = &5_000u64.to_be_bytes();
    const SIX: &[u8; 8] = &6_000u64.to_be_bytes();
    let parts = [part(600_000, Some(FIVE)), part(400_000, Some(FIVE))];
    assert_eq!(verdict(1, Received::Parts(&parts)), Verdict::Claim);
    assert_eq!(verdict(1, Received::Parts(&parts[..1])), Verdict::WaitForMore);
    let parts = [part(600_000, Some(FIVE)), part(400_000, Some(SIX))];
    assert!(matches!(verdict(1, Received::Parts(&parts)), Verdict::Reject(_)), "each part alone is within the fee");
}

#[test]
fn case_W13_a_payment_below_the_invoice_is_failed_back() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    assert!(matches!(client.judge(hash(1), &sums(Msat(989_999), FEE)), Verdict::Reject(_)), "one msat short");
    assert!(matches!(client.judge(hash(1), &sums(Msat(1), Msat::ZERO)), Verdict::Reject(_)));
    assert_eq!(client.judge(hash(1), &sums(SIZE, Msat::ZERO)), Verdict::Claim);
}

#[test]
fn case_W14_nothing_may_be_kept_of_a_payment_that_is_no_purchase() {
    let mut client = client();
    assert_eq!(client.judge(hash(9), &sums(SIZE, Msat::ZERO)), Verdict::Claim);
    assert!(matches!(client.judge(hash(9), &sums(SIZE, Msat(1))), Verdict::Reject(_)));

    registers(&mut client, LSP, 1, Some(SIZE));
    assert!(
        matches!(client.judge(hash(9), &AS_PROMISED), Verdict::Reject(_)),
        "another payment's promise is no excuse"
    );

    assert_eq!(pays(&mut client, 1, &[]), Handled::Taken);
    assert!(matches!(client.judge(hash(1), &AS_PROMISED), Verdict::Reject(_)), "the fee is taken once");
    assert_eq!(client.judge(hash(1), &sums(SIZE, Msat::ZERO)), Verdict::Claim);

    registers(&mut client, LSP, 2, Some(SIZE));
    assert_eq!(client.abandon(hash(2), NOON), Handled::Taken);
    assert!(matches!(client.judge(hash(2), &AS_PROMISED), Verdict::Reject(_)), "called off is called off");
}

// Channels

/// L2-113, L2-114, L2-116, L2-123, L2-126
#[test]
fn case_W05_only_a_channel_that_was_bought_is_accepted() {
    let mut client = client();
    assert_eq!(client.open_requested(&open_request(1), NOON), Err(RefuseChannel::NothingBought));

    registers(&mut client, LSP, 1, Some(SIZE));
    assert_eq!(effects(&mut client), [ALLOW]);
    let refused = |client: &mut Client, request| client.open_requested(&request, NOON).unwrap_err();
    assert_eq!(refused(&mut client, OpenRequest { lsp: OTHER_LSP, ..open_request(1) }), RefuseChannel::NothingBought);
    assert_eq!(refused(&mut client, OpenRequest { announced: true, ..open_request(1) }), RefuseChannel::Announced);
    assert_eq!(refused(&mut client, OpenRequest { scid_alias: false, ..open_request(1) }), RefuseChannel::NoScidAlias);
    assert!(client.drain().is_empty());

    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(effects(&mut client), [accept(1, 1, 1)]);
    assert_eq!(client.channel_pending(ChannelKey(1), NOON), Handled::Taken);
    assert_eq!(refused(&mut client, open_request(2)), RefuseChannel::AllHaveChannels, "one channel per purchase");

    assert_eq!(client.channel_ended(ChannelKey(1), NOON), Handled::Taken);
    assert_eq!(client.channel_ended(ChannelKey(1), NOON), Handled::NotMine, "told twice");
    client.open_requested(&open_request(2), NOON).unwrap();
    assert_eq!(effects(&mut client), [accept(2, 1, 1)], "it closed before paying: another may come");

    assert_eq!(pays(&mut client, 1, &[2]), Handled::Taken);
    let paid = Event::Paid { received: Msat(990_000), skimmed: FEE };
    let told = (vec![FORBID], vec![Notice::Purchase(hash(1), paid)]);
    assert_eq!(released(&mut client), told, "the setting goes with the purchase, and its channel is its own");
    assert_eq!(refused(&mut client, open_request(3)), RefuseChannel::NothingBought);
}

#[test]
fn case_W05_our_delay_is_capped_by_the_strictest_promise_outstanding() {
    let mut client = client();
    for (number, delay) in [(1, 2_016), (2, 720), (3, 1_008)] {
        let opening_fee_params = OpeningFeeParams { max_client_to_self_delay: delay, ..terms() };
        let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
        client.register(&prepared(LSP, &buy), hash(number), NOON).unwrap();
    }
    let cap = |client: &mut Client, key| {
        client.open_requested(&open_request(key), NOON).unwrap();
        let asked = effects(client).into_iter().find_map(|effect| match effect {
            Effect::AcceptChannel { terms, .. } => Some(terms.max_to_self_delay),
            _ => None,
        });
        asked.expect("it was accepted")
    };
    assert_eq!(cap(&mut client, 1), blocks(720));
    assert_eq!(cap(&mut client, 2), blocks(720), "it may be the one for the first payment");
    assert_eq!(pays(&mut client, 2, &[1]), Handled::Taken);
    assert_eq!(effects(&mut client), [], "what changed purchases is not accepted twice");
    assert_eq!(cap(&mut client, 3), blocks(1_008));
}

#[test]
fn a_request_that_the_LSP_repeats_after_a_reconnect_is_accepted_again() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(effects(&mut client), [ALLOW, accept(1, 1, 1)]);
    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(effects(&mut client), [accept(1, 2, 1)]);
    let _ = client.channel_pending(ChannelKey(1), NOON);
    assert_eq!(client.open_requested(&open_request(1), NOON), Err(RefuseChannel::AllHaveChannels));
}

#[test]
fn case_W06_two_purchases_from_one_LSP_have_a_channel_each_whichever_is_paid_first() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut client = client();
        registers(&mut client, LSP, 1, Some(SIZE));
        registers(&mut client, LSP, 2, Some(SIZE));
        client.open_requested(&open_request(1), NOON).unwrap();
        let _ = client.drain();

        // The wallet cannot know for which of the purchases the first channel is.
        assert_eq!(client.judge(hash(first), &AS_PROMISED), Verdict::Claim);
        assert_eq!(pays(&mut client, first, &[1]), Handled::Taken);
        assert_eq!(effects(&mut client), [], "the other still waits");

        client.open_requested(&open_request(2), NOON).unwrap();
        assert_eq!(effects(&mut client), [accept(2, 1, second)]);
        assert_eq!(client.judge(hash(second), &AS_PROMISED), Verdict::Claim);
        assert_eq!(pays(&mut client, second, &[2]), Handled::Taken);
        assert_eq!(effects(&mut client), [FORBID]);
        assert_eq!(client.open_requested(&open_request(3), NOON), Err(RefuseChannel::NothingBought));
    }
}

#[test]
fn case_W06_payments_that_come_over_each_others_channels() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    registers(&mut client, LSP, 2, Some(SIZE));
    for key in [1, 2] {
        client.open_requested(&open_request(key), NOON).unwrap();
        let _ = client.channel_pending(ChannelKey(key), NOON);
    }
    let other =
        |client: &Client, key| client.purchases().any(|p| matches!(p.state(), State::Channel(c) if c.key == key));

    assert_eq!(pays(&mut client, 1, &[2]), Handled::Taken);
    assert!(other(&client, ChannelKey(1)), "the channel that paid nothing stands for the purchase that still waits");
    assert_eq!(client.open_requested(&open_request(3), NOON), Err(RefuseChannel::AllHaveChannels));
    assert_eq!(client.channel_ended(ChannelKey(2), NOON), Handled::NotMine, "that one has done its work");
    assert_eq!(client.channel_ended(ChannelKey(1), NOON), Handled::Taken);
    assert_eq!(client.open_requested(&open_request(3), NOON), Ok(()));
}

#[test]
fn a_payment_over_an_older_channel_uses_up_the_one_opened_for_it() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    registers(&mut client, LSP, 2, Some(SIZE));
    client.open_requested(&open_request(1), NOON).unwrap();
    let holder = if matches!(client.purchase(hash(1)).unwrap().state(), State::Channel(_)) { 1 } else { 2 };
    let paid = 3 - holder;

    assert_eq!(pays(&mut client, paid, &[77]), Handled::Taken, "a channel the wallet had before");
    assert_eq!(client.open_requested(&open_request(2), NOON), Ok(()), "the other purchase can still have its own");
}

/// Two purchases; the second ends half an hour before the first.
fn two_that_end_at_different_times() -> Client {
    let mut client = client();
    for (number, ends) in [(1, HOUR), (2, HOUR / 2)] {
        let opening_fee_params = OpeningFeeParams { valid_until: (NOON + ends).into(), ..terms() };
        let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
        client.register(&prepared(LSP, &buy), hash(number), NOON).unwrap();
    }
    let _ = client.drain();
    client
}

#[test]
fn a_channel_is_taken_for_the_purchase_that_ends_first() {
    let mut client = two_that_end_at_different_times();
    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(effects(&mut client), [accept(1, 1, 2)]);
    client.open_requested(&open_request(2), NOON).unwrap();
    assert_eq!(effects(&mut client), [accept(2, 1, 1)]);

    // A purchase that ends at this very moment does not get the channel.
    let mut client = two_that_end_at_different_times();
    let open_until = client.purchase(hash(2)).unwrap().terms().open_until;
    client.open_requested(&open_request(1), open_until).unwrap();
    assert_eq!(effects(&mut client), [accept(1, 1, 1)]);
}

#[test]
fn a_payment_over_an_older_channel_leaves_the_channel_of_another_purchase_alone() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    registers(&mut client, LSP, 2, Some(SIZE));
    for key in [1, 2] {
        client.open_requested(&open_request(key), NOON).unwrap();
        let _ = client.channel_pending(ChannelKey(key), NOON);
    }
    let key = |client: &Client, number| client.purchase(hash(number)).unwrap().channel().map(|channel| channel.key);
    assert_eq!((key(&client, 1), key(&client, 2)), (Some(ChannelKey(1)), Some(ChannelKey(2))));
    assert_eq!(pays(&mut client, 2, &[77]), Handled::Taken);
    assert_eq!(key(&client, 1), Some(ChannelKey(1)), "the paid one had a channel of its own");
}

// Restarts and time

#[test]
fn case_W10_a_purchase_survives_a_restart_in_every_state() {
    type Step = fn(&mut Client);
    let lives: [(&str, Step, &[Effect]); 6] = [
        ("waiting", |_| {}, &[ALLOW]),
        ("opening", |client| client.open_requested(&open_request(1), NOON).unwrap(), &[ALLOW, accept(1, 1, 1)]),
        (
            "open",
            |client| {
                client.open_requested(&open_request(1), NOON).unwrap();
                assert_eq!(client.channel_pending(ChannelKey(1), NOON), Handled::Taken);
            },
            &[ALLOW],
        ),
        ("paid", |client| assert_eq!(pays(client, 1, &[]), Handled::Taken), &[FORBID]),
        ("expired", |client| client.tick(NOON + 3 * HOUR), &[FORBID]),
        ("abandoned", |client| assert_eq!(client.abandon(hash(1), NOON), Handled::Taken), &[FORBID]),
    ];
    for (name, step, owed) in lives {
        let mut before = client();
        registers(&mut before, LSP, 1, Some(SIZE));
        step(&mut before);
        let mut after = restarted(&mut before);
        assert_eq!(after.purchase(hash(1)), before.purchase(hash(1)), "{name}");
        assert_eq!(effects(&mut after), owed, "{name}: asked again");
        assert_eq!(after.judge(hash(1), &AS_PROMISED), before.judge(hash(1), &AS_PROMISED), "{name}");
        assert_eq!(after.next_wake(), before.next_wake(), "{name}");
    }
}

#[test]
fn case_W10_a_claim_that_was_not_recorded_before_the_restart_is_recorded_after_it() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    let mut again = restarted(&mut client);
    assert_eq!(pays(&mut client, 1, &[]), Handled::Taken);
    // The claim was never written. The node reports it again, twice.
    assert_eq!(again.judge(hash(1), &AS_PROMISED), Verdict::Claim);
    assert_eq!(pays(&mut again, 1, &[]), Handled::Taken);
    let _ = again.drain();
    assert_eq!(pays(&mut again, 1, &[]), Handled::Taken);
    assert!(again.drain().is_empty(), "told twice changes nothing");
    assert_eq!(*again.purchase(hash(1)).unwrap().state(), State::Paid { received: Msat(990_000), skimmed: FEE });
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_harms_no_other() {
    let mut first = client();
    registers(&mut first, LSP, 1, Some(SIZE));
    let batch = first.drain();
    let (name, bytes) = batch.records().next().unwrap();
    let (name, bytes) = (name.to_string(), bytes.unwrap().to_vec());

    let mut again = client();
    let damaged = |name: &str| Err(Unreadable::Damaged { name: name.into() });
    let newer: Vec<u8> = [3].into_iter().chain(bytes[1..].iter().copied()).collect();
    let refused = Unreadable::Newer { name: name.clone(), version: 3, newest: 2 };
    assert_eq!(again.load(&name, &newer), Err(refused));
    for cut in 0..bytes.len() {
        assert_eq!(again.load(&name, &bytes[..cut]), damaged(&name), "cut at {cut}");
    }
    let trailing: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert_eq!(again.load(&name, &trailing), damaged(&name));
    let elsewhere = format!("purchase-{}", hash(2));
    assert_eq!(again.load(&elsewhere, &bytes), damaged(&elsewhere), "under another's name");
    assert!(matches!(again.load("order-1", &bytes), Err(Unreadable::Name(_))));

    assert_eq!(again.load(&name, &bytes), Ok(()));
    assert_eq!(again.load(&name, &bytes), Err(Unreadable::Twice { name: name.clone() }));
    assert_eq!(again.purchases().count(), 1);
}

#[test]
fn a_purchase_that_nobody_pays_expires_and_later_goes() {
    let mut client = client();
    registers(&mut client, LSP, 1, Some(SIZE));
    let _ = client.drain();

    let (open_until, why) = client.next_wake().unwrap();
    assert_eq!(why, Wake::PurchaseOver);
    assert!(NOON + HOUR < open_until, "a payment that was complete in time may still open a channel");
    assert_eq!(client.open_requested(&open_request(1), open_until), Err(RefuseChannel::NothingBought));
    client.tick(open_until);
    assert_eq!(released(&mut client), (vec![FORBID], vec![Notice::Purchase(hash(1), Event::Expired)]));
    assert_eq!(client.judge(hash(1), &AS_PROMISED), Verdict::Claim, "a payment on its way is held to the promise");

    let (keep_until, why) = client.next_wake().unwrap();
    assert_eq!(why, Wake::PurchaseForgotten);
    client.tick(keep_until);
    let batch = client.drain();
    let records: Vec<_> = batch.records().map(|(_, bytes)| bytes.is_none()).collect();
    assert_eq!(records, [true], "the record is deleted");
    assert_eq!((client.purchases().count(), client.next_wake()), (0, None));
    assert!(matches!(client.judge(hash(1), &AS_PROMISED), Verdict::Reject(_)));
}

#[test]
fn when_the_book_is_full_what_is_over_makes_room_and_what_waits_does_not() {
    let mut client = common::taped(Config { purchases: 3, ..Config::default() }, [7; 32]);
    for number in 1..=3 {
        registers(&mut client, LSP, number, Some(SIZE));
    }
    let another = prepared(LSP, &buy(Some(SIZE)));
    assert_eq!(client.register(&another, hash(4), NOON), Err(RefusePurchase::TooMany));

    assert_eq!(pays(&mut client, 2, &[]), Handled::Taken);
    let _ = client.drain();
    assert_eq!(client.register(&another, hash(4), NOON), Ok(()));
    assert!(client.purchase(hash(2)).is_none());
    let batch = client.drain();
    let gone: Vec<_> = batch.records().filter(|(_, bytes)| bytes.is_none()).map(|(id, _)| id.to_string()).collect();
    assert_eq!(gone, [format!("purchase-{}", hash(2))]);
}

#[test]
fn of_what_is_over_the_oldest_makes_room() {
    let mut client = common::taped(Config { purchases: 2, ..Config::default() }, [7; 32]);
    for (number, ends) in [(1, HOUR), (2, HOUR / 2)] {
        let opening_fee_params = OpeningFeeParams { valid_until: (NOON + ends).into(), ..terms() };
        let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
        client.register(&prepared(LSP, &buy), hash(number), NOON).unwrap();
        assert_eq!(pays(&mut client, number, &[]), Handled::Taken);
    }
    client.register(&prepared(LSP, &buy(Some(SIZE))), hash(3), NOON).unwrap();
    assert!(client.purchase(hash(1)).is_some() && client.purchase(hash(2)).is_none());
}

#[test]
fn two_thousand_purchases_leave_no_more_than_the_limit() {
    let mut client = client();
    let mut now = NOON;
    for n in 0..2_000u32 {
        now = now + HOUR;
        let opening_fee_params = OpeningFeeParams { valid_until: (now + HOUR).into(), ..terms() };
        let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
        let prepared = prepare(LSP, &buy, &BOUGHT, &PARAMS, &Rules::default(), now).unwrap();
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        client.register(&prepared, PaymentHash(bytes), now).unwrap();
        client.tick(now);
        let _ = client.drain();
    }
    assert!(client.purchases().count() < 400, "two weeks' worth");
    client.tick(Timestamp::from_unix_millis(u64::MAX));
    client.tick(Timestamp::from_unix_millis(u64::MAX));
    assert_eq!(client.purchases().count(), 0);
}
