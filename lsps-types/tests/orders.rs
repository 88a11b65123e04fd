//! LSPS1 as bytes: options, orders, and the LSP's replies.
#![allow(non_snake_case)]

mod common;

use std::num::NonZeroU16;

use common::{answers, comes_back, id};
use lsps_types::codes::CreateOrderError;
use lsps_types::jsonrpc::{ErrorObject, FromLsp, Incoming, InvalidParams, Refusal, encode_error, encode_reply};
use lsps_types::lsps1::{
    Bolt11Payment, Bolt12Payment, Channel, Confirmation, CreateOrder, Expect, GetOrder, LightningState, OnchainPayment,
    OnchainState, OptionMismatch, Options, Order, OrderId, OrderState, Payment, PaymentFacts, ReadInvoices, Status,
    Unusable,
};
use lsps_types::{Address, DateTime, FeeRate, Msat, Network, OutPoint, PeerId, Sat, Timestamp, Txid};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

const ADDRESS: &str = "bcrt1q9e7jcqaf2pawye0v7k6n26y955ee8gszrwzkyg";
const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_000);

fn options() -> Options {
    Options {
        min_required_channel_confirmations: 1,
        min_funding_confirms_within_blocks: 6,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: Sat(10),
        max_initial_client_balance_sat: Sat(1_000),
        min_initial_lsp_balance_sat: Sat(20),
        max_initial_lsp_balance_sat: Sat(5_000),
        min_channel_balance_sat: Sat(100),
        max_channel_balance_sat: Sat(5_500),
    }
}

fn order() -> CreateOrder {
    CreateOrder {
        lsp_balance_sat: Sat(2_000),
        client_balance_sat: Sat(500),
        required_channel_confirmations: 1,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        refund_onchain_address: None,
        announce_channel: false,
    }
}

fn made(ordered: &CreateOrder, payment: Payment) -> Order {
    Order {
        order_id: OrderId::try_from("a1".to_string()).unwrap(),
        lsp_balance_sat: ordered.lsp_balance_sat,
        client_balance_sat: ordered.client_balance_sat,
        required_channel_confirmations: ordered.required_channel_confirmations,
        funding_confirms_within_blocks: ordered.funding_confirms_within_blocks,
        channel_expiry_blocks: ordered.channel_expiry_blocks,
        token: ordered.token.clone().unwrap_or_default(),
        created_at: DateTime::from(NOON),
        announce_channel: ordered.announce_channel,
        order_state: OrderState::Created,
        payment,
        channel: None,
    }
}

#[test]
fn case_O02_each_option_that_is_not_met_is_named() {
    let refused = |change: &dyn Fn(&mut CreateOrder)| {
        let mut order = order();
        change(&mut order);
        options().allow(&order).unwrap_err().property
    };
    assert_eq!(options().allow(&order()), Ok(()));
    assert_eq!(refused(&|o| o.lsp_balance_sat = Sat(19)), "min_initial_lsp_balance_sat");
    assert_eq!(refused(&|o| o.lsp_balance_sat = Sat(5_001)), "max_initial_lsp_balance_sat");
    assert_eq!(refused(&|o| o.client_balance_sat = Sat(9)), "min_initial_client_balance_sat");
    assert_eq!(refused(&|o| o.client_balance_sat = Sat(1_001)), "max_initial_client_balance_sat");
    assert_eq!(refused(&|o| (o.lsp_balance_sat, o.client_balance_sat) = (Sat(20), Sat(79))), "min_channel_balance_sat");
    assert_eq!(
        refused(&|o| (o.lsp_balance_sat, o.client_balance_sat) = (Sat(5_000), Sat(501))),
        "max_channel_balance_sat"
    );
    assert_eq!(refused(&|o| o.required_channel_confirmations = 0), "min_required_channel_confirmations");
    assert_eq!(refused(&|o| o.funding_confirms_within_blocks = 5), "min_funding_confirms_within_blocks");
    assert_eq!(refused(&|o| o.channel_expiry_blocks = 20_161), "max_channel_expiry_blocks");

    let mismatch = options().allow(&CreateOrder { lsp_balance_sat: Sat(1), ..order() }).unwrap_err();
    let error = ErrorObject::of_method_with(CreateOrderError::OptionMismatch, &mismatch);
    let payload = encode_error(&"a".to_string().into(), &error);
    let Ok(FromLsp::Response { outcome: Err(error), .. }) = FromLsp::decode(&payload) else { panic!("an error") };
    let reply = error.typed::<CreateOrderError>();
    assert_eq!(reply.refusal, Refusal::Method(CreateOrderError::OptionMismatch));
    assert_eq!(reply.object.read_data::<OptionMismatch>(), Some(mismatch));

    let token = ErrorObject::of_method_with(CreateOrderError::UnrecognizedOrStaleToken, &json!({}));
    assert_eq!((token.code, token.data.unwrap().get()), (102, "{}"));
}

