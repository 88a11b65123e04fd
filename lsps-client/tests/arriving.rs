//! Stories of arrived payments. The channels of the parts decide what the wallet does with a payment, not the amounts
//! alone.
#![allow(non_snake_case)]

mod common;

use common::{
    BOUGHT, DAY, FEE, HOUR, LSP, NOON, OTHER_LSP, PARAMS, SIZE, buy, client, effects, hash, open_request, prepared,
    terms,
};
use lsps_client::jit_receive::{
    AcceptTrust, Arrival, Fault, Handled, InvoiceParams, Received, RefuseChannel, RefusePurchase, Rules, State, Via,
    prepare,
};
use lsps_client::{ChannelKey, Client, Config, Effect, FlowId};
use lsps_types::lsps2::{Bought, Buy, OpeningFeeParams};
use lsps_types::{Msat, PaymentHash, PeerId, Preimage, Timestamp};

const NET: Msat = Msat(990_000);
const AS_PROMISED: Received<'static> = Received::Totals { received: NET, skimmed: FEE };
const WHOLE: Received<'static> = Received::Totals { received: SIZE, skimmed: Msat::ZERO };
const PREIMAGE: Preimage = Preimage([9; 32]);

fn via(peer: PeerId, key: u128, confirmations: u32) -> Via {
    Via { peer: Some(peer), key: ChannelKey(key), confirmations, is_ours: false, is_seen: None }
}

fn registers(client: &mut Client, number: u8, confirmations_to_wait: u16) {
    let params = InvoiceParams { confirmations_to_wait, ..PARAMS };
    let prepared = prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &params, &Rules::default(), NOON).unwrap();
    client.register(&prepared, hash(number), NOON).expect("there is room");
}

fn opens(client: &mut Client, key: u128) {
    client.open_requested(&open_request(key), NOON).expect("one is waited for");
    assert_eq!(client.channel_pending(ChannelKey(key), NOON), Handled::Taken);
}

/// A wallet that bought one channel, whose open was accepted.
fn bought(confirmations_to_wait: u16) -> Client {
    let mut client = client();
    registers(&mut client, 1, confirmations_to_wait);
    opens(&mut client, 1);
    client
}

fn claims(client: &mut Client, number: u8, over: u128) {
    assert_eq!(client.claimed(hash(number), NET, FEE, &[ChannelKey(over)], NOON), Handled::Taken);
}

// Required confirmations and publication of the channel

#[test]
fn case_X32_whatever_comes_over_a_channel_that_is_not_confirmed_waits_or_goes_back() {
    let client = bought(3);
    let unconfirmed = |confirmations| Arrival::Reject(Fault::Unconfirmed { confirmations, wanted: 3 });
    let arrives = |number, received, over: &[Via]| client.arrived(hash(number), received, over, 3);

    assert_eq!(arrives(1, &AS_PROMISED, &[via(LSP, 1, 2)]), Arrival::Hold, "what was bought can wait");
    assert_eq!(arrives(1, &AS_PROMISED, &[via(LSP, 1, 3)]), Arrival::Claim);
    assert_eq!(arrives(9, &WHOLE, &[via(LSP, 1, 2)]), unconfirmed(2), "any other cannot");
    assert_eq!(arrives(9, &WHOLE, &[via(LSP, 1, 3)]), Arrival::Claim);
    assert_eq!(arrives(9, &WHOLE, &[via(LSP, 7, 6), via(LSP, 1, 0)]), unconfirmed(0), "one part is enough");
    assert_eq!(arrives(9, &WHOLE, &[via(LSP, 7, 2), via(LSP, 1, 0)]), unconfirmed(0), "the youngest is told");
    let hasty = client.arrived(hash(1), &AS_PROMISED, &[via(LSP, 1, 0)], 0);
    assert_eq!(hasty, Arrival::Hold, "a purchase waits for what was agreed, whatever the wallet waits for by now");
    let ours = Via { is_ours: true, ..via(LSP, 8, 0) };
    assert_eq!(arrives(9, &WHOLE, &[ours]), Arrival::Claim, "nobody else can take that back");
    let hasty = client.arrived(hash(9), &WHOLE, &[via(LSP, 1, 0)], 0);
    assert_eq!(hasty, Arrival::Claim, "a wallet that waits for nothing");
}

