//! Coins, payments and orders.

use lsps_node::ready::{CannotPay, CannotSend, OrderRequest, PaymentKind, PaymentStatus};
use lsps_service::{OrderPolicy, StandardPolicy};
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::wallet::Outcome;

use crate::{Town, anywhere, builder, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coins_are_sent_and_what_cannot_be_is_said() {
    let chain = lsps_node::Chain::new();
    let (node, other) = (start(builder(&chain)).await, start(builder(&chain)).await);
    let to = other.address().expect("an address").into_unchecked();
    assert!(matches!(node.send(&to, 1_000, None), Err(CannotSend::Reserved { spendable_sat: 0, .. })));
    chain.give(&node.address().expect("an address").script_pubkey(), 100_000);
    assert!(matches!(node.send(&to, 100, None), Err(CannotSend::TooSmall { least_sat: 294, .. })));
    assert!(matches!(node.send(&to, 100_000, None), Err(CannotSend::Wallet(_) | CannotSend::Reserved { .. })));
    let elsewhere = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".parse().expect("an address");
    assert!(matches!(node.send(&elsewhere, 1_000, None), Err(CannotSend::WrongNetwork(_))));
    let txid = node.send(&to, 40_000, None).expect("it has the coins");
    assert!(chain.in_mempool(&txid));
    chain.mine(1);
    assert_eq!(other.balances().onchain_sat, 40_000);
    let sent = node.payments().into_iter().next().expect("it is on record");
    assert_eq!(
        (sent.id, sent.kind, sent.status),
        (txid.to_string(), PaymentKind::SentOnchain, PaymentStatus::Succeeded)
    );
    let fee_sat = sent.fee_msat.expect("it is known") / 1_000;
    assert_eq!(node.balances().onchain_sat, 60_000 - fee_sat);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invoice_is_paid_once_and_what_cannot_be_paid_is_said() {
    let town = Town::new().await;
    let wallet = start(town.wallet()).await;
    let invoice = wallet.receive(Msat::from_sat(60_000), "coffee").await.expect("it is sold").invoice;
    let other = town.payer.pay(&invoice, Some(Msat(5))).expect_err("another amount");
    assert_eq!(other.to_string(), "the invoice is over 60000 sat: give no other amount");
    town.pays_invoice(&invoice.to_string()).await;
    assert!(matches!(town.payer.pay(&invoice, None), Err(CannotPay::Twice)));
    let other = wallet.receive(Msat::from_sat(70_000), "tea").await.expect("it is sold").invoice;
    let poor = start(builder(&town.chain)).await;
    let refused = poor.pay(&other, None).expect_err("it has no channel");
    assert_eq!(refused.to_string(), "the channels can send 0 sat, and the invoice is over 70000 sat");
    let failed = poor.payments().into_iter().next().expect("it is on record");
    assert_eq!((failed.id, failed.status), (other.payment_hash().to_string(), PaymentStatus::Failed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_channel_is_ordered_and_paid_on_the_chain() {
    let chain = lsps_node::Chain::new();
    let orders = OrderPolicy { onchain: true, ..OrderPolicy::default() };
    let policy = StandardPolicy { orders: Some(orders), ..StandardPolicy::default() };
    let lsp = start(builder(&chain).sell(policy).listen(anywhere())).await;
    chain.give(&lsp.address().expect("an address").script_pubkey(), 3_000_000);
    let wallet = start(builder(&chain).lsp(lsp.connection_string().expect("it listens"))).await;
    chain.give(&wallet.address().expect("an address").script_pubkey(), 100_000);
    let order = wallet.order(OrderRequest::inbound(400_000)).await.expect("it is sold");
    let mining = tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            chain.mine(1);
        }
    });
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(90), order.wait()).await.expect("it ends");
    mining.abort();
    assert!(matches!(outcome, Outcome::Ended(lsps_client::order::End::Done { .. })), "{outcome:?}");
    assert_eq!(wallet.channels()[0].capacity_sat, 400_000);
}
