//! LSPs that come and go while a node runs.

use lsps_node::node::within;
use lsps_node::ready::{CannotRemoveLsp, Way};
use lsps_transport_ldk::Msat;

use crate::{Town, builder, memory, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_lsp_is_added_while_the_node_runs_and_removed_when_nothing_is_open() {
    let (town, store) = (Town::new().await, memory());
    let wallet = start(builder(&town.chain).store(store.clone())).await;
    let (lsp, address) = (town.lsp.node_id(), town.lsp.connection_string().expect("it listens"));
    assert!(matches!(wallet.lsps().remove(lsp), Err(CannotRemoveLsp::Unknown(_))));
    wallet.lsps().add(&address, None, false).expect("it is stored");
    let invoice = wallet.receive(Msat::from_sat(60_000), "coffee").await.expect("it sells");
    assert!(matches!(wallet.lsps().remove(lsp), Err(CannotRemoveLsp::Invoices { invoices: 1, .. })));
    town.pays_invoice(&invoice.invoice.to_string()).await;
    wallet.received(&invoice.invoice.payment_hash().to_string()).await.expect("its invoice");
    let refused = wallet.lsps().remove(lsp).expect_err("a channel is open");
    assert_eq!(refused.to_string(), format!("1 channel(s) with {lsp} are open: close them first"));
    wallet.stop().await;

    let wallet = start(builder(&town.chain).store(store.clone())).await;
    assert_eq!(wallet.lsps().list().len(), 1, "it is known after a restart");
    assert!(within(|| wallet.channels()[0].is_usable).await, "and connected");
    assert!(matches!(town.pays(&wallet, 100_000).await, Way::NewChannel { .. }));
    for channel in wallet.channels() {
        wallet.close_channel(&channel.id, true).expect("it is open");
    }
    assert!(within(|| wallet.channels().is_empty()).await);
    wallet.lsps().remove(lsp).expect("nothing is open");
    assert!(
        wallet.receive(Msat::from_sat(60_000), "coffee").await.expect_err("no LSP").to_string().contains("add one")
    );
    wallet.stop().await;
    assert!(start(builder(&town.chain).store(store)).await.lsps().list().is_empty());
}
