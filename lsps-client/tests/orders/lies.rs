//! LSPs that report falsehoods, and channels that belong to another order than it seems. Our own node knows better.

use lsps_client::jit_receive::{Handled, OpenRequest, RefuseChannel};
use lsps_client::order::{End, Event, Lease, OrderKey, Payment, PaymentMethod, State, Trouble};
use lsps_client::{ChannelKey, Effect, FlowId};
use lsps_types::lsps1::{CreateOrder, LightningState, OnchainState, Order as Reply};
use lsps_types::{DateTime, Msat, OutPoint, PeerId, Sat};

use crate::common::{DAY, HOUR, LSP, NOON, buy, hash, open_request, prepared};
use crate::desk::{
    Desk, Facts, LIGHTNING_FEE, Manner, OUTPOINT, checked, completed, failed, invoice, made, open_as_ordered, order,
    request, with_states,
};

const OTHER: OutPoint = OutPoint { index: 2, ..OUTPOINT };

fn done(desk: &Desk, key: OrderKey) -> Option<(OutPoint, ChannelKey)> {
    match desk.order(key).end() {
        Some(End::Done { lease: Lease { funding, .. }, channel: Some(channel) }) => Some((*funding, channel.key)),
        _ => None,
    }
}

fn no_channel(funding: OutPoint) -> Trouble {
    Trouble::NoChannel { funding: Some(funding) }
}

#[test]
fn case_X36_an_order_is_done_only_by_a_channel_that_our_own_node_knows() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR / 60);
    assert_eq!((desk.order(key).end(), desk.order(key).trouble()), (None, None), "our node may be slower");
    desk.passes(HOUR / 20);
    assert_eq!(desk.order(key).trouble(), Some(&no_channel(OUTPOINT)));
    let words = desk.order(key).trouble().unwrap().to_string();
    assert!(words.contains(&OUTPOINT.to_string()), "{words}");
    let told = desk.events.len();
    desk.passes(HOUR * 5);
    assert_eq!(desk.events.len(), told, "a trouble is told once");

    // A channel is there, but not the one that the LSP names.
    desk.opens(open_as_ordered(1), OTHER);
    desk.passes(HOUR * 2);
    assert_eq!(desk.order(key).trouble(), Some(&no_channel(OUTPOINT)));
    desk.restarts();
    assert_eq!(desk.client.channel_funded(ChannelKey(1), OUTPOINT, desk.now), Handled::Taken, "after all");
    desk.passes(HOUR / 60);
    assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(1))), "asked again at once");
}

#[test]
fn case_X36_a_node_that_tells_of_the_channel_after_the_lsp_did_is_in_time() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.client.open_requested(&open_as_ordered(1), desk.now).unwrap();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR / 120);
    assert_eq!(desk.client.channel_funded(ChannelKey(1), OUTPOINT, desk.now), Handled::Taken);
    desk.passes(HOUR / 120);
    assert!(done(&desk, key).is_some());
    assert!(!desk.events.iter().any(|event| matches!(event, Event::Troubled(_))));
}

#[test]
fn case_X36_completed_without_a_channel_is_a_lie_with_a_name() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.tells(Reply { channel: None, ..completed(&made("a1", &order())) });
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::NoChannel { funding: None }));
    desk.tells(made("a1", &order()));
    desk.passes(HOUR * 2);
    assert_eq!(desk.order(key).trouble(), None, "it takes it back");
}

/// The LSP chooses the times that it reports; the client uses its own.
#[test]
fn case_X36_a_lease_that_is_too_short_is_a_lie_with_a_name() {
    for (funded_at, until, is_short) in [
        (NOON, NOON, true),
        (NOON, NOON + HOUR * 11, true),
        (lsps_types::Timestamp::default(), NOON + HOUR, true),
        (NOON, NOON + HOUR * 13, false),
    ] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.has_channel();
        let mut reply = completed(&made("a1", &order()));
        let channel = reply.channel.as_mut().unwrap();
        (channel.funded_at, channel.expires_at) = (DateTime::from(funded_at), DateTime::from(until));
        desk.tells(reply);
        desk.passes(HOUR / 60);
        assert_eq!(done(&desk, key).is_none(), is_short, "144 blocks were paid for: {until:?}");
        let short = Trouble::ShortLease { until };
        assert_eq!(desk.order(key).trouble(), is_short.then_some(&short));
        desk.tells(completed(&made("a1", &order())));
        desk.passes(HOUR * 2);
        assert!(done(&desk, key).is_some(), "it corrects itself");
    }
}

