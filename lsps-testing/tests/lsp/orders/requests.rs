//! Requests and replies of LSPS1.

use std::collections::BTreeSet;
use std::time::Duration;

use lsps_service::{
    Config, Decision, Input, Limits, OrderConfig, OrderPolicy, OrderRefusal, PendingRequest, Prepared, StandardPolicy,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, address_of, call, peer};
use lsps_types::codes::{CreateOrderError, GetOrderError};
use lsps_types::jsonrpc::{FromLsp, Refusal, encode_request};
use lsps_types::lsps1::{CreateOrder, GetInfo, GetOrder, Options, Order};
use lsps_types::{PeerId, Sat};

use super::{Shop, order, selling};

fn asks(lsp: &mut Lsp, client: PeerId, id: &str) -> Vec<Vec<u8>> {
    lsp.receives(client, &encode_request(id, &order()).expect("short"))
}

fn is_refused(reply: &[u8]) -> bool {
    matches!(FromLsp::decode(reply), Ok(FromLsp::Response { outcome: Err(_), .. }))
}

fn shop() -> Lsp {
    let mut lsp = Lsp::at(NOON, selling());
    lsp.connects(peer(1));
    lsp
}

/// The node ID of one of many clients.
fn client(number: u32) -> PeerId {
    let mut id = [3; 33];
    id[1..5].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

fn orders_as(lsp: &mut Lsp, client: PeerId) -> Order {
    lsp.connects(client);
    call(lsp, client, &order()).expect("an order")
}

/// L1-005, L1-006, L1-039, L1-064
#[test]
fn case_O04_each_request_makes_an_order_that_is_told_as_it_was() {
    let mut lsp = shop();
    let info = call(&mut lsp, peer(1), &GetInfo {}).expect("options");
    assert_eq!(call(&mut lsp, peer(1), &GetInfo {}).expect("options"), info);
    let first = call(&mut lsp, peer(1), &order()).expect("an order");
    let second = call(&mut lsp, peer(1), &order()).expect("another");
    assert_ne!(first.order_id, second.order_id);
    let ask = GetOrder { order_id: first.order_id.as_str().into() };
    for _ in 0..2 {
        assert_eq!(call(&mut lsp, peer(1), &ask).expect("its order"), first);
    }
    lsp.restarts();
    assert_eq!(call(&mut lsp, peer(1), &ask).expect("its order"), first);
}

/// L1-040, L1-042
#[test]
fn case_O04_case_J35_ten_thousand_orders_have_ids_of_their_own_and_a_payment_touches_one() {
    let mut shop = Shop::new();
    let others = (20..10_019).map(|number| orders_as(&mut shop.lsp, client(number / 20)));
    let mut ids: BTreeSet<String> = others.map(|order| order.order_id.as_str().to_owned()).collect();
    ids.insert(shop.order.order_id.as_str().to_owned());
    assert_eq!(ids.len(), 10_000);
    let v4 = |id: &String| id.len() == 36 && id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]);
    assert!(ids.iter().all(v4));
    // A client cannot guess the ID of another client's order: each of the 122 free bits is set in about half of the
    // IDs.
    let numbers = || ids.iter().map(|id| u128::from_str_radix(&id.replace('-', ""), 16).expect("hexadecimal"));
    let set = |bit: u32| numbers().filter(|number| number >> bit & 1 == 1).count();
    let is_free = |bit: &u32| !(76..80).contains(bit) && !(62..64).contains(bit);
    assert!((0..128).filter(is_free).all(|bit| (4_500..5_500).contains(&set(bit))));

    let before = shop.lsp.records().clone();
    shop.pays();
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { key, .. }] if key == shop.key(1)));
    let changed = shop.lsp.records().iter().filter(|(name, bytes)| before.get(*name) != Some(*bytes));
    assert_eq!(changed.count(), 1, "one record is written");
}

/// L1-065, L1-066
#[test]
fn case_O05_an_order_is_told_to_nobody_else() {
    let mut shop = Shop::new();
    shop.lsp.connects(peer(2));
    let not_found = Err(Refusal::Method(GetOrderError::NotFound));
    let upper = shop.order.order_id.as_str().to_uppercase();
    for (client, order_id) in
        [(peer(2), shop.order.order_id.as_str()), (peer(1), upper.as_str()), (peer(1), ""), (peer(1), "x")]
    {
        let answer = call(&mut shop.lsp, client, &GetOrder { order_id: order_id.into() });
        assert_eq!(answer.map_err(|error| error.refusal), not_found, "{order_id:?}");
    }
}