/// The wallet trusts another LSP to publish its funding transactions, but not this one.
#[test]
fn case_X33_trust_in_one_lsp_is_none_in_another() {
    let mut client = bought(0);
    let bought = Bought { client_trusts_lsp: true, ..BOUGHT };
    let rules = Rules { accept_trust: AcceptTrust::Yes, ..Rules::default() };
    let prepared = prepare(OTHER_LSP, &buy(Some(SIZE)), &bought, &PARAMS, &rules, NOON).unwrap();
    client.register(&prepared, hash(2), NOON).unwrap();
    let unseen = Via { is_seen: Some(false), ..via(LSP, 1, 0) };
    assert_eq!(client.arrived(hash(1), &AS_PROMISED, &[unseen], 0), Arrival::Hold);
}

/// The node reports a held payment twice, the second time with a part over the channel of another purchase.
#[test]
fn case_X42_a_held_payment_that_is_told_again_takes_no_second_channel() {
    let mut client = client();
    registers(&mut client, 1, 3);
    registers(&mut client, 2, 3);
    opens(&mut client, 1);
    opens(&mut client, 2);
    let key = |client: &Client, number| client.purchase(hash(number)).unwrap().channel().map(|channel| channel.key);
    assert_eq!(key(&client, 2), Some(ChannelKey(2)));
    for over in [1, 2] {
        assert_eq!(client.held(hash(1), (NET, FEE), None, &[ChannelKey(over)], NOON), Handled::Taken);
    }
    assert_eq!((key(&client, 1), key(&client, 2)), (Some(ChannelKey(1)), Some(ChannelKey(2))));
}

#[test]
fn case_X32_a_hold_invoice_waits_too_and_its_application_is_told_when_it_may_claim() {
    let mut client = bought(3);
    effects(&mut client);
    assert_eq!(client.arrived(hash(1), &AS_PROMISED, &[via(LSP, 1, 0)], 3), Arrival::Hold);
    assert_eq!(client.held(hash(1), (NET, FEE), None, &[ChannelKey(1)], NOON), Handled::Taken);
    let claim = Effect::ClaimAfter { purchase: hash(1), lsp: LSP, preimage: None, confirmations: 3 };
    assert_eq!(effects(&mut client), [claim], "and again after a restart, until it is claimed");
    claims(&mut client, 1, 1);
    assert_eq!(effects(&mut client), [Effect::ForbidUnderpaying { lsp: LSP }]);
}

/// L2-006, L2-125: a wallet that can see the mempool (`is_seen`), and one that trusts its LSP.
#[test]
fn case_X33_what_comes_over_a_channel_whose_funding_was_never_seen_waits_or_goes_back() {
    let client = bought(0);
    let unseen = Via { is_seen: Some(false), ..via(LSP, 1, 0) };
    let seen = Via { is_seen: Some(true), ..unseen };
    assert_eq!(client.arrived(hash(1), &AS_PROMISED, &[unseen], 0), Arrival::Hold, "the LSP said that it trusts us");
    assert_eq!(client.arrived(hash(1), &AS_PROMISED, &[seen], 0), Arrival::Claim);
    assert_eq!(
        client.arrived(hash(1), &AS_PROMISED, &[via(LSP, 1, 0)], 0),
        Arrival::Claim,
        "who cannot see cannot wait"
    );
    assert_eq!(client.arrived(hash(9), &WHOLE, &[unseen], 0), Arrival::Reject(Fault::Unpublished));
    let mined = Via { confirmations: 1, ..unseen };
    assert_eq!(client.arrived(hash(9), &WHOLE, &[mined], 0), Arrival::Claim, "what is mined was published");

    let mut trusting = common::client();
    let rules = Rules { accept_trust: AcceptTrust::Yes, ..Rules::default() };
    let bought = Bought { client_trusts_lsp: true, ..BOUGHT };
    let prepared = prepare(LSP, &buy(Some(SIZE)), &bought, &PARAMS, &rules, NOON).unwrap();
    trusting.register(&prepared, hash(1), NOON).unwrap();
    opens(&mut trusting, 1);
    assert_eq!(trusting.arrived(hash(1), &AS_PROMISED, &[unseen], 0), Arrival::Claim, "that was agreed");
}