#[test]
fn case_X36_an_lsp_that_fails_and_keeps_the_money_is_named() {
    let lightning = |state| with_states(&made("a1", &order()), state, OnchainState::ExpectPayment);
    for settled_first in [true, false] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        if settled_first {
            assert_eq!(desk.client.order_settled(key, NOON), Handled::Taken);
        }
        desk.tells(failed(&lightning(LightningState::Refunded)));
        desk.passes(HOUR);
        assert_eq!(desk.client.order_settled(key, desk.now), Handled::Taken);
        desk.turn();
        assert!(matches!(desk.state(key), State::Refunding(_)));
        assert_eq!(desk.order(key).trouble(), Some(&Trouble::Kept));
        desk.passes(HOUR * 3);
        assert_eq!(desk.order(key).trouble(), Some(&Trouble::Kept), "what it says does not clear that");
    }

    // The LSP has the preimage, and neither fails the order nor opens the channel.
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.tells(lightning(LightningState::Paid));
    assert_eq!(desk.client.order_settled(key, NOON), Handled::Taken);
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Kept));
    desk.has_channel();
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), None, "now it opened");

    // The same lie about a payment on-chain.
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, vec![1], NOON).unwrap();
    desk.tells(failed(&with_states(&made("a1", &order()), LightningState::Refunded, OnchainState::Paid)));
    desk.passes(HOUR * 23);
    assert_eq!(desk.order(key).trouble(), None, "a refund takes its time");
    desk.passes(HOUR * 3);
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Kept));
    desk.tells(failed(&with_states(&made("a1", &order()), LightningState::Refunded, OnchainState::Refunded)));
    desk.passes(HOUR * 2);
    assert_eq!(desk.order(key).end(), Some(&End::Refunded));
}

/// The LSP has the preimage and names a channel that our node does not know. The reported trouble is the missing
/// channel, not only the kept money.
#[test]
fn case_X36_an_lsp_that_is_paid_and_names_a_channel_that_does_not_exist_is_told_to_lie() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    assert_eq!(desk.client.order_settled(key, NOON), Handled::Taken);
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR / 60);
    assert_eq!(desk.order(key).trouble(), None, "our node may be slower");
    desk.passes(HOUR / 20);
    assert_eq!(desk.order(key).trouble(), Some(&no_channel(OUTPOINT)));
}

/// The wallet uses the channel at once, and the LSP does not publish its funding transaction, or double-spends it.
#[test]
fn case_X36_a_channel_that_is_not_confirmed_in_the_blocks_that_were_ordered_is_a_trouble() {
    let is_done = || {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.has_channel();
        desk.tells(completed(&made("a1", &order())));
        desk.passes(HOUR / 4);
        assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(77))), "it is used at once");
        assert_eq!(desk.order(key).unconfirmed_channel().map(|its| its.key), Some(ChannelKey(77)));
        desk.passes(HOUR * 3);
        assert_eq!(desk.order(key).trouble(), None, "six blocks may take so long");
        (desk, key)
    };
    let unconfirmed = Trouble::Unconfirmed { funding: OUTPOINT };
    let (mut desk, key) = is_done();
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), Some(&unconfirmed));
    assert!(desk.events.contains(&Event::Troubled(unconfirmed.clone())));
    let told = desk.events.len();
    desk.restarts();
    desk.passes(DAY);
    assert_eq!((desk.order(key).trouble(), desk.events.len()), (Some(&unconfirmed), told), "told once");
    assert_eq!(desk.client.channel_confirmed(ChannelKey(9), desk.now), Handled::NotMine);
    assert_eq!(desk.client.channel_confirmed(ChannelKey(77), desk.now), Handled::Taken);
    desk.turn();
    assert_eq!((desk.order(key).trouble(), desk.order(key).unconfirmed_channel()), (None, None));
    assert_eq!(desk.client.channel_ended(ChannelKey(77), desk.now), Handled::NotMine, "channels end");

    let (mut desk, key) = is_done();
    assert_eq!(desk.client.channel_confirmed(ChannelKey(77), desk.now), Handled::Taken);
    desk.turn();
    desk.restarts();
    desk.passes(DAY);
    assert_eq!(desk.order(key).trouble(), None);

    for is_late in [false, true] {
        let (mut desk, key) = is_done();
        desk.passes(if is_late { HOUR * 2 } else { HOUR / 60 });
        assert_eq!(desk.client.channel_ended(ChannelKey(77), desk.now), Handled::Taken);
        desk.turn();
        let troubled = desk.events.iter().filter(|event| **event == Event::Troubled(unconfirmed.clone()));
        assert_eq!(
            (desk.order(key).trouble(), troubled.count()),
            (Some(&unconfirmed), 1),
            "it will never be confirmed"
        );
        assert_eq!(desk.client.channel_confirmed(ChannelKey(77), desk.now), Handled::NotMine);
        assert!(matches!(desk.order(key).end(), Some(End::Done { .. })));
        desk.passes(DAY * 60);
        assert_eq!((desk.client.order(key), desk.client.next_wake()), (None, None));
    }
}

