//! LSPS1 with the message types of both sides. Each side writes its own envelopes.

use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bitcoin::{Address, FeeRate, OutPoint, Txid};
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};
use lightning_liquidity::lsps0::ser::{LSPSDateTime, LSPSMessage, LSPSRequestId};
use lightning_liquidity::lsps1::msgs as theirs;
use lsps_service::OrderPolicy;
use lsps_types::jsonrpc::{FromLsp, Incoming, InvalidReply};
use lsps_types::lsps1::{
    Bolt11Payment, Channel, Confirmation, CreateOrder, GetInfo, GetOrder, LightningState, OnchainPayment, OnchainState,
    Options, Order, OrderState, Payment,
};
use lsps_types::{DateTime, FeeRate as OurRate, Request, Sat};
use serde::de::DeserializeOwned;

use crate::{MESSAGES, TABLE};
use lsps_testing::table::Outcome::{Around, Cannot, Works};

#[test]
fn its_requests_are_read() {
    use theirs::LSPS1Request as R;
    assert_eq!(asked::<GetInfo>(R::GetInfo(theirs::LSPS1GetInfoRequest {})), GetInfo {});
    let order = theirs::LSPS1CreateOrderRequest { order: their_params(), refund_onchain_address: Some(address()) };
    assert_eq!(asked::<CreateOrder>(R::CreateOrder(order)), our_request());
    let get = theirs::LSPS1GetOrderRequest { order_id: theirs::LSPS1OrderId(ID.into()) };
    assert_eq!(asked::<GetOrder>(R::GetOrder(get)), GetOrder { order_id: ID.into() });
    TABLE.shows(
        MESSAGES,
        "LSPS1: its requests, read by ours",
        Around("it writes `\"token\":null` where it has none (R-07)"),
    );
}

#[test]
fn our_requests_are_read_by_it() {
    let _: theirs::LSPS1GetInfoRequest = read(&GetInfo {});
    let order: theirs::LSPS1CreateOrderRequest = read(&our_request());
    assert_eq!((order.order, order.refund_onchain_address), (their_params(), Some(address())));
    let get: theirs::LSPS1GetOrderRequest = read(&GetOrder { order_id: ID.into() });
    assert_eq!(get.order_id.0, ID);
    TABLE.shows(MESSAGES, "LSPS1: our requests, read by its", Works);
}

#[test]
fn its_replies_are_read() {
    use theirs::LSPS1Response as R;
    let options = answered::<GetInfo>(R::GetInfo(theirs::LSPS1GetInfoResponse { options: their_options() }));
    assert_eq!(options, Ok(our_options()));
    assert_eq!(answered::<CreateOrder>(R::CreateOrder(their_order())), Ok(our_order()));
    let open = theirs::LSPS1ChannelInfo {
        funded_at: their_time(),
        funding_outpoint: OutPoint { txid: Txid::from_byte_array([7; 32]), vout: 1 },
        expires_at: their_time(),
    };
    let done = theirs::LSPS1OrderState::Completed;
    let order = theirs::LSPS1CreateOrderResponse { channel: Some(open), order_state: done, ..their_order() };
    assert_eq!(answered::<GetOrder>(R::GetOrder(order)), Ok(our_open_order()));

    // `lightning-liquidity` may leave out a field that we need: that payment method is lost, and with it the order.
    let mut vague = their_order();
    vague.payment.onchain.as_mut().expect("there").min_onchain_payment_confirmations = None;
    let refused = answered::<CreateOrder>(R::CreateOrder(vague)).expect_err("the table can say so");
    assert!(refused.path.starts_with("payment.onchain"), "{refused:?}");
    let outcome = Around(
        "it writes null for ways to pay, tokens and channels that are not there (R-07), and `min_fee_for_0conf` with any number \
         of confirmations (L1-092, R-15). An order for which its LSP names no `min_onchain_payment_confirmations` (L1-091) is \
         refused with `InvalidReply`",
    );
    TABLE.shows(MESSAGES, "LSPS1: its replies, read by ours", outcome);
}

#[test]
fn our_replies_are_read_by_it() {
    let info: theirs::LSPS1GetInfoResponse = read(&our_options());
    assert_eq!(info.options, their_options());
    let order: theirs::LSPS1CreateOrderResponse = read(&our_order());
    assert_eq!(order.order, theirs::LSPS1OrderParams { token: Some(String::new()), ..their_params() });
    assert_eq!((order.payment, order.order_id), (their_order().payment, their_order().order_id));
    let open: theirs::LSPS1CreateOrderResponse = read(&our_open_order());
    assert_eq!(open.channel.expect("open").funding_outpoint.vout, 1);
    TABLE.shows(MESSAGES, "LSPS1: our replies, read by its", Works);
}