#[test]
fn case_X42_a_fee_is_kept_by_the_lsp_that_opened_a_channel_for_it_and_by_nobody_else() {
    let mut client = client();
    registers(&mut client, 1, 0);
    let none = Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE });
    let arrives = |client: &Client, number, over: &[Via]| client.arrived(hash(number), &AS_PROMISED, over, 0);

    assert_eq!(arrives(&client, 1, &[via(LSP, 7, 6)]), none, "over an older channel, and none was opened");
    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(arrives(&client, 1, &[via(LSP, 7, 6)]), none, "asked for is not funded");
    assert_eq!(arrives(&client, 1, &[via(LSP, 1, 0)]), Arrival::Claim, "what carries a payment is funded");
    let _ = client.channel_pending(ChannelKey(1), NOON);
    assert_eq!(
        arrives(&client, 1, &[via(LSP, 7, 6)]),
        Arrival::Claim,
        "LSPs forward over whichever channel suits them"
    );
    let another = Arrival::Reject(Fault::KeptByAnother { skimmed: FEE });
    assert_eq!(arrives(&client, 1, &[via(OTHER_LSP, 8, 6)]), another);
    assert_eq!(arrives(&client, 1, &[via(LSP, 1, 0), via(OTHER_LSP, 8, 6)]), another);
    let whole = client.arrived(hash(1), &WHOLE, &[via(OTHER_LSP, 8, 6)], 0);
    assert_eq!(whole, Arrival::Claim, "who keeps nothing needs no channel");

    let _ = client.channel_ended(ChannelKey(1), NOON);
    assert_eq!(arrives(&client, 1, &[via(LSP, 7, 6)]), none, "it is closed again");
}

#[test]
fn case_X42_one_channel_is_paid_for_once_whichever_purchase_it_stands_for() {
    for first in [1, 2] {
        let second = 3 - first;
        let mut client = client();
        registers(&mut client, 1, 3);
        registers(&mut client, 2, 3);
        opens(&mut client, 1);
        let over = [via(LSP, 1, 0)];
        assert_eq!(client.arrived(hash(first), &AS_PROMISED, &over, 3), Arrival::Hold, "it may be for either");
        let held = client.held(hash(first), (NET, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON);
        assert_eq!(held, Handled::Taken);
        let none = Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE });
        assert_eq!(client.arrived(hash(second), &AS_PROMISED, &[via(LSP, 7, 6)], 3), none);
        claims(&mut client, first, 1);
        assert_eq!(client.arrived(hash(second), &AS_PROMISED, &[via(LSP, 7, 6)], 3), none, "and not after it either");
        opens(&mut client, 2);
        assert_eq!(client.arrived(hash(second), &AS_PROMISED, &[via(LSP, 7, 6)], 3), Arrival::Claim);
    }
}

#[test]
fn case_X42_a_payment_over_the_channel_of_a_held_one_uses_up_a_channel_that_is_free() {
    let mut client = client();
    (1..=3).for_each(|number| registers(&mut client, number, 3));
    opens(&mut client, 1);
    let holder = (1..=3).find(|number| client.purchase(hash(*number)).unwrap().channel().is_some()).unwrap();
    for (key, number) in (2..).zip((1..=3).filter(|number| *number != holder)) {
        assert_eq!(client.arrived(hash(number), &AS_PROMISED, &[via(LSP, 1, 0)], 3), Arrival::Hold);
        let held = client.held(hash(number), (NET, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON);
        assert_eq!(held, Handled::Taken);
        if key == 2 {
            opens(&mut client, key);
        }
    }
    let none = Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE });
    assert_eq!(client.arrived(hash(holder), &AS_PROMISED, &[via(LSP, 1, 0)], 3), none, "three fees for two channels");
}

/// A store that writes one record after the other loses power between the two purchases, one of which got the channel of
/// the other.
#[test]
fn case_X42_a_channel_that_two_records_have_is_paid_for_once() {
    let records = |client: &mut Client| -> Vec<(String, Vec<u8>)> {
        let batch = client.drain();
        batch.records().filter_map(|(flow, bytes)| Some((flow.to_string(), bytes?.to_vec()))).collect()
    };
    let mut client = client();
    registers(&mut client, 1, 3);
    registers(&mut client, 2, 3);
    opens(&mut client, 1);
    let before = records(&mut client);
    let has_channel = |client: &Client, number| client.purchase(hash(number)).unwrap().channel().is_some();
    let (holder, paid) = if has_channel(&client, 1) { (1, 2) } else { (2, 1) };
    assert_eq!(client.held(hash(paid), (NET, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON), Handled::Taken);
    let name = |number| FlowId::Purchase(hash(number)).to_string();
    let of = |number, records: &[(String, Vec<u8>)]| {
        records.iter().find(|(its, _)| *its == name(number)).expect("it changed").clone()
    };
    let [stale, held] = [of(holder, &before), of(paid, &records(&mut client))];
    for order in [[&stale, &held], [&held, &stale]] {
        let mut again = common::client();
        order.iter().for_each(|(name, bytes)| again.load(name, bytes).expect("we wrote it"));
        assert!(has_channel(&again, paid) && !has_channel(&again, holder), "the payment that is held keeps it");
        let arrived = again.arrived(hash(holder), &AS_PROMISED, &[via(LSP, 7, 6)], 3);
        assert_eq!(arrived, Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE }));
        assert!(records(&mut again).iter().any(|(its, _)| *its == name(holder)), "and that is on record");
    }
}