/// Two orders of these sizes that are being paid.
fn two(first: u64, second: u64) -> (Desk, [OrderKey; 2], [Reply; 2]) {
    let mut desk = Desk::new();
    let mut both = vec![];
    for (n, size) in [(1, first), (2, second)] {
        let ordered = CreateOrder { lsp_balance_sat: Sat(size), ..order() };
        let mut reply = made(&format!("a{n}"), &ordered);
        let total = Sat(LIGHTNING_FEE.0 + ordered.client_balance_sat.0);
        reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, hash(n), LSP);
        let key = desk.places_quote(checked(request(ordered)).verify(&reply, &Facts, NOON).unwrap());
        desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
        both.push((key, reply));
    }
    desk.turn();
    let [(a, first), (b, second)] = <[_; 2]>::try_from(both).unwrap();
    (desk, [a, b], [first, second])
}

fn sized(key: u128, size: u64) -> OpenRequest {
    OpenRequest { funding: Sat(size + 500), ..open_as_ordered(key) }
}

fn funded(reply: &Reply, funding: OutPoint) -> Reply {
    let mut reply = completed(reply);
    reply.channel.as_mut().unwrap().funding_outpoint = funding;
    reply
}

/// The LSP answers each question about its own order.
fn tells_each(desk: &mut Desk, replies: [Reply; 2]) {
    desk.lsp = Manner::TellsEach(replies.into());
}

#[test]
fn case_X44_of_two_orders_the_second_may_be_opened_first() {
    // The small order was made first, and the large channel suits it, too.
    let (mut desk, [small, large], [first, second]) = two(2_000, 9_000);
    desk.opens(sized(1, 9_000), OUTPOINT);
    desk.opens(sized(2, 2_000), OTHER);
    tells_each(&mut desk, [funded(&first, OTHER), funded(&second, OUTPOINT)]);
    desk.passes(HOUR);
    assert_eq!(done(&desk, small), Some((OTHER, ChannelKey(2))));
    assert_eq!(done(&desk, large), Some((OUTPOINT, ChannelKey(1))));
}

#[test]
fn case_X44_an_order_gives_its_channel_to_another_that_it_suits_when_only_that_makes_room() {
    // Both channels are larger than ordered, and the first suits either order.
    let (mut desk, [small, large], [first, second]) = two(2_000, 9_000);
    desk.opens(sized(1, 9_500), OUTPOINT);
    assert_eq!(desk.order(large).channel().map(|its| its.key), Some(ChannelKey(1)));
    desk.opens(sized(2, 9_200), OTHER);
    assert_eq!(desk.order(small).channel().map(|its| its.key), Some(ChannelKey(2)));
    // The LSP assigns the channels the other way round.
    tells_each(&mut desk, [funded(&first, OUTPOINT), funded(&second, OTHER)]);
    desk.passes(HOUR);
    assert_eq!(done(&desk, small), Some((OUTPOINT, ChannelKey(1))));
    assert_eq!(done(&desk, large), Some((OTHER, ChannelKey(2))));

    let (mut desk, [public, private], _) = two(2_000, 2_000);
    desk.opens(sized(1, 2_000), OUTPOINT);
    let holder = if desk.order(public).channel().is_some() { public } else { private };
    assert_eq!(desk.client.open_requested(&sized(2, 2_000), desk.now), Ok(()));
    assert_eq!(desk.client.open_requested(&sized(3, 2_000), desk.now), Err(RefuseChannel::AllHaveChannels));
    assert_eq!(desk.order(holder).channel().map(|its| its.key), Some(ChannelKey(1)));
}

