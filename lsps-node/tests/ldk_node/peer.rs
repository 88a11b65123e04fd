//! An ldk-node on the embedded chain.

use ldk_node::bitcoin::Network;
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::config::DEFAULT_LOG_FILENAME;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::{Builder, Event};
use lightning::ln::peer_handler::CustomMessageHandler;
use lsps_node::Chain;
use lsps_node::node::Node;
use lsps_node::node::within;
use lsps_testing::rpc::Rpc;
use tempfile::TempDir;

/// A complete node of another implementation: with its own store in files, wallet and event loop.
pub struct Peer {
    node: ldk_node::Node,
    rpc: Rpc,
    directory: TempDir,
    role: Role,
}

/// Settings that do not come from the environment of the test.
type Role = Box<dyn Fn() -> Builder + Send + Sync>;

impl Peer {
    /// Starts a node with the settings of `role`.
    pub async fn start(chain: &Chain, role: impl Fn() -> Builder + Send + Sync + 'static) -> Self {
        let rpc = Rpc::serve(chain.clone()).await.expect("a port is free");
        let directory = tempfile::tempdir().expect("there is room for files");
        let role: Role = Box::new(role);
        let node = start(&rpc, &directory, &role);
        Self { node, rpc, directory, role }
    }

    /// Stops the node.
    pub fn leaves(&self) {
        self.node.stop().expect("it runs");
    }

    /// Starts the node again from its files.
    pub fn is_back(&mut self) {
        self.node = start(&self.rpc, &self.directory, &self.role);
    }

    pub fn id(&self) -> PublicKey {
        self.node.node_id()
    }

    pub fn node(&self) -> &ldk_node::Node {
        &self.node
    }

    /// Connects to one of our nodes, and waits until both know.
    pub async fn connect<H: CustomMessageHandler + Send + Sync + 'static>(&self, node: &Node<H>) {
        let connected = || {
            let _ = self.node.connect(node.node_id(), SocketAddress::from(node.address()), false);
            node.peer_manager().peer_by_node_id(&self.id()).is_some()
        };
        assert!(within(connected).await, "{} can be reached", node.name());
    }

    /// Gives the node coins from the faucet, and waits until it knows of them.
    pub async fn is_given(&self, chain: &Chain, amount_sat: u64) {
        let address = self.node.onchain_payment().new_address().expect("it has a wallet");
        chain.give(&address.script_pubkey(), amount_sat);
        assert!(within(|| self.coins_sat() >= amount_sat).await, "it sees its coins");
    }

    /// Confirmed coins in satoshis, after a synchronization with the chain.
    pub fn coins_sat(&self) -> u64 {
        self.node.sync_wallets().expect("the chain is there");
        self.node.list_balances().total_onchain_balance_sats
    }

    /// Balances of the other side and of this node, in millisatoshis, in the channels that the other side funded.
    ///
    /// As with the nodes of the harness, only the side that did not fund a channel knows its balance exactly.
    pub fn shares(&self) -> [u64; 2] {
        let channels = self.node.list_channels();
        let funded_by_them = channels.iter().filter(|channel| !channel.is_outbound);
        funded_by_them.fold([0, 0], |[theirs, ours], channel| {
            let share = channel.inbound_capacity_msat + channel.counterparty_unspendable_punishment_reserve * 1_000;
            [theirs + share, ours + channel.channel_value_sats * 1_000 - share]
        })
    }

    /// Whether the log contains these words. It has details that the events do not have.
    pub fn has_logged(&self, words: &str) -> bool {
        let log = self.directory.path().join(DEFAULT_LOG_FILENAME);
        std::fs::read(log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(words))
    }

    /// Waits for the next event for which `is_it` holds. Earlier events are marked as handled.
    pub async fn tells(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let found = std::cell::RefCell::new(None);
        let look = || {
            while let Some(event) = self.node.next_event() {
                self.node.event_handled().expect("it can write");
                if is_it(&event) {
                    *found.borrow_mut() = Some(event);
                    return true;
                }
            }
            false
        };
        assert!(within(look).await, "it tells {what}");
        found.into_inner().expect("it was found")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.node.stop();
    }
}

fn start(rpc: &Rpc, directory: &TempDir, role: &Role) -> ldk_node::Node {
    let address = rpc.address();
    let mut builder = role();
    builder
        .set_network(Network::Regtest)
        .set_entropy_seed_bytes([77; 64])
        .set_storage_dir_path(directory.path().display().to_string())
        .set_chain_source_bitcoind_rpc(address.ip().to_string(), address.port(), String::new(), String::new());
    let node = builder.build().expect("the settings are complete");
    node.start().expect("the chain is there");
    node
}
