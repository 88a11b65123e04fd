//! A store that fails for a while.

use std::sync::Arc;

use lsps_node::node::within;
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::fault::SickStore;
use lsps_testing::scene::Script;

use crate::{AMOUNT, FEE_LIMIT, HOUR, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_H01_a_part_that_cannot_be_recorded_is_told_again_until_it_can() {
    let (store, script) = sick();
    let world = World::playing(script).await;
    let records = store.inner.list("lsps", "service").unwrap();
    store.falls_ill("lsps");
    world.pays();
    let told = || world.scene.seen.facts().intercepted;
    assert!(within(|| told() >= 3 && store.refused() >= 3).await, "the event is not acknowledged");
    assert_eq!((world.channels(), world.scene.chain.mempool().len()), (0, 0), "nothing is done about it");
    assert!(world.scene.wallet.node.channel_manager().list_channels().is_empty());
    assert!(!world.scene.seen.facts().has_failed, "nor is it failed");
    assert_eq!(store.inner.list("lsps", "service").unwrap(), records);
    store.recovers();
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_H01_an_offer_that_cannot_be_recorded_is_not_sold_until_it_can() {
    let (store, script) = sick();
    let world = World::playing(script).await;
    store.falls_ill("lsps");
    let wallet = Arc::clone(&world.scene.wallet.host);
    let buys = tokio::spawn(async move { wallet.receive_via_jit_channel(AMOUNT, "another", HOUR, FEE_LIMIT).await });
    assert!(within(|| store.refused() >= 2).await, "it is tried again");
    assert!(!buys.is_finished(), "the wallet hears nothing meanwhile");
    store.recovers();
    let jit = buys.await.unwrap().expect("it is sold after all");
    World { jit, ..world }.pays_and_is_settled().await;
}

impl World {
    async fn pays_and_is_settled(&self) {
        self.pays();
        self.is_settled().await;
    }
}

fn sick() -> (Arc<SickStore>, Script) {
    let store = Arc::new(SickStore::new(Arc::new(MemoryStore::new())));
    let lsp_store: Store = store.clone();
    (store, Script { lsp_store: Some(lsp_store), ..Script::default() })
}