#[test]
fn case_O02_a_malformed_order_names_the_property() {
    let faults = |change: Value| {
        let mut params = json!(order());
        params.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let payload =
            json!({ "jsonrpc": "2.0", "id": "a", "method": "lsps1.create_order", "params": params }).to_string();
        Incoming::decode(payload.as_bytes()).unwrap().params::<CreateOrder>().unwrap_err()
    };
    let named = |change: Value| faults(change).property.unwrap();
    assert_eq!(named(json!({ "lsp_balance_sat": "0" })), "lsp_balance_sat");
    assert_eq!(named(json!({ "channel_expiry_blocks": 0 })), "channel_expiry_blocks");
    assert_eq!(named(json!({ "announce_channel": "true" })), "announce_channel");
    assert_eq!(
        named(json!({ "refund_onchain_address": "1BoatSLRHtKNngkdXEeobR76b53LETtpyT" })),
        "refund_onchain_address"
    );
    assert_eq!(faults(json!({ "priority": 1 })).unrecognized, ["priority"]);

    let elsewhere = CreateOrder { refund_onchain_address: Some(ADDRESS.parse().unwrap()), ..order() };
    assert_eq!(elsewhere.fits(Network::Regtest), Ok(()));
    let InvalidParams { unrecognized, property, .. } = elsewhere.fits(Network::Bitcoin).unwrap_err();
    assert_eq!((unrecognized.len(), property.as_deref()), (0, Some("refund_onchain_address")));
}

#[test]
fn case_O03_no_token_is_left_out_of_the_request_and_empty_in_the_reply() {
    assert!(json!(order()).get("token").is_none());
    let reply = made(&order(), Payment::default());
    assert_eq!(json!(reply)["token"], "");
    let expect = Expect { network: Network::Regtest, payee: None, now: None };
    assert!(reply.judge(&order(), &expect, &Nothing).is_ok());
    let with_token = CreateOrder { token: Some("t".into()), ..order() };
    assert_eq!(reply.judge(&with_token, &expect, &Nothing).unwrap_err().field, "token");
}