/// A client that polls its order while its payment is held gets a reply that it cannot read.
#[test]
fn it_does_not_know_that_a_payment_can_be_held() {
    let mut order = our_order();
    order.payment.bolt11.as_mut().expect("there").state = LightningState::Hold;
    assert!(!is_read::<theirs::LSPS1CreateOrderResponse>(&order), "the table can say so");
    let outcome = Cannot(
        "it does not know the state, which orders are in from payment to channel (L1-072, L1-079): its client takes the reply for \
         a bad payload, and listens to that LSP no more until it reconnects",
    );
    TABLE.shows(MESSAGES, "LSPS1: a lightning payment on `HOLD`, written by ours", outcome);
}

#[test]
fn case_X25_it_reads_an_order_of_the_default_policy() {
    let policy = OrderPolicy::default();
    let Payment { bolt11, bolt12, onchain, has_others } = our_order().payment;
    let payment = Payment {
        bolt11: bolt11.filter(|_| policy.bolt11),
        bolt12: bolt12.filter(|_| policy.bolt12),
        onchain: onchain.filter(|_| policy.onchain),
        has_others,
    };
    let order = Order { payment, ..our_order() };
    assert!(is_read::<theirs::LSPS1CreateOrderResponse>(&order));
    TABLE.shows(MESSAGES, "LSPS1: an order of the default `OrderPolicy`, written by ours", Works);
}

#[test]
fn it_does_not_read_a_payment_that_has_to_confirm() {
    let mut order = our_order();
    let onchain = order.payment.onchain.as_mut().expect("there");
    onchain.confirmation = Confirmation::After(1.try_into().expect("not 0"));
    assert!(!is_read::<theirs::LSPS1CreateOrderResponse>(&order), "the table can say so");
    let outcome = Cannot("it wants `min_fee_for_0conf`, which has to be left out then (L1-092)");
    TABLE.shows(MESSAGES, "LSPS1: a payment on the chain that has to confirm, written by ours (`OrderPolicy` with `onchain`, `confirmations` above 0)", outcome);
}

/// Reads a request of `lightning-liquidity` as our LSP does.
fn asked<R: Request>(request: theirs::LSPS1Request) -> R {
    let message = theirs::LSPS1Message::Request(LSPSRequestId("an id".into()), request);
    let payload = serde_json::to_vec(&LSPSMessage::LSPS1(message)).expect("it writes");
    Incoming::decode(&payload).expect("a request").params().expect("its parameters")
}

/// Reads a response of `lightning-liquidity` as our client does.
fn answered<R: Request>(response: theirs::LSPS1Response) -> Result<R::Reply, InvalidReply> {
    let message = theirs::LSPS1Message::Response(LSPSRequestId("an id".into()), response);
    let payload = serde_json::to_vec(&LSPSMessage::LSPS1(message)).expect("it writes");
    let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(&payload) else { panic!("no reply") };
    raw.reply::<R>()
}

/// Reads JSON the way `lightning-liquidity` does: into a value, and from the value into its type.
fn read<T: DeserializeOwned>(ours: &impl serde::Serialize) -> T {
    serde_json::from_value(serde_json::to_value(ours).expect("we write")).expect("it reads")
}

fn is_read<T: DeserializeOwned>(ours: &impl serde::Serialize) -> bool {
    serde_json::from_value::<T>(serde_json::to_value(ours).expect("we write")).is_ok()
}

const ID: &str = "bb4b5d0a-8334-49d8-9463-90a6d413af7c";
const TIME: &str = "2026-03-01T12:00:00Z";

fn address() -> Address {
    Address::from_str("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080").expect("an address").assume_checked()
}

fn their_time() -> LSPSDateTime {
    LSPSDateTime::from_str(TIME).expect("a time")
}

/// The same time, in the form in which `lightning-liquidity` writes it.
fn our_time() -> DateTime {
    TIME.parse().expect("a time")
}