#[test]
fn case_X44_a_small_channel_is_taken_although_the_small_order_holds_a_large_one() {
    let (mut desk, [small, large], [first, second]) = two(2_000, 9_000);
    // The large order is paid later, so the small one gets the large channel at first.
    let mut alone = Desk::new();
    std::mem::swap(&mut alone, &mut desk);
    let mut desk = alone;
    assert_eq!(desk.client.order_returned(large, desk.now), Handled::Taken);
    assert_eq!(desk.client.open_requested(&sized(1, 9_000), desk.now), Ok(()));
    assert_eq!(desk.order(small).channel().map(|its| its.key), Some(ChannelKey(1)));
    assert_eq!(desk.client.order_settled(large, desk.now), Handled::Taken, "proof that it was paid");
    desk.turn();
    assert_eq!(desk.client.channel_funded(ChannelKey(1), OUTPOINT, desk.now), Handled::Taken);
    desk.opens(sized(2, 2_000), OTHER);
    assert_eq!(desk.order(small).channel().map(|its| its.key), Some(ChannelKey(2)));
    assert_eq!(desk.order(large).channel().map(|its| its.key), Some(ChannelKey(1)));
    tells_each(&mut desk, [funded(&first, OTHER), funded(&second, OUTPOINT)]);
    desk.passes(HOUR);
    assert!(done(&desk, small).is_some() && done(&desk, large).is_some());
}

/// The channel type does not tell for which order the channel is. One that waits longer than necessary does no harm.
#[test]
fn case_X44_of_orders_alike_the_one_that_waits_for_confirmations_takes_a_channel_that_can() {
    for confirmations in [[0, 1], [1, 0]] {
        for zero_conf in [false, true] {
            let mut desk = Desk::new();
            let keys = [1, 2].map(|n| {
                let required_channel_confirmations = confirmations[usize::from(n) - 1];
                let ordered = CreateOrder { required_channel_confirmations, ..order() };
                let mut reply = made(&format!("a{n}"), &ordered);
                let total = Sat(LIGHTNING_FEE.0 + ordered.client_balance_sat.0);
                reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, hash(n), LSP);
                let key = desk.places_quote(checked(request(ordered)).verify(&reply, &Facts, NOON).unwrap());
                desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
                key
            });
            let request = OpenRequest { zero_conf, ..open_as_ordered(1) };
            desk.client.open_requested(&request, NOON).unwrap();
            let strict = usize::from(confirmations[1] == 1);
            let taken = if zero_conf { 1 - strict } else { strict };
            assert!(desk.order(keys[taken]).channel().is_some(), "{confirmations:?} {zero_conf}");
        }
    }
}

/// Both orders are of the same capacity, and the channel suits either.
#[test]
fn case_X44_of_orders_alike_the_one_whose_balance_is_pushed_takes_the_channel() {
    for balances in [[0, 500], [500, 0]] {
        let mut desk = Desk::new();
        let keys = [1, 2].map(|n| {
            let balance = balances[usize::from(n) - 1];
            let ordered =
                CreateOrder { lsp_balance_sat: Sat(2_500 - balance), client_balance_sat: Sat(balance), ..order() };
            let mut reply = made(&format!("a{n}"), &ordered);
            let total = Sat(LIGHTNING_FEE.0 + balance);
            reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, hash(n), LSP);
            let key = desk.places_quote(checked(request(ordered)).verify(&reply, &Facts, NOON).unwrap());
            desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
            key
        });
        desk.client.open_requested(&open_as_ordered(1), NOON).unwrap();
        let taken = usize::from(balances[1] == 500);
        assert!(desk.order(keys[taken]).channel().is_some(), "{balances:?}");
    }
}

