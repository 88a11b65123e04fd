//! The save order that most applications use: each monitor at once, the manager later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::io;
use lightning::events::{ClosureReason, Event};
use lightning::util::persist::{CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE, KVStoreSync};
use lsps_node::node::within;
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::scene::{Scene, Script, Who};

use crate::{AMOUNT, PLAIN, buy};

/// A disk with all monitors up to date, and an earlier manager. A process leaves this behind if it is killed between
/// the write of a monitor and the next write of the manager.
struct MonitorsFirst {
    disk: Store,
    manager_is_late: AtomicBool,
}

impl KVStoreSync for MonitorsFirst {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        self.disk.read(primary, secondary, key)
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        let is_manager = primary == CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE && key == MANAGER;
        if is_manager && self.manager_is_late.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.disk.write(primary, secondary, key, value)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Result<(), io::Error> {
        self.disk.remove(primary, secondary, key, lazy)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.disk.list(primary, secondary)
    }
}

const MANAGER: &str = lightning::util::persist::CHANNEL_MANAGER_PERSISTENCE_KEY;

/// LDK does this whatever the LSP does. The nodes of the examples therefore save in another order, and
/// docs/ldk-limits.md describes the risk of this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_X28_an_lsp_that_saves_monitors_before_its_manager_and_is_killed_loses_the_channel_of_the_payer() {
    for is_late in [false, true] {
        let disk: Store = Arc::new(MemoryStore::new());
        let store = Arc::new(MonitorsFirst { disk: Arc::clone(&disk), manager_is_late: AtomicBool::new(false) });
        let closed = Arc::<Mutex<Vec<ClosureReason>>>::default();
        let hears = Arc::clone(&closed);
        let mut scene = Scene::set(Script {
            lsp_store: Some(store.clone()),
            on_event: Arc::new(move |who, event: &Event| {
                if let (Who::Lsp, Event::ChannelClosed { reason, .. }) = (who, event) {
                    hears.lock().expect("nobody panics here").push(reason.clone());
                }
            }),
            ..Script::default()
        })
        .await
        .expect("the nodes start");
        let jit = buy(&scene, PLAIN).await.expect("the LSP sells");
        // The wallet is away, so that the payment waits at the LSP.
        scene.wallet.node.peer_manager().disconnect_all_peers();
        store.manager_is_late.store(is_late, Ordering::SeqCst);
        scene.payer.pay(&jit.invoice, AMOUNT.0).expect("a channel to the LSP");
        // The monitor of the payer's channel is on the disk by then.
        assert!(within(|| scene.seen.facts().intercepted > 0).await, "the payment is at the LSP");
        scene.lsp.node.kill();
        scene.start_lsp_from(Arc::clone(&disk)).await.expect("it starts");
        let of_payer =
            || scene.lsp.node.channel_manager().list_channels_with_counterparty(&scene.payer.node_id()).len();
        if is_late {
            assert!(within(|| of_payer() == 0).await, "the channel of the payer is closed");
            let reasons = || closed.lock().expect("nobody panics here").clone();
            assert!(within(|| reasons().contains(&ClosureReason::OutdatedChannelManager)).await, "{:?}", reasons());
        } else {
            assert_eq!(of_payer(), 1, "it is there as long as the manager is no older");
        }
    }
}