fn invoice() -> Bolt11Invoice {
    let key = SecretKey::from_slice(&[5; 32]).expect("a key");
    InvoiceBuilder::new(Currency::Regtest)
        .description("a channel".into())
        .payment_hash(sha256::Hash::hash(b"a channel"))
        .payment_secret(PaymentSecret([6; 32]))
        .duration_since_epoch(std::time::Duration::from_secs(1_772_366_400))
        .min_final_cltv_expiry_delta(80)
        .amount_milli_satoshis(2_009_999_000)
        .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
        .expect("an invoice")
}

fn their_params() -> theirs::LSPS1OrderParams {
    theirs::LSPS1OrderParams {
        lsp_balance_sat: 5_000_000,
        client_balance_sat: 2_000_000,
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        announce_channel: true,
    }
}

fn our_request() -> CreateOrder {
    CreateOrder {
        lsp_balance_sat: Sat(5_000_000),
        client_balance_sat: Sat(2_000_000),
        refund_onchain_address: Some(address().to_string().parse().expect("an address")),
        announce_channel: true,
        ..lsps_testing::an_order()
    }
}

fn their_options() -> theirs::LSPS1Options {
    theirs::LSPS1Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 6,
        supports_zero_channel_reserve: true,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: 0,
        max_initial_client_balance_sat: 100_000_000,
        min_initial_lsp_balance_sat: 20_000,
        max_initial_lsp_balance_sat: 100_000_000,
        min_channel_balance_sat: 50_000,
        max_channel_balance_sat: 100_000_000,
    }
}

fn our_options() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 6,
        supports_zero_channel_reserve: true,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(100_000_000),
        min_initial_lsp_balance_sat: Sat(20_000),
        max_initial_lsp_balance_sat: Sat(100_000_000),
        min_channel_balance_sat: Sat(50_000),
        max_channel_balance_sat: Sat(100_000_000),
    }
}

fn their_order() -> theirs::LSPS1CreateOrderResponse {
    let bolt11 = theirs::LSPS1Bolt11PaymentInfo {
        state: theirs::LSPS1PaymentState::ExpectPayment,
        expires_at: their_time(),
        fee_total_sat: 9_999,
        order_total_sat: 2_009_999,
        invoice: invoice(),
    };
    let onchain = theirs::LSPS1OnchainPaymentInfo {
        state: theirs::LSPS1PaymentState::ExpectPayment,
        expires_at: their_time(),
        fee_total_sat: 9_999,
        order_total_sat: 2_009_999,
        address: address(),
        min_onchain_payment_confirmations: Some(0),
        min_fee_for_0conf: FeeRate::from_sat_per_kwu(253),
        refund_onchain_address: Some(address()),
    };
    theirs::LSPS1CreateOrderResponse {
        order_id: theirs::LSPS1OrderId(ID.into()),
        order: their_params(),
        created_at: their_time(),
        order_state: theirs::LSPS1OrderState::Created,
        payment: theirs::LSPS1PaymentInfo { bolt11: Some(bolt11), bolt12: None, onchain: Some(onchain) },
        channel: None,
    }
}

fn our_order() -> Order {
    let bolt11 = Bolt11Payment {
        state: LightningState::ExpectPayment,
        expires_at: our_time(),
        fee_total_sat: Sat(9_999),
        order_total_sat: Sat(2_009_999),
        invoice: invoice().to_string(),
    };
    let onchain = OnchainPayment {
        state: OnchainState::ExpectPayment,
        expires_at: our_time(),
        fee_total_sat: Sat(9_999),
        order_total_sat: Sat(2_009_999),
        address: address().to_string(),
        confirmation: Confirmation::AtOnce { above: Some(OurRate(253)) },
        refund_onchain_address: Some(address().to_string()),
    };
    Order {
        order_id: ID.to_owned().try_into().expect("a name"),
        lsp_balance_sat: Sat(5_000_000),
        client_balance_sat: Sat(2_000_000),
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: String::new(),
        created_at: our_time(),
        announce_channel: true,
        order_state: OrderState::Created,
        payment: Payment { bolt11: Some(bolt11), onchain: Some(onchain), ..Payment::default() },
        channel: None,
    }
}

fn our_open_order() -> Order {
    let outpoint = format!("{}:1", "07".repeat(32));
    let channel = Channel {
        funded_at: our_time(),
        funding_outpoint: outpoint.parse().expect("an outpoint"),
        expires_at: our_time(),
    };
    Order { channel: Some(channel), order_state: OrderState::Completed, ..our_order() }
}
