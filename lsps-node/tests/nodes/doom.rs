//! The LSP loses its power at a chosen moment.

use std::sync::{Arc, OnceLock, Weak};

use lightning::events::Event;
use lsps_node::node::{Node, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::fault::{Power, PowerCutStore};
use lsps_testing::scene::{Scene, Script, Who};
use lsps_transport_ldk::LspsMessageHandler;

/// Cuts the power of the LSP when its node reports a chosen event.
pub struct Doom {
    disk: Store,
    power: Power,
    node: Arc<OnceLock<Weak<Node<LspsMessageHandler>>>>,
}

impl Doom {
    pub fn at(is_it: fn(&Event) -> bool, script: Script) -> (Self, Script) {
        let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
        let node = Arc::new(OnceLock::<Weak<Node<LspsMessageHandler>>>::new());
        let (of, at) = (power.clone(), Arc::clone(&node));
        let on_event: lsps_testing::scene::OnEvent = Arc::new(move |who, event| {
            let is_it = who == Who::Lsp && is_it(event) && !of.is_off();
            if let Some(node) = at.get().and_then(Weak::upgrade).filter(|_| is_it) {
                of.cut();
                node.kill();
            }
        });
        let store: Store = Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() });
        (Self { disk, power, node }, Script { lsp_store: Some(store), on_event, ..script })
    }

    /// From now on the crash may happen.
    pub fn awaits(&self, scene: &Scene) {
        assert!(self.node.set(Arc::downgrade(&scene.lsp.node)).is_ok());
    }

    /// Waits for the power cut, and starts the LSP again.
    pub async fn passes(self, scene: &mut Scene) {
        assert!(within(|| self.power.is_off()).await, "it comes so far");
        scene.start_lsp_from(self.disk).await.unwrap();
        scene.connect().await.unwrap();
    }
}
