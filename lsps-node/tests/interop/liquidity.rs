//! `lightning-liquidity` as the message handler of a node, and the tasks that drive it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bitcoin::io;
use lightning::sign::KeysManager;
use lightning_liquidity::events::LiquidityEvent;
use lightning_liquidity::utils::time::{DefaultTimeProvider, TimeProvider};
use lightning_liquidity::{LiquidityClientConfig, LiquidityManager, LiquidityServiceConfig};
use lsps_node::node::broadcast::Broadcaster;
use lsps_node::node::types::{ChannelManager, TxFilter};
use lsps_node::node::{Core, Node, Setup};
use lsps_node::store::{AsyncStore, Store};
use tokio::task::JoinHandle;

/// The manager of `lightning-liquidity` on a node of ours.
pub type Liquidity = LiquidityManager<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<ChannelManager>,
    TxFilter,
    AsyncStore,
    Arc<Later>,
    Arc<Broadcaster>,
>;

/// Clock of `lightning-liquidity`, which the test can set ahead.
#[derive(Default)]
pub struct Later(AtomicU64);

impl Later {
    /// Sets the clock ahead by this duration.
    pub fn jump(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl TimeProvider for Later {
    fn duration_since_epoch(&self) -> Duration {
        TimeProvider::duration_since_epoch(&DefaultTimeProvider) + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// Builds a node that uses `lightning-liquidity`.
pub async fn build(
    setup: Setup,
    service: Option<LiquidityServiceConfig>,
    client: Option<LiquidityClientConfig>,
    clock: Arc<Later>,
) -> (Arc<Node<Liquidity>>, Arc<Liquidity>) {
    let store: Store = Arc::clone(&setup.store);
    let made = Arc::new(std::sync::OnceLock::new());
    let m = Arc::clone(&made);
    let messages = move |core: Core| async move {
        let Core { manager, keys, broadcaster } = core;
        let store = lightning::util::persist::KVStoreSyncWrapper(store);
        let signer = Arc::clone(&keys);
        let theirs = Liquidity::new_with_custom_time_provider(
            keys,
            signer,
            manager,
            broadcaster,
            None,
            None,
            store,
            service,
            client,
            clock,
        );
        let theirs = Arc::new(theirs.await?);
        assert!(m.set(Arc::clone(&theirs)).is_ok());
        io::Result::Ok(theirs)
    };
    let node = Node::build_with(setup, messages).await.expect("it starts");
    (node, Arc::clone(made.get().expect("it was made")))
}

/// Two tasks: one sends and stores, the other hands events to `handler`. They end when this value is dropped.
pub struct Running(Vec<JoinHandle<()>>);

impl Running {
    pub fn start<F, Fut>(node: &Arc<Node<Liquidity>>, theirs: &Arc<Liquidity>, handler: F) -> Self
    where
        F: Fn(Arc<Node<Liquidity>>, LiquidityEvent) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let (weak, from) = (Arc::downgrade(node), Arc::clone(theirs));
        let events = tokio::spawn(async move {
            loop {
                let event = from.next_event_async().await;
                let Some(node) = Weak::upgrade(&weak) else { return };
                handler(node, event).await;
            }
        });
        let (weak, from) = (Arc::downgrade(node), Arc::clone(theirs));
        let messages = tokio::spawn(async move {
            while let Some(node) = weak.upgrade() {
                node.peer_manager().process_events();
                if let Err(why) = from.persist().await {
                    eprintln!("{}: {why}", node.name());
                }
                drop(node);
                from.get_pending_msgs_or_needs_persist_future().await;
            }
        });
        Self(vec![events, messages])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