#[test]
fn case_O14_nothing_is_on_record_or_told_before_the_node_has_made_what_it_can_be_paid_with() {
    let mut lsp = shop();
    lsp.is_slow = true;
    assert!(asks(&mut lsp, peer(1), "a").is_empty());
    assert!(lsp.records().is_empty());
    let draft = lsp.service().known_orders().next().expect("a draft");
    let unknown = call(&mut lsp, peer(1), &GetOrder { order_id: draft.id.as_str().into() });
    assert!(unknown.is_err(), "not even to its client");
    let again = asks(&mut lsp, peer(1), "a");
    assert!(matches!(&again[..], [reply] if is_refused(reply)), "a request of this id waits");
    let prepared = Prepared { address: Some(address_of(draft.number)), ..Prepared::default() };
    lsp.feed(Input::OrderPrepared { order: draft.number, prepared });
    let replies = lsp.sent_to(peer(1));
    assert_eq!(lsp.records().len(), 1);
    let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(replies.last().expect("a reply")) else {
        panic!("no order")
    };
    let order = raw.reply::<CreateOrder>().expect("an order");
    let payment = order.payment;
    assert!(
        payment.bolt11.is_none() && payment.bolt12.is_none() && payment.onchain.is_some(),
        "ways not made are left out"
    );
}

#[test]
fn case_O14_a_host_that_makes_nothing_or_never_answers_is_told_to_the_client() {
    let mut lsp = shop();
    lsp.makes_nothing = true;
    assert!(matches!(&asks(&mut lsp, peer(1), "a")[..], [reply] if is_refused(reply)));
    (lsp.makes_nothing, lsp.is_slow) = (false, true);
    assert!(asks(&mut lsp, peer(1), "a").is_empty());
    lsp.wait_until(NOON + OrderConfig::default().prepare_timeout);
    assert!(matches!(&lsp.sent_to(peer(1))[..], [reply] if is_refused(reply)));
    assert!(lsp.records().is_empty() && lsp.service().known_orders().next().is_none());
    assert_eq!(lsp.service().next_wake(), None);
}

#[test]
fn case_O14_a_client_that_leaves_meanwhile_has_ordered_nothing() {
    let mut lsp = shop();
    lsp.is_slow = true;
    asks(&mut lsp, peer(1), "a");
    let number = lsp.service().known_orders().next().expect("a draft").number;
    lsp.disconnects(peer(1));
    assert!(lsp.service().known_orders().next().is_none());
    lsp.feed(Input::OrderPrepared { order: number, prepared: Prepared::default() });
    lsp.connects(peer(1));
    assert!(lsp.records().is_empty() && lsp.sent_to(peer(1)).is_empty());
    lsp.is_slow = false;
    assert_eq!(asks(&mut lsp, peer(1), "a").len(), 1, "it asks again");
}

/// L1-062
#[test]
fn case_O14_what_is_decided_elsewhere_waits_for_it_and_not_for_ever() {
    let mut lsp = Lsp::at(NOON, LspSetup { elsewhere: true, ..selling() });
    lsp.connects(peer(1));
    assert!(asks(&mut lsp, peer(1), "a").is_empty());
    let questions = lsp.pending_decisions();
    assert!(matches!(&questions[..], [question] if question.about == PendingRequest::Order(order())));
    assert!(matches!(&asks(&mut lsp, peer(1), "a")[..], [reply] if is_refused(reply)), "it waits already");
    let terms = selling().orders.expect("it sells").1;
    lsp.feed(Input::Decided { id: questions[0].id, decision: Decision::Order(Ok(terms)) });
    assert_eq!((lsp.records().len(), lsp.pending_decisions().len()), (1, 0));

    for id in ["b", "c"] {
        assert!(asks(&mut lsp, peer(1), id).is_empty());
    }
    let question = lsp.pending_decisions()[0].id;
    let no = Decision::Order(Err(OrderRefusal::Client("not you".into())));
    lsp.feed(Input::Decided { id: question, decision: no });
    lsp.wait_until(NOON + Config::default().decision_timeout);
    assert_eq!(lsp.sent_to(peer(1)).iter().filter(|reply| is_refused(reply)).count(), 2, "one refused, one unanswered");
    assert_eq!(lsp.records().len(), 1);
}

#[test]
fn case_O10_orders_are_limited_by_client_and_in_total_until_they_are_forgotten() {
    let limits = Limits { orders_per_client: 2, orders: 3, ..Limits::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config: Config { limits, ..Config::default() }, ..selling() });
    (1..=3).for_each(|client| lsp.connects(peer(client)));
    (1..=3).for_each(|client| lsp.feed(Input::ChannelsWith { peer: peer(client), any: true }));
    let orders = |lsp: &mut Lsp, client| call(lsp, peer(client), &order()).map_err(|error| error.refusal);
    assert!(orders(&mut lsp, 1).is_ok() && orders(&mut lsp, 1).is_ok());
    assert!(matches!(orders(&mut lsp, 1), Err(Refusal::ClientRejected(_))), "its own limit");
    assert!(orders(&mut lsp, 2).is_ok());
    assert!(matches!(orders(&mut lsp, 3), Err(Refusal::ClientRejected(_))), "that of all");
    let expired = NOON + Duration::from_secs(2 * 3_600);
    lsp.wait_until(expired);
    assert!(matches!(orders(&mut lsp, 3), Err(Refusal::ClientRejected(_))), "failed ones are still on record");
    lsp.wait_until(expired + OrderConfig::default().keep_unpaid);
    assert!(lsp.records().is_empty());
}