#[test]
fn case_X44_one_channel_does_not_do_for_two_orders_nor_a_small_one_for_a_large_order() {
    let (mut desk, [a, b], [first, second]) = two(2_000, 2_000);
    desk.opens(sized(1, 2_000), OUTPOINT);
    tells_each(&mut desk, [funded(&first, OUTPOINT), funded(&second, OUTPOINT)]);
    desk.passes(HOUR);
    let ends = [a, b].map(|key| done(&desk, key).is_some());
    assert_eq!(ends.iter().filter(|done| **done).count(), 1, "{ends:?}");
    let other = if ends[0] { b } else { a };
    assert_eq!(desk.order(other).trouble(), Some(&no_channel(OUTPOINT)));

    let (mut desk, [small, large], [first, second]) = two(2_000, 9_000);
    desk.opens(sized(1, 2_000), OUTPOINT);
    tells_each(&mut desk, [first, funded(&second, OUTPOINT)]);
    desk.passes(HOUR);
    assert_eq!(desk.order(large).trouble(), Some(&no_channel(OUTPOINT)));
    assert_eq!(desk.order(small).channel().map(|its| its.key), Some(ChannelKey(1)), "it keeps its own");
}

/// An order of a channel without a client balance, with the invoice of this hash, or an offer if that fails.
fn orders_nothing_for_itself(desk: &mut Desk, n: u8) -> (OrderKey, Reply) {
    let ordered = CreateOrder { client_balance_sat: Sat(0), ..order() };
    let mut reply = made(&format!("a{n}"), &ordered);
    reply.payment.bolt11.as_mut().unwrap().invoice = invoice(LIGHTNING_FEE, hash(n), LSP);
    let options = lsps_types::lsps1::Options { min_initial_client_balance_sat: Sat(0), ..crate::desk::options() };
    let offered = lsps_client::order::LspOptions { lsp: LSP, options };
    let quote = offered.check(request(ordered)).unwrap().verify(&reply, &Facts, NOON).unwrap();
    let key = desk.places_quote(quote);
    desk.client.pay_order_in_turn(key, &[PaymentMethod::Bolt11, PaymentMethod::Bolt12], NOON).unwrap();
    (key, reply)
}

/// An order of a channel without a client balance, beside a purchase from the same LSP.
fn beside_a_purchase() -> (Desk, OrderKey, Reply) {
    let mut desk = Desk::new();
    let (key, reply) = orders_nothing_for_itself(&mut desk, 9);
    desk.client.register(&prepared(LSP, &buy(None)), hash(1), NOON).unwrap();
    desk.effects();
    (desk, key, reply)
}

fn jit(key: u128) -> OpenRequest {
    OpenRequest { zero_conf: false, ..open_request(key) }
}

/// Opens the channel of the order, and one that suits it as well and belongs to the purchase.
fn opens_both(desk: &mut Desk) {
    for (key, funding) in [(2, OTHER), (1, OUTPOINT)] {
        assert_eq!(desk.client.open_requested(&jit(key), desk.now), Ok(()));
        desk.turn();
        let others = |desk: &Desk| desk.events.iter().filter(|event| matches!(event, Event::OtherChannel(_))).count();
        let known = others(desk);
        assert_eq!(desk.client.open_requested(&jit(key), desk.now), Ok(()), "the LSP repeats itself");
        desk.turn();
        assert_eq!(others(desk), known, "told once");
        assert_eq!(desk.client.channel_funded(ChannelKey(key), funding, desk.now), Handled::Taken);
        desk.turn();
    }
}

#[test]
fn case_X45_the_lsp_names_the_other_channel_after_the_payment_went_another_way() {
    let (mut desk, key, reply) = beside_a_purchase();
    opens_both(&mut desk);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.order(key).paying().unwrap().method, PaymentMethod::Bolt12, "the invoice could not be paid");
    desk.tells(funded(&reply, OUTPOINT));
    desk.passes(HOUR);
    assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(1))), "both channels are still known");
}