#[test]
fn case_X42_a_payment_that_is_late_is_held_to_the_channel_too() {
    for has_channel in [false, true] {
        let mut client = client();
        registers(&mut client, 1, 0);
        if has_channel {
            opens(&mut client, 1);
        }
        client.tick(NOON + 3 * HOUR);
        assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Expired(_)));
        let arrived = client.arrived(hash(1), &AS_PROMISED, &[via(LSP, 7, 6)], 0);
        let none = Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE });
        assert_eq!(arrived, if has_channel { Arrival::Claim } else { none });
        let _ = client.channel_ended(ChannelKey(1), NOON);
        assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Expired(None)), "no channel comes any more");
        assert_eq!(client.arrived(hash(1), &AS_PROMISED, &[via(LSP, 7, 6)], 0), none);
    }
}

// Limits on the number and age of purchases

#[test]
fn case_X39_a_purchase_that_holds_a_payment_makes_no_room_and_does_not_end_by_the_clock() {
    let mut client = common::taped(Config { purchases: 1, ..Config::default() }, [7; 32]);
    registers(&mut client, 1, 3);
    opens(&mut client, 1);
    assert_eq!(client.held(hash(1), (NET, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON), Handled::Taken);
    let another = prepared(LSP, &buy(Some(SIZE)));
    assert_eq!(client.register(&another, hash(2), NOON), Err(RefusePurchase::TooMany));
    // The clock is set wrong for a moment.
    client.tick(NOON + 100 * DAY);
    let State::Holding(held) = client.purchase(hash(1)).unwrap().state() else { panic!("the preimage is lost") };
    assert_eq!(held.preimage, Some(PREIMAGE));
    assert_eq!(client.next_wake(), None);
    claims(&mut client, 1, 1);
    assert_eq!(client.register(&another, hash(2), NOON), Ok(()), "what is over makes room");
}

#[test]
fn case_X38_a_purchase_ends_with_its_invoice_however_long_its_terms_are_valid() {
    let rules = Rules::default();
    let mut client = common::taped(Config { purchases: 2, ..Config::default() }, [7; 32]);
    let year_9999 = Timestamp::from_unix_millis(253_370_764_800_000);
    let opening_fee_params = OpeningFeeParams { valid_until: year_9999.into(), ..terms() };
    let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
    let mut buys = |number, expiry, now| {
        let prepared = prepare(LSP, &buy, &BOUGHT, &InvoiceParams { expiry, ..PARAMS }, &rules, now).unwrap();
        client.register(&prepared, hash(number), now).map(|()| prepared.invoice.expiry_secs)
    };
    assert_eq!(buys(1, Some(HOUR), NOON), Ok(3_600));
    assert_eq!(buys(2, None, NOON), Ok(rules.longest_invoice.as_secs()), "no invoice stands for ever");
    assert_eq!(buys(3, Some(HOUR), NOON), Err(RefusePurchase::TooMany));

    let over = NOON + HOUR + rules.late_channel;
    client.tick(Timestamp::from_unix_millis(over.unix_millis() - 1));
    assert!(client.purchase(hash(1)).unwrap().is_unpaid());
    client.tick(over);
    assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Expired(_)));
    let over = NOON + rules.longest_invoice + rules.late_channel;
    client.tick(over);
    assert_eq!(client.open_requested(&open_request(1), over), Err(RefuseChannel::NothingBought));
    let another = prepare(LSP, &buy, &BOUGHT, &PARAMS, &rules, over).unwrap();
    assert_eq!(client.register(&another, hash(3), over), Ok(()), "what nobody paid makes room");
}

/// BOLT 4 allows a payer to pay twice. Our decision: the second payment is treated like any other, has to be whole, and
/// is not held.
#[test]
fn case_X48_a_second_payment_of_a_paid_purchase_is_taken_over_confirmed_channels_and_else_goes_back() {
    for ends in ["paid", "called off"] {
        let mut client = bought(3);
        if ends == "paid" {
            claims(&mut client, 1, 1);
        } else {
            assert_eq!(client.abandon(hash(1), NOON), Handled::Taken);
        }
        let arrives = |received, confirmations| client.arrived(hash(1), received, &[via(LSP, 1, confirmations)], 3);
        assert_eq!(arrives(&WHOLE, 3), Arrival::Claim, "{ends}");
        assert_eq!(arrives(&WHOLE, 2), Arrival::Reject(Fault::Unconfirmed { confirmations: 2, wanted: 3 }), "{ends}");
        assert!(matches!(arrives(&AS_PROMISED, 3), Arrival::Reject(_)), "{ends}: the fee is kept once");
    }
}