/// L1-056, L1-057
#[test]
fn case_O02_what_does_not_fit_an_option_names_it_and_leaves_nothing() {
    let mut setup = selling();
    let (options, _) = setup.orders.as_mut().expect("it sells");
    options.max_initial_client_balance_sat = Sat(1);
    let mut lsp = Lsp::at(NOON, setup);
    lsp.connects(peer(1));
    let refused = call(&mut lsp, peer(1), &order()).map_err(|error| error.refusal);
    assert_eq!(refused, Err(Refusal::Method(CreateOrderError::OptionMismatch)));
    let [reply] = &lsp.sent_to(peer(1))[..] else { panic!("a reply") };
    assert!(String::from_utf8_lossy(reply).contains(r#""property":"max_initial_client_balance_sat""#));
    assert!(lsp.records().is_empty() && lsp.acts().is_empty());
}

/// The LSP's balance has to cover its reserve and the commitment fee: otherwise the node would refuse to open the
/// channel after it was paid for.
#[test]
fn case_X22_balances_that_no_channel_can_carry_are_refused_with_the_option_named() {
    let options = Options { min_initial_lsp_balance_sat: Sat(1_000), ..OrderPolicy::default().options };
    let orders = Some(OrderPolicy { options, ..OrderPolicy::default() });
    let policy = Some(StandardPolicy { orders, ..StandardPolicy::default() });
    let mut lsp = Lsp::at(NOON, LspSetup { policy, feerate_sat_per_kw: 1_000, ..LspSetup::default() });
    lsp.connects(peer(1));
    // The minimum is one percent of the channel, two outputs of 330 sat, and 1 812 weight units at twice the feerate.
    for (balance, is_sold) in [(1_000, false), (8_300, false), (8_400, true)] {
        let ordered = CreateOrder { lsp_balance_sat: Sat(balance), client_balance_sat: Sat(400_000), ..order() };
        let answer = call(&mut lsp, peer(1), &ordered).map_err(|error| error.refusal);
        assert_eq!(answer.is_ok(), is_sold, "{balance} sat");
        let reply = String::from_utf8_lossy(&lsp.sent_to(peer(1))[0]).into_owned();
        assert_eq!(reply.contains(r#""property":"min_initial_lsp_balance_sat""#), !is_sold, "{reply}");
    }
}

/// 34 sat cannot be sent to an address, because nodes do not relay such an output.
#[test]
fn case_X23_an_address_is_not_offered_for_what_no_transaction_carries() {
    let free = |fee: u64, feerate_sat_per_kw: u32| {
        let mut setup = LspSetup { feerate_sat_per_kw, ..selling() };
        let (_, terms) = setup.orders.as_mut().expect("it sells");
        for way in [&mut terms.bolt11, &mut terms.bolt12]
            .into_iter()
            .flatten()
            .chain(terms.onchain.as_mut().map(|it| &mut it.0))
        {
            way.fee = Sat(fee);
        }
        let mut lsp = Lsp::at(NOON, setup);
        lsp.connects(peer(1));
        let ordered = CreateOrder { client_balance_sat: Sat(0), ..order() };
        let payment = call(&mut lsp, peer(1), &ordered).expect("an order").payment;
        assert!(payment.bolt11.is_some() && payment.bolt12.is_some());
        payment.onchain.is_some()
    };
    assert_eq!([34, 545, 546].map(|fee| free(fee, 0)), [false, false, true]);
    assert_eq!([3_400, 3_401].map(|fee| free(fee, 12_500)), [false, true], "nor for what costs more to spend");
}

/// Node IDs are free: strangers fill the room reserved for them, and no more.
#[test]
fn case_X11_strangers_who_order_and_do_not_pay_keep_nobody_out_for_long() {
    let limits = Limits { orders_per_client: 4, orders: 8, ..Limits::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config: Config { limits, ..Config::default() }, ..selling() });
    (1..=9).for_each(|client| lsp.connects(peer(client)));
    let orders = |lsp: &mut Lsp, client| call(lsp, peer(client), &order()).is_ok();
    let taken = [1, 1, 1, 1, 2, 2, 3].map(|client| orders(&mut lsp, client));
    assert_eq!(taken, [true, true, true, false, true, false, true], "two do not block a third");
    assert!(orders(&mut lsp, 4) && !orders(&mut lsp, 5), "six are the strangers'");
    lsp.feed(Input::ChannelsWith { peer: peer(5), any: true });
    assert!(orders(&mut lsp, 5) && orders(&mut lsp, 5) && !orders(&mut lsp, 5), "who has a channel has room");

    lsp.wait_until(NOON + Duration::from_secs(89));
    assert!(!orders(&mut lsp, 6), "one may be paid a little late");
    lsp.wait_until(NOON + Duration::from_secs(90));
    assert!(
        orders(&mut lsp, 6) && !orders(&mut lsp, 7),
        "those of the crowd had their turn; the others have more time"
    );

    let expired = NOON + Duration::from_secs(2 * 3_600);
    lsp.wait_until(expired + Duration::from_secs(3_600));
    assert!(orders(&mut lsp, 6) && orders(&mut lsp, 7), "what nobody paid goes first, and not after a day");
    assert_eq!(lsp.records().len(), lsp.service().known_orders().count(), "from the store too");
}
