//! A wallet's first day.

use lsps_node::node::within;
use lsps_node::ready::{Event, PaymentStatus, Way};
use lsps_transport_ldk::Msat;

use crate::{Town, next, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wallet_buys_a_channel_for_its_first_payment_and_uses_it_for_the_second() {
    let town = Town::new().await;
    let wallet = start(town.wallet()).await;
    assert!(matches!(town.pays(&wallet, 60_000).await, Way::NewChannel { on_trust: false, .. }));
    assert_eq!(wallet.channels().len(), 1);
    // The default policy leaves 20 000 sat to receive.
    assert!(within(|| wallet.can_receive() >= Msat::from_sat(10_000)).await, "{:?}", wallet.channels());
    assert_eq!(town.pays(&wallet, 10_000).await, Way::Channels);
    assert_eq!(wallet.channels().len(), 1, "no second channel was bought");
    assert!(matches!(town.pays(&wallet, 100_000).await, Way::NewChannel { .. }), "too much for the first");
    assert_eq!(wallet.channels().len(), 2);
    let history = wallet.payments();
    assert!(history.iter().all(|payment| payment.status == PaymentStatus::Succeeded));
    let received: u64 = history.iter().filter_map(|payment| payment.amount_msat).sum();
    let shown = wallet.balances().lightning_sat;
    assert!((received / 1_000 - 1..=received / 1_000).contains(&shown), "{shown} of {received} msat in two channels");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_is_told_again_after_a_restart_until_it_is_acknowledged() {
    let (town, directory) = (Town::new().await, tempfile::tempdir().expect("a directory"));
    let wallet = start(town.wallet_in(directory.path())).await;
    town.pays(&wallet, 60_000).await;
    let mut told = vec![];
    while told.len() < 2 {
        let event = next(&wallet).await.expect("two events");
        wallet.acknowledge(&event).expect("it is stored");
        told.push(event);
    }
    assert!(told.iter().any(|event| matches!(event, Event::ChannelReady { .. })), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Event::Received { .. })), "{told:?}");
    let (id, phrase) = (wallet.node_id(), wallet.phrase().words());
    wallet.stop().await;

    let wallet = start(town.wallet_in(directory.path())).await;
    assert_eq!((wallet.node_id(), wallet.phrase().words(), wallet.channels().len()), (id, phrase, 1));
    assert!(within(|| wallet.channels()[0].is_usable).await, "its LSP is connected again");
    assert_eq!(town.pays(&wallet, 5_000).await, Way::Channels);
    let event = next(&wallet).await.expect("the payment");
    assert!(matches!(&event, Event::Received { amount_msat: 5_000_000, fee_msat: 0, .. }), "{event:?}");
    wallet.stop().await;

    let wallet = start(town.wallet_in(directory.path())).await;
    assert_eq!(next(&wallet).await, Some(event), "nobody acknowledged it");
    assert_eq!(wallet.payments().len(), 2, "the history is there too");
    wallet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payer_may_choose_the_amount() {
    let town = Town::new().await;
    let wallet = start(town.wallet()).await;
    let receiving = wallet.receive_variable(Msat::from_sat(100_000), "a gift").await.expect("it is sold");
    let hash = town.payer.pay(&receiving.invoice, Some(Msat::from_sat(80_000))).expect("it is sent");
    assert_eq!(town.payer.paid(&hash).await.expect("on record").status, PaymentStatus::Succeeded);
    let received = wallet.received(&hash).await.expect("its invoice");
    assert_eq!(received.amount_msat.zip(received.fee_msat).map(|(net, fee)| net + fee), Some(80_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn why_nothing_can_be_received_is_said() {
    let town = Town::new().await;
    let alone = start(crate::builder(&town.chain)).await;
    let text = |error: lsps_node::ready::CannotReceive| error.to_string();
    let refused = alone.receive(Msat::from_sat(50_000), "coffee").await.expect_err("it has neither channel nor LSP");
    let wanted = "the channels can take 0 sat, asked for 50000 sat, and no LSP is known to buy a channel from: add one";
    assert_eq!(text(refused), wanted);
    assert!(text(alone.receive(Msat(0), "").await.expect_err("nothing")).contains("at least 1 sat"));
    let long = "x".repeat(640);
    let refused = alone.receive(Msat(1_000), &long).await.expect_err("too long");
    assert_eq!(text(refused), "the description has 640 bytes, and at most 639 fit into an invoice");
    let limit = lsps_node::builder::FeeLimit { amount: Msat::from_sat(10), share: lsps_transport_ldk::Ppm(1) };
    let frugal = start(town.wallet().opening_fee_at_most(limit)).await;
    let refused = text(frugal.receive(Msat::from_sat(50_000), "coffee").await.expect_err("the LSP wants more"));
    assert!(refused.contains("no channel was bought") && refused.contains("limits"), "{refused}");
}
