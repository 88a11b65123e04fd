//! Real nodes on every store.

use std::sync::Arc;
use std::time::Duration;

use lsps_testing::scene::{Scene, Script};
use lsps_transport_ldk::Msat;

use lsps_node::node::within;

use crate::{Kind, directory};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wallet_is_paid_after_it_and_its_lsp_lost_power_over_each_store() {
    for kind in Kind::ALL {
        let directory = directory();
        let store = |name| {
            let data = directory.path().join(name);
            std::fs::create_dir(&data).expect("a directory");
            kind.open(&data).store
        };
        let stores = (Some(store("lsp")), Some(store("wallet")));
        let script = Script { lsp_store: stores.0, wallet_store: stores.1, ..Script::default() };
        let mut scene = Scene::set(script).await.expect("they start");
        let wallet = &scene.wallet.host;
        let jit = wallet.receive_via_jit_channel(AMOUNT, "a store", HOUR, FEE_LIMIT).await.expect("it is sold");
        scene.restart_lsp().await.expect("it starts again");
        scene.restart_wallet().await.expect("it starts again");
        scene.connect().await.expect("they connect");
        let payer = Arc::clone(&scene.payer);
        assert!(within(|| !payer.channel_manager().list_usable_channels().is_empty()).await, "{kind:?}");
        scene.payer.pay(&jit.invoice, AMOUNT.0).expect("it is sent");
        let wallet = Arc::clone(&scene.wallet.node);
        let is_paid =
            || wallet.channel_manager().list_channels().iter().any(|channel| channel.outbound_capacity_msat > 0);
        assert!(within(is_paid).await, "{kind:?}");
        scene.stop().await;
    }
}

const AMOUNT: Msat = Msat(50_000_000);
const FEE_LIMIT: Msat = Msat(5_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
