//! Stories of ready nodes: a payer, an LSP, and a wallet that begins without channels, on an embedded chain.

mod data;
mod lsps;
mod money;
mod story;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use lsps_node::builder::Builder;
use lsps_node::node::within;
use lsps_node::ready::{Event, Way};
use lsps_node::store::{MemoryStore, Store};
use lsps_node::{Chain, Node};
use lsps_service::StandardPolicy;
use lsps_transport_ldk::Msat;

/// The nodes that others need.
struct Town {
    chain: Chain,
    lsp: Node,
    payer: Node,
}

impl Town {
    /// An LSP with coins, and a payer with a channel to it.
    async fn new() -> Self {
        let chain = Chain::new();
        let lsp = start(builder(&chain).sell(policy()).listen(anywhere())).await;
        chain.give(&lsp.address().expect("an address").script_pubkey(), 3_000_000);
        let payer = start(builder(&chain).lsp(lsp.connection_string().expect("it listens"))).await;
        chain.give(&payer.address().expect("an address").script_pubkey(), 1_200_000);
        let town = Self { chain, lsp, payer };
        let lsp = town.lsp.node_id();
        assert!(
            within(|| town.payer.peers().iter().any(|peer| peer.is_connected)).await,
            "the payer connects by itself"
        );
        town.payer.open_channel(lsp, 1_000_000).expect("it has coins");
        assert!(within(|| !town.chain.mempool().is_empty()).await, "the funding is broadcast");
        town.chain.mine(6);
        let is_open = || town.payer.can_send().0 > 0 && town.lsp.can_receive().0 > 0;
        assert!(within(is_open).await, "the channel opens");
        town
    }

    fn wallet(&self) -> Builder {
        builder(&self.chain).lsp(self.lsp.connection_string().expect("it listens"))
    }

    fn wallet_in(&self, directory: &Path) -> Builder {
        self.wallet().storage(directory)
    }

    /// Has the wallet paid, and returns the way.
    async fn pays(&self, wallet: &Node, sat: u64) -> Way {
        let amount = Msat::from_sat(sat);
        let receiving = wallet.receive(amount, "coffee").await.expect("it can receive");
        self.pays_invoice(&receiving.invoice.to_string()).await;
        let hash = receiving.invoice.payment_hash().to_string();
        let paid = wallet.received(&hash).await.expect("its invoice");
        assert_eq!((paid.amount_msat, paid.fee_msat), (Some(amount.0 - receiving.fee.0), Some(receiving.fee.0)));
        receiving.way
    }

    async fn pays_invoice(&self, invoice: &str) {
        let hash = self.payer.pay(&invoice.parse().expect("an invoice"), None).expect("it is sent");
        let sent = self.payer.paid(&hash).await.expect("it is on record");
        assert_eq!(sent.status, lsps_node::ready::PaymentStatus::Succeeded);
    }
}

fn builder(chain: &Chain) -> Builder {
    Node::builder(Network::Regtest).chain(chain.clone())
}

async fn start(builder: Builder) -> Node {
    builder.start().await.expect("it starts")
}

fn policy() -> StandardPolicy {
    StandardPolicy::default()
}

fn anywhere() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn memory() -> Store {
    Arc::new(MemoryStore::new())
}

/// The next event, if one comes soon.
async fn next(node: &Node) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(30), node.next_event()).await.ok()
}
