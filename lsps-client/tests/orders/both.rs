//! Orders and purchases at one LSP. A new channel may belong to either; which one is known only later.

use lsps_client::jit_receive::{Arrival, Fault, Handled, InvoiceParams, OpenRequest, Received, Rules, Via, prepare};
use lsps_client::order::{OrderKey, PaymentMethod};
use lsps_client::{ChannelKey, Effect};
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps2::{Buy, OpeningFeeParams};
use lsps_types::{Blocks, Msat, Sat};

use crate::common::{BOUGHT, FEE, LSP, NOON, OTHER_LSP, PARAMS, SIZE, buy, hash, open_request, prepared, terms};
use crate::desk::{Desk, order};

const NET: Msat = Msat(990_000);
const AS_PROMISED: Received<'static> = Received::Totals { received: NET, skimmed: FEE };
const ALLOW: Effect = Effect::AllowUnderpaying { lsp: LSP };

/// A paid order of a channel without a client balance, which looks like a channel that was bought.
fn pays_for(ordered: &CreateOrder) -> (Desk, OrderKey) {
    let mut desk = Desk::new();
    let key = desk.places(ordered);
    desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
    desk.effects();
    (desk, key)
}

fn empty() -> CreateOrder {
    CreateOrder { client_balance_sat: Sat::ZERO, ..order() }
}

fn buys(desk: &mut Desk) {
    let prepared = prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &PARAMS, &Rules::default(), NOON).unwrap();
    desk.client.register(&prepared, hash(1), NOON).unwrap();
    desk.effects();
}

fn opens(desk: &mut Desk, request: &OpenRequest) -> Vec<Effect> {
    desk.client.open_requested(request, NOON).expect("one is waited for");
    let effects = desk.effects();
    assert_eq!(desk.client.channel_pending(request.key, NOON), Handled::Taken);
    effects
}

fn request(key: u128) -> OpenRequest {
    OpenRequest { zero_conf: false, ..open_request(key) }
}

fn arrives(desk: &Desk, over: u128) -> Arrival {
    let confirmed = Via { peer: Some(LSP), key: ChannelKey(over), confirmations: 0, is_ours: false, is_seen: None };
    desk.client.arrived(hash(1), &AS_PROMISED, &[confirmed], 0)
}

#[test]
fn case_X43_a_channel_that_was_ordered_carries_a_payment_that_was_bought() {
    // The order of the two does not matter: the setting is there when the channel is accepted, and when the channel
    // exists.
    let (mut desk, _) = pays_for(&order());
    buys(&mut desk);
    let ordered = OpenRequest { funding: Sat(2_500), pushed: Msat(500_000), ..request(1) };
    let [Effect::AcceptChannel { terms, .. }] = opens(&mut desk, &ordered)[..] else { panic!("it is accepted") };
    assert!(terms.accept_underpaying);

    let (mut desk, _) = pays_for(&order());
    let [Effect::AcceptChannel { terms, .. }] = opens(&mut desk, &ordered)[..] else { panic!("it is accepted") };
    assert!(!terms.accept_underpaying, "nobody is to keep anything");
    assert_eq!(terms.confirmations, 1, "as ordered");
    buys(&mut desk);
    desk.client.channel_with(LSP);
    assert_eq!(desk.effects(), [ALLOW], "each new channel with the LSP, whoever opened it");
    desk.client.channel_with(OTHER_LSP);
    assert_eq!(desk.effects(), []);
}