/// A channel that might belong to one order was given to another, and then belongs to the first one after all. From
/// then on it no longer counts as the other channel by which the first order could be done.
#[test]
fn case_X45_a_channel_that_an_order_gets_is_not_its_other_channel_as_well() {
    let (mut desk, first, reply) = beside_a_purchase();
    opens_both(&mut desk);
    let keys = |desk: &Desk, order| desk.order(order).channels().map(|its| its.key.0).collect::<Vec<_>>();
    assert_eq!(keys(&desk, first), [2, 1]);

    let (second, second_reply) = orders_nothing_for_itself(&mut desk, 8);
    assert_eq!(desk.client.open_requested(&jit(1), desk.now), Ok(()), "the LSP repeats itself");
    assert_eq!(desk.client.channel_funded(ChannelKey(1), OUTPOINT, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(keys(&desk, second), [1]);

    // The channel is the first order's after all, and for too short a time.
    let mut short = funded(&reply, OUTPOINT);
    short.channel.as_mut().unwrap().expires_at = DateTime::from(NOON + HOUR);
    tells_each(&mut desk, [short, second_reply]);
    desk.passes(HOUR / 2);
    assert!(matches!(desk.order(first).trouble(), Some(Trouble::ShortLease { .. })), "{:?}", desk.order(first));
    assert_eq!((keys(&desk, first), keys(&desk, second)), (vec![1], vec![2]));
}

/// The payment arrives over the channel of one of two orders. That channel belongs to the purchase, and the other order
/// keeps its own.
#[test]
fn case_X45_of_two_orders_the_one_whose_channel_was_used_waits_for_another() {
    for used in [1, 2] {
        let mut desk = Desk::new();
        let orders = [(1, 8, OUTPOINT), (2, 9, OTHER)].map(|(key, n, funding)| {
            let (order, _) = orders_nothing_for_itself(&mut desk, n);
            desk.opens(jit(key), funding);
            order
        });
        desk.client.register(&prepared(LSP, &buy(None)), hash(1), NOON).unwrap();
        let claimed = desk.client.claimed(hash(1), Msat(990_000), Msat(10_000), &[ChannelKey(used)], desk.now);
        assert_eq!(claimed, Handled::Taken);
        for (order, key) in orders.into_iter().zip([1, 2]) {
            let its = desk.order(order).channel().map(|its| its.key.0);
            assert_eq!(its, Some(key).filter(|key| *key != used), "{used}");
        }
    }
}

/// A payment arrives over the channel before it has a confirmation, and a fee was kept of it.
#[test]
fn case_X45_a_channel_that_may_be_a_purchases_is_accepted_on_the_purchases_terms() {
    let (mut desk, key, reply) = beside_a_purchase();
    assert_eq!(desk.client.open_requested(&jit(1), desk.now), Ok(()));
    let [Effect::AcceptChannel { terms, .. }] = desk.effects()[..] else { panic!("one channel") };
    assert_eq!((terms.confirmations, terms.accept_underpaying), (0, true));
    assert!(terms.max_to_self_delay.0 <= 2_016);
    assert_eq!(desk.client.channel_funded(ChannelKey(1), OTHER, desk.now), Handled::Taken);

    // The payment arrives over this channel, so the order waits for its own.
    let claimed = desk.client.claimed(hash(1), Msat(990_000), Msat(10_000), &[ChannelKey(1)], desk.now);
    assert_eq!(claimed, Handled::Taken);
    desk.effects();
    assert_eq!(desk.order(key).channel(), None);
    let own = OpenRequest { funding: Sat(2_000), ..jit(2) };
    assert_eq!(desk.client.open_requested(&own, desk.now), Ok(()));
    let [Effect::AcceptChannel { terms, .. }] = desk.effects()[..] else { panic!("one channel") };
    assert_eq!((terms.flow, terms.confirmations, terms.accept_underpaying), (FlowId::Order(key), 1, false));
    assert_eq!(desk.client.channel_funded(ChannelKey(2), OUTPOINT, desk.now), Handled::Taken);
    desk.tells(completed(&reply));
    desk.passes(HOUR);
    assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(2))));
}

#[test]
fn case_X45_the_lsp_says_which_of_two_channels_is_the_orders() {
    for funding in [OUTPOINT, OTHER] {
        let (mut desk, key, reply) = beside_a_purchase();
        let own = OpenRequest { funding: Sat(2_000), ..jit(1) };
        for (request, funding) in [(jit(2), OTHER), (own, OUTPOINT)] {
            assert_eq!(desk.client.open_requested(&request, desk.now), Ok(()));
            desk.turn();
            assert_eq!(desk.client.channel_funded(request.key, funding, desk.now), Handled::Taken);
            desk.turn();
        }
        desk.restarts();
        desk.tells(funded(&reply, funding));
        desk.passes(HOUR);
        assert_eq!(done(&desk, key).map(|(funding, _)| funding), Some(funding));
        let claimed = desk.client.claimed(hash(1), Msat(990_000), Msat(10_000), &[ChannelKey(2)], desk.now);
        assert_eq!(claimed, Handled::Taken, "the payment is the purchase's, whatever it came over");
    }
}