/// A client never writes an empty text for what is not given.
#[test]
fn case_Z02_an_empty_token_is_neither_kept_nor_written() {
    let mut json = json!(order());
    json["token"] = json!("");
    json["refund_onchain_address"] = json!("");
    let read: CreateOrder = serde_json::from_value(json.clone()).expect("both are absent");
    assert_eq!((&read.token, &read.refund_onchain_address), (&None, &None));
    for written in [json!(read), json!(CreateOrder { token: Some(String::new()), ..read.clone() })] {
        assert!(written.get("token").is_none() && written.get("refund_onchain_address").is_none(), "{written}");
    }
    for (name, other) in
        [("token", json!(0)), ("refund_onchain_address", json!(" ")), ("refund_onchain_address", json!([]))]
    {
        let mut bad = json.clone();
        bad[name] = other;
        assert!(serde_json::from_value::<CreateOrder>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn case_O04_ways_that_are_not_offered_are_left_out_and_the_fee_rate_goes_with_zero_confirmations_only() {
    let text = json!(made(&order(), Payment::default()));
    assert_eq!(text["payment"], json!({}));
    assert_eq!(text["channel"], Value::Null, "written as null, as the spec has it");

    let way = |confirmation| OnchainPayment {
        state: OnchainState::ExpectPayment,
        expires_at: DateTime::from(NOON),
        fee_total_sat: Sat(1),
        order_total_sat: Sat(501),
        address: ADDRESS.into(),
        confirmation,
        refund_onchain_address: None,
    };
    let at_once = json!(way(Confirmation::AtOnce { above: Some(FeeRate(253)) }));
    assert_eq!(
        (&at_once["min_onchain_payment_confirmations"], &at_once["min_fee_for_0conf"]),
        (&json!(0), &json!(253))
    );
    let later = json!(way(Confirmation::After(NonZeroU16::new(3).unwrap())));
    assert!(later.get("min_fee_for_0conf").is_none() && later.get("refund_onchain_address").is_none());

    // A deployed LSP always sends this member; others send null.
    let mut read = later.clone();
    for sent in [json!(253), Value::Null] {
        read["min_fee_for_0conf"] = sent;
        assert_eq!(
            serde_json::from_value::<OnchainPayment>(read.clone()).unwrap(),
            way(Confirmation::After(NonZeroU16::new(3).unwrap()))
        );
    }
    read["state"] = json!("HOLD");
    let seen: OnchainPayment = serde_json::from_value(read).unwrap();
    assert_eq!(seen.state, OnchainState::Seen);
    assert_eq!(json!(seen)["state"], "EXPECT_PAYMENT", "never written as it was read");
}

/// L1-077, L1-085
#[test]
fn a_way_to_pay_is_used_only_if_everything_about_it_fits() {
    let facts = PaymentFacts {
        amount: Some(Msat(508_000)),
        is_on_network: true,
        payee: Some(PeerId([2; 33])),
        expires_at: Some(NOON + std::time::Duration::from_secs(60)),
        payment_hash: None,
    };
    let bolt11 = Bolt11Payment {
        state: LightningState::ExpectPayment,
        expires_at: DateTime::from(NOON + std::time::Duration::from_secs(3_600)),
        fee_total_sat: Sat(8),
        order_total_sat: Sat(508),
        invoice: "lnbcrt1".into(),
    };
    let judged = |facts: PaymentFacts, way: Bolt11Payment, expect: Expect| {
        let order_made = made(&order(), Payment { bolt11: Some(way), ..Payment::default() });
        order_made.judge(&order(), &expect, &Facts(facts)).unwrap().bolt11
    };
    let expect = Expect { network: Network::Regtest, payee: Some(PeerId([2; 33])), now: Some(NOON) };
    let status = |facts, way| judged(facts, way, expect);
    assert_eq!(status(facts, bolt11.clone()), Status::Usable);
    let wrong = |change: &dyn Fn(&mut PaymentFacts)| {
        let mut facts = facts;
        change(&mut facts);
        status(facts, bolt11.clone())
    };
    assert_eq!(wrong(&|f| f.amount = Some(Msat(508_001))), Status::Unusable(Unusable::WrongAmount));
    assert_eq!(wrong(&|f| f.amount = None), Status::Unusable(Unusable::WrongAmount));
    assert_eq!(wrong(&|f| f.is_on_network = false), Status::Unusable(Unusable::WrongNetwork));
    assert_eq!(wrong(&|f| f.payee = Some(PeerId([3; 33]))), Status::Unusable(Unusable::WrongPayee));
    assert_eq!(wrong(&|f| f.expires_at = Some(NOON)), Status::Unusable(Unusable::Expired));
    let sum = Bolt11Payment { fee_total_sat: Sat(7), ..bolt11.clone() };
    assert_eq!(status(facts, sum), Status::Unusable(Unusable::WrongSum));
    let long = Bolt11Payment { invoice: "l".repeat(2_049), ..bolt11.clone() };
    assert_eq!(status(facts, long), Status::Unusable(Unusable::TooLong));
    let over = Bolt11Payment { expires_at: DateTime::from(NOON), ..bolt11.clone() };
    assert_eq!(status(facts, over.clone()), Status::Unusable(Unusable::Expired));
    assert_eq!(judged(facts, over.clone(), Expect { now: None, ..expect }), Status::Usable, "unless nobody asks");
    let paid = Bolt11Payment { state: LightningState::Paid, ..over };
    assert_eq!(
        status(PaymentFacts { expires_at: Some(NOON), ..facts }, paid),
        Status::Paid,
        "what was paid stays paid"
    );
}

/// A parser that reads no invoice and no offer.
struct Nothing;

impl ReadInvoices for Nothing {
    fn bolt11(&self, _: &str, _: Network) -> Option<PaymentFacts> {
        None
    }

    fn bolt12(&self, _: &str, _: Network) -> Option<PaymentFacts> {
        None
    }
}

/// A parser that reads the same facts from every invoice and offer.
struct Facts(PaymentFacts);

impl ReadInvoices for Facts {
    fn bolt11(&self, _: &str, _: Network) -> Option<PaymentFacts> {
        Some(self.0)
    }

    fn bolt12(&self, _: &str, _: Network) -> Option<PaymentFacts> {
        Some(self.0)
    }
}

proptest! {
    /// L1-001
    #[test]
    fn orders_come_back_as_they_were(
        sats in (1u64.., any::<u64>()), blocks in (any::<u16>(), any::<u16>(), 1u32..), token in option::of(".+"),
        refund in any::<bool>(), announce_channel in any::<bool>(), order_id in ".*",
    ) {
        comes_back(&GetOrder { order_id })?;
        comes_back(&CreateOrder {
            lsp_balance_sat: Sat(sats.0), client_balance_sat: Sat(sats.1), required_channel_confirmations: blocks.0,
            funding_confirms_within_blocks: blocks.1, channel_expiry_blocks: blocks.2, token,
            refund_onchain_address: refund.then(|| ADDRESS.parse::<Address>().unwrap()), announce_channel,
        })?;
    }

    /// L1-001
    #[test]
    fn replies_to_orders_come_back_as_they_were(
        id in id(), name in ".{1,64}", text in ".*", sats in vec(any::<u64>(), 2), millis in 0u64..253_402_300_800_000,
        states in (0..4usize, 0..3usize, 0..3usize), confirmations in any::<u16>(), rate in option::of(any::<u32>()),
        ways in (any::<bool>(), any::<bool>(), any::<bool>()), funded in option::of((any::<[u8; 32]>(), any::<u16>())),
    ) {
        let at = DateTime::from(Timestamp::from_unix_millis(millis));
        let state = [LightningState::ExpectPayment, LightningState::Hold, LightningState::Paid, LightningState::Refunded][states.0];
        let on_chain = [OnchainState::ExpectPayment, OnchainState::Paid, OnchainState::Refunded][states.1];
        let (fee_total_sat, order_total_sat) = (Sat(sats[0]), Sat(sats[1]));
        let confirmation = NonZeroU16::new(confirmations)
            .map_or(Confirmation::AtOnce { above: rate.map(FeeRate) }, Confirmation::After);
        let payment = Payment {
            bolt11: ways.0.then(|| Bolt11Payment { state, expires_at: at.clone(), fee_total_sat, order_total_sat, invoice: text.clone() }),
            bolt12: ways.1.then(|| Bolt12Payment { state, expires_at: at.clone(), fee_total_sat, order_total_sat, offer: text.clone() }),
            onchain: ways.2.then(|| OnchainPayment {
                state: on_chain, expires_at: at.clone(), fee_total_sat, order_total_sat, address: text.clone(), confirmation,
                refund_onchain_address: ways.0.then(|| text.clone()),
            }),
            has_others: false,
        };
        let order = Order {
            order_id: OrderId::try_from(name).unwrap(),
            order_state: [OrderState::Created, OrderState::Completed, OrderState::Failed][states.2],
            channel: funded.map(|(txid, index)| Channel {
                funded_at: at.clone(), funding_outpoint: OutPoint { txid: Txid(txid), index }, expires_at: at.clone(),
            }),
            token: text,
            ..made(&order(), payment)
        };
        answers::<CreateOrder>(&id, &order)?;
        answers::<GetOrder>(&id, &order)?;
        let read: Order = serde_json::from_slice::<Value>(&encode_reply::<GetOrder>(&id, &order))
            .map(|payload| serde_json::from_value(payload["result"].clone()).unwrap()).unwrap();
        prop_assert_eq!(read, order, "other JSON-RPC stacks read the same");
    }
}