/// The node repeats itself, or the payer pays twice, over a channel that was opened for another purchase.
#[test]
fn case_X48_a_second_payment_of_a_paid_purchase_uses_up_no_channel_of_another() {
    let mut client = bought(0);
    claims(&mut client, 1, 1);
    registers(&mut client, 2, 0);
    opens(&mut client, 2);
    claims(&mut client, 1, 2);
    let channel = client.purchase(hash(2)).unwrap().channel();
    assert_eq!(channel.map(|channel| channel.key), Some(ChannelKey(2)), "it still waits for its payment over it");
}

#[test]
fn case_X52_a_payment_of_which_the_fee_leaves_next_to_nothing_is_not_worth_its_channel() {
    let (mut client, least) = (client(), Rules::default().least_net);
    assert!(least > Msat(330_000), "above dust");
    client.register(&prepared(LSP, &buy(None)), hash(1), NOON).unwrap();
    opens(&mut client, 1);
    let arrives = |received, skimmed| {
        let received = Received::Totals { received, skimmed };
        client.arrived(hash(1), &received, &[via(LSP, 1, 0)], 0)
    };
    let fee = Msat(2_000);
    assert_eq!(arrives(least, fee), Arrival::Claim);
    let (received, gross) = (Msat(least.0 - 1), Msat(least.0 - 1 + fee.0));
    assert_eq!(arrives(received, fee), Arrival::Reject(Fault::LeavesTooLittle { received, gross, least }));
    assert_eq!(arrives(Msat(1), Msat::ZERO), Arrival::Claim, "of which nothing was kept");
}

// Records

/// Records of the first layout.
#[test]
fn records_of_the_first_layout_are_read() {
    let head = "01200101010101010101010101010101010101010101010101010101010101010101210202020202020202020202020202020202020202020202020202\
                020202020202028180bc9681e0c23901c0843d00904e00808993cdb73380e6eeceb73380f6d28fbc33f007e00f0003";
    let bytes = |tail: &str| -> Vec<u8> {
        let hex: Vec<u8> = head.bytes().chain(tail.bytes()).filter(u8::is_ascii_hexdigit).collect();
        hex.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    };
    let preimage = "09".repeat(32);
    let holding = format!("02b0b63c904e{preimage}010101e00f01");
    type Is = fn(&State) -> bool;
    let expected: [(&str, Is); 7] = [
        ("00", |state| *state == State::Waiting),
        ("010101e00f00", |state| matches!(state, State::Channel(channel) if !channel.pending && channel.attempt == 1)),
        ("010101e00f01", |state| matches!(state, State::Channel(channel) if channel.pending)),
        (
            &holding,
            |state| matches!(state, State::Holding(held) if held.preimage == Some(PREIMAGE) && held.channel.is_some()),
        ),
        ("03b0b63c904e", |state| *state == State::Paid { received: NET, skimmed: FEE }),
        ("04", |state| *state == State::Expired(None)),
        ("05", |state| *state == State::Abandoned),
    ];
    let name = format!("purchase-{}", PaymentHash([1; 32]));
    for (tail, is_right) in expected {
        let mut client = client();
        client.load(&name, &bytes(tail)).unwrap_or_else(|why| panic!("{tail}: {why}"));
        let purchase = client.purchase(hash(1)).unwrap();
        assert!(is_right(purchase.state()), "{tail}: {:?}", purchase.state());
        assert_eq!((purchase.terms().confirmations_to_wait, purchase.terms().least_net), (3, Msat::ZERO));
        let mut again = common::client();
        assert!(again.load(&name, &bytes(&format!("{tail}00"))).is_err(), "{tail}: with something behind it");
    }
}

/// A node reveals the preimage of a payment in parts although one of the channels is gone.
#[test]
fn case_X32_nothing_is_claimed_over_a_channel_that_is_gone() {
    let client = bought(0);
    let gone = Via { peer: None, ..via(LSP, 7, 6) };
    let rejected = Arrival::Reject(Fault::ChannelGone);
    assert_eq!(client.arrived(hash(1), &WHOLE, &[gone, via(LSP, 1, 6)], 0), rejected, "what was bought");
    assert_eq!(client.arrived(hash(9), &WHOLE, &[gone, via(LSP, 1, 6)], 0), rejected, "any other");
    let ours = Via { is_ours: true, ..gone };
    assert_eq!(client.arrived(hash(9), &WHOLE, &[ours], 0), rejected, "whoever funded it");
}