#[test]
fn case_X45_the_payment_may_come_over_the_very_channel_of_the_order() {
    let (mut desk, key, reply) = beside_a_purchase();
    let own = OpenRequest { funding: Sat(2_000), ..jit(1) };
    desk.opens(own, OUTPOINT);
    let claimed = desk.client.claimed(hash(1), Msat(990_000), Msat(10_000), &[ChannelKey(1)], desk.now);
    assert_eq!(claimed, Handled::Taken);
    // The LSP also opens the channel of the purchase.
    desk.opens(jit(2), OTHER);
    desk.tells(completed(&reply));
    desk.passes(HOUR);
    assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(1))), "LDK forwards over any channel of the client");
}

/// One channel is not paid for twice: it belongs to the purchase whose fee was kept, or to the order.
#[test]
fn case_X45_one_channel_is_not_paid_for_by_a_purchase_and_by_an_order() {
    for restarts in [false, true] {
        let (mut desk, key, reply) = beside_a_purchase();
        desk.opens(jit(1), OUTPOINT);
        let claimed = desk.client.claimed(hash(1), Msat(990_000), Msat(10_000), &[ChannelKey(1)], desk.now);
        assert_eq!(claimed, Handled::Taken);
        desk.turn();
        if restarts {
            desk.restarts();
        }
        desk.tells(completed(&reply));
        desk.passes(HOUR * 2);
        assert_eq!(done(&desk, key), None);
        assert_eq!(desk.order(key).trouble(), Some(&no_channel(OUTPOINT)), "the fee of the purchase was for that one");

        assert_eq!(desk.client.open_requested(&jit(2), desk.now), Ok(()));
        desk.turn();
        desk.passes(HOUR * 2);
        assert_eq!(done(&desk, key), None, "a channel that is asked for and not funded is none");
        assert_eq!(desk.client.channel_funded(ChannelKey(2), OTHER, desk.now), Handled::Taken);
        desk.passes(HOUR * 2);
        assert_eq!(done(&desk, key), Some((OUTPOINT, ChannelKey(1))), "there are two now, whichever is whose");
    }
}

/// A channel with a client balance cannot belong to a purchase.
#[test]
fn case_X45_a_channel_that_can_only_be_the_orders_is_accepted_on_the_orders_terms() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.client.register(&prepared(LSP, &buy(None)), hash(1), NOON).unwrap();
    desk.effects();
    assert_eq!(desk.client.open_requested(&open_as_ordered(1), NOON), Ok(()));
    let [Effect::AcceptChannel { terms, .. }] = desk.effects()[..] else { panic!("one channel") };
    assert_eq!((terms.flow, terms.confirmations), (FlowId::Order(key), 1));
    assert!(terms.accept_underpaying, "a payment may come over it all the same");
    assert_eq!(desk.order(key).paying().unwrap().payment, Payment::Asked);
    let stranger = OpenRequest { lsp: PeerId([9; 33]), ..open_as_ordered(2) };
    assert_eq!(desk.client.open_requested(&stranger, NOON), Err(RefuseChannel::NothingBought));
    desk.passes(DAY);
}

/// The LSP chooses when its order expires, and may choose the year 9999.
#[test]
fn case_X36_an_order_whose_lsp_names_a_far_end_is_begun_with_within_a_week() {
    let mut reply = made("a1", &order());
    let end: lsps_types::DateTime = "9999-12-31T23:59:59.999Z".parse().unwrap();
    reply.payment.bolt12.as_mut().unwrap().expires_at = end.clone();
    reply.payment.onchain.as_mut().unwrap().expires_at = end;
    let quote = checked(request(order())).verify(&reply, &Facts, NOON).unwrap();
    assert!(quote.options.len() > 1, "{quote:?}");
    assert!(quote.options.iter().all(|option| option.pay_by <= NOON + DAY * 7), "{quote:?}");
}
