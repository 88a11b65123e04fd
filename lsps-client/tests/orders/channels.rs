//! Channels that the client accepts for orders, and their terms.

use lsps_client::jit_receive::{Handled, OpenRequest, RefuseChannel};
use lsps_client::order::{End, OrderKey, PaymentMethod};
use lsps_client::{AcceptTerms, ChannelKey, Effect, FlowId};
use lsps_types::lsps1::CreateOrder;
use lsps_types::{Blocks, Msat, Sat};

use crate::common::{BOUGHT, HOUR, LSP, NOON, OTHER_LSP, PARAMS, buy, hash, open_request};
use crate::desk::{Desk, OUTPOINT, completed, made, open_as_ordered, order};

/// A request to open a channel exactly as ordered.
pub fn request(key: u128) -> OpenRequest {
    open_as_ordered(key)
}

fn accepts(order: OrderKey, key: u128, attempt: u32, confirmations: u16) -> Effect {
    let terms = AcceptTerms {
        flow: FlowId::Order(order),
        confirmations,
        max_to_self_delay: Blocks(u32::MAX),
        in_flight_percent: 100,
        accept_underpaying: false,
    };
    Effect::AcceptChannel { key: ChannelKey(key), attempt, lsp: LSP, terms }
}

fn paying(ordered: &CreateOrder) -> (Desk, OrderKey) {
    let mut desk = Desk::new();
    let key = desk.places(ordered);
    desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
    desk.effects();
    (desk, key)
}

/// L1-002, L1-123
#[test]
fn the_channel_that_was_ordered_is_accepted_and_a_better_one_too() {
    let (mut desk, key) = paying(&order());
    assert_eq!(desk.client.open_requested(&request(1), NOON), Ok(()));
    assert_eq!(desk.effects(), [accepts(key, 1, 1, 1)]);
    assert_eq!(desk.client.open_requested(&request(1), NOON), Ok(()));
    assert_eq!(desk.effects(), [accepts(key, 1, 2, 1)], "the LSP repeats itself");
    assert_eq!(desk.client.open_requested(&request(2), NOON), Err(RefuseChannel::AllHaveChannels));

    desk.restarts();
    assert_eq!(desk.effects()[1..], [accepts(key, 1, 2, 1)], "beside the payment");
    assert_eq!(desk.client.channel_ended(ChannelKey(1), NOON), Handled::Taken);
    let better = OpenRequest { funding: Sat(5_000), pushed: Msat(600_000), ..request(2) };
    assert_eq!(desk.client.open_requested(&better, NOON), Ok(()));
    assert_eq!(desk.client.channel_funded(ChannelKey(2), OUTPOINT, NOON), Handled::Taken);
    desk.effects();
    assert_eq!(desk.client.open_requested(&better, NOON), Err(RefuseChannel::AllHaveChannels), "it is funded");
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR);
    let Some(End::Done { channel: Some(channel), .. }) = desk.order(key).end() else { panic!("it is done") };
    assert_eq!((channel.key, channel.pending), (ChannelKey(2), true));
    assert_eq!(desk.client.open_requested(&request(3), NOON), Err(RefuseChannel::NothingBought));
}

#[test]
fn a_channel_that_is_not_as_ordered_is_refused() {
    let refused = |change: &dyn Fn(&mut OpenRequest)| {
        let (mut desk, _) = paying(&order());
        let mut request = request(1);
        change(&mut request);
        desk.client.open_requested(&request, NOON).unwrap_err()
    };
    let not_as_ordered = RefuseChannel::NotAsOrdered;
    assert_eq!(refused(&|r| r.announced = true), not_as_ordered);
    assert_eq!(refused(&|r| r.funding = Sat(2_499)), not_as_ordered);
    assert_eq!(refused(&|r| r.pushed = Msat(499_999)), not_as_ordered);
    assert_eq!(refused(&|r| r.zero_conf = true), not_as_ordered, "it was to be confirmed");
    assert_eq!(refused(&|r| r.lsp = OTHER_LSP), RefuseChannel::NothingBought);

    let public = CreateOrder { announce_channel: true, ..order() };
    let (mut desk, _) = paying(&public);
    assert_eq!(desk.client.open_requested(&request(1), NOON), Err(not_as_ordered));
    let announced = OpenRequest { announced: true, scid_alias: false, ..request(1) };
    assert_eq!(desk.client.open_requested(&announced, NOON), Ok(()));
}

#[test]
fn it_is_used_unconfirmed_only_if_it_was_ordered_so_and_is_being_paid() {
    let at_once = CreateOrder { required_channel_confirmations: 0, ..order() };
    let mut desk = Desk::new();
    let key = desk.places(&at_once);
    let zero_conf = OpenRequest { zero_conf: true, ..request(1) };
    assert_eq!(desk.client.open_requested(&zero_conf, NOON), Err(RefuseChannel::NothingBought), "not paid");
    desk.client.pay_order(key, PaymentMethod::Onchain, NOON).unwrap();
    assert_eq!(desk.client.open_requested(&zero_conf, NOON), Err(RefuseChannel::NotAsOrdered), "nothing is signed");
    desk.client.order_signed(key, vec![1], NOON).unwrap();
    desk.effects();
    assert_eq!(desk.client.open_requested(&zero_conf, NOON), Ok(()));
    assert_eq!(desk.effects(), [accepts(key, 1, 1, 0)]);
}

#[test]
fn what_was_bought_for_a_payment_is_not_taken_for_an_order() {
    let (mut desk, _) = paying(&order());
    let prepared = lsps_client::jit_receive::prepare(
        LSP,
        &buy(None),
        &BOUGHT,
        &PARAMS,
        &lsps_client::jit_receive::Rules::default(),
        NOON,
    );
    desk.client.register(&prepared.unwrap(), hash(1), NOON).unwrap();
    desk.effects();
    assert_eq!(desk.client.open_requested(&open_request(7), NOON), Ok(()));
    let [Effect::AcceptChannel { terms, .. }] = desk.effects()[..] else { panic!("one channel") };
    assert_eq!(terms.flow, FlowId::Purchase(hash(1)), "nothing is pushed to us in it");
    assert_eq!(desk.client.open_requested(&request(8), NOON), Ok(()));
    let [Effect::AcceptChannel { terms, .. }] = desk.effects()[..] else { panic!("one channel") };
    assert!(matches!(terms.flow, FlowId::Order(_)));
    assert_eq!(desk.client.channel_ended(ChannelKey(7), NOON), Handled::Taken);
    assert_eq!(desk.client.channel_ended(ChannelKey(9), NOON), Handled::NotMine);
}