#[test]
fn case_X45_a_channel_that_is_taken_for_an_order_and_brings_the_payment_was_bought() {
    let (mut desk, order) = pays_for(&empty());
    buys(&mut desk);
    let effects = opens(&mut desk, &request(1));
    let [Effect::AcceptChannel { terms, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((terms.confirmations, terms.accept_underpaying), (0, true), "the payment may come over it at once");
    assert_eq!(terms.max_to_self_delay, Blocks(2_016), "as was promised for a purchase");
    assert!(desk.order(order).channel().is_some(), "it may be either");

    assert_eq!(arrives(&desk, 1), Arrival::Claim);
    assert_eq!(desk.client.claimed(hash(1), NET, FEE, &[ChannelKey(1)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_none(), "the order waits for another");
    desk.effects();
    let effects = opens(&mut desk, &request(2));
    let [Effect::AcceptChannel { terms, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((terms.confirmations, terms.accept_underpaying), (1, false), "on its own terms");
    assert!(desk.order(order).channel().is_some_and(|channel| channel.key == ChannelKey(2)));
}

#[test]
fn case_X45_a_payment_over_an_older_channel_uses_up_the_one_that_was_taken_for_an_order() {
    let (mut desk, order) = pays_for(&empty());
    buys(&mut desk);
    opens(&mut desk, &request(1));
    assert_eq!(arrives(&desk, 77), Arrival::Claim);
    assert_eq!(desk.client.claimed(hash(1), NET, FEE, &[ChannelKey(77)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_none());
}

#[test]
fn case_X45_what_pays_no_fee_or_has_a_channel_of_its_own_leaves_the_order_alone() {
    let (mut desk, order) = pays_for(&empty());
    opens(&mut desk, &request(1));
    buys(&mut desk);
    desk.client.open_requested(&request(2), NOON).unwrap();
    assert_eq!(desk.client.channel_pending(ChannelKey(2), NOON), Handled::Taken);
    assert_eq!(desk.client.claimed(hash(1), NET, FEE, &[ChannelKey(1)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_some(), "LSPs forward over whichever channel suits them");
    assert_eq!(desk.client.claimed(hash(1), NET, FEE, &[ChannelKey(1)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_some(), "the node repeats itself");

    let (mut desk, order) = pays_for(&empty());
    opens(&mut desk, &request(1));
    buys(&mut desk);
    assert_eq!(desk.client.claimed(hash(1), SIZE, Msat::ZERO, &[ChannelKey(1)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_some());
}

/// The ordered channel has a client balance, and no fee of a purchase is paid for it.
#[test]
fn case_X42_the_channel_of_an_order_is_no_excuse_to_keep_another_fee() {
    let (mut desk, _) = pays_for(&order());
    buys(&mut desk);
    opens(&mut desk, &OpenRequest { funding: Sat(2_500), pushed: Msat(500_000), ..request(1) });
    assert_eq!(arrives(&desk, 1), Arrival::Reject(Fault::NoChannelOpened { skimmed: FEE }));
}

/// An announced channel cannot belong to a purchase.
#[test]
fn case_X45_an_announced_channel_is_accepted_as_it_was_ordered() {
    let (mut desk, _) = pays_for(&CreateOrder { announce_channel: true, ..empty() });
    buys(&mut desk);
    let effects = opens(&mut desk, &OpenRequest { announced: true, scid_alias: false, ..request(1) });
    let [Effect::AcceptChannel { terms, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((terms.confirmations, terms.accept_underpaying), (1, false));
}

/// One fee pays for one channel: the channel of a held payment is not available to the next purchase.
#[test]
fn case_X45_a_channel_that_a_held_payment_came_over_is_none_to_spare_for_another_fee() {
    let (mut desk, order) = pays_for(&empty());
    opens(&mut desk, &request(1));
    let params = InvoiceParams { confirmations_to_wait: 3, ..PARAMS };
    let prepared = prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &params, &Rules::default(), NOON).unwrap();
    for number in [1, 2] {
        desk.client.register(&prepared, hash(number), NOON).unwrap();
    }
    opens(&mut desk, &request(2));
    assert_eq!(desk.client.held(hash(1), (NET, FEE), None, &[ChannelKey(2)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_some(), "that was the purchase's own");
    assert_eq!(desk.client.claimed(hash(2), NET, FEE, &[ChannelKey(77)], NOON), Handled::Taken);
    assert!(desk.order(order).channel().is_none(), "this fee was for the other channel");
}

/// The purchase has ended, but the client has not been ticked since.
#[test]
fn case_X45_a_purchase_whose_time_is_over_does_not_change_the_terms_of_an_order() {
    let (mut desk, _) = pays_for(&empty());
    buys(&mut desk);
    let open_until = desk.client.purchase(hash(1)).unwrap().terms().open_until;
    desk.client.open_requested(&request(1), open_until).unwrap();
    let effects = desk.effects();
    let [Effect::AcceptChannel { terms, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((terms.confirmations, terms.accept_underpaying), (1, false));
}

/// The channel may belong to either purchase.
#[test]
fn case_X45_a_channel_that_may_be_one_of_several_purchases_has_the_strictest_delay() {
    let (mut desk, _) = pays_for(&empty());
    for (number, max_client_to_self_delay) in [(1, 2_016), (2, 720), (3, 1_008)] {
        let opening_fee_params = OpeningFeeParams { max_client_to_self_delay, ..terms() };
        let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
        desk.client.register(&prepared(LSP, &buy), hash(number), NOON).unwrap();
    }
    desk.effects();
    let effects = opens(&mut desk, &request(1));
    let [Effect::AcceptChannel { terms, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(terms.max_to_self_delay, Blocks(720));
}
