//! Chain and payer of the tests. LSP and wallet differ from test to test.

use std::sync::Arc;

use lightning::ln::peer_handler::CustomMessageHandler;
use lightning_invoice::Bolt11Invoice;
use lsps_node::Chain;
use lsps_node::node::Node;
use lsps_node::node::within;
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::scene::{Account, Balances, SPARE_SAT, Script, Seen, Trio, Who, noting, open_channels, start_payer};

use crate::AMOUNT;

/// Chain, payer and observations that all tests start from.
pub struct Stage {
    pub chain: Chain,
    pub payer: Arc<Node>,
    pub seen: Arc<Seen>,
    pub script: Script,
    pub lsp_store: Store,
    pub wallet_store: Store,
}

impl Stage {
    pub async fn set(mut script: Script) -> Self {
        let (chain, seen) = (Chain::new(), Arc::new(Seen::default()));
        script.on_event = noting(&seen, &chain, script.on_event);
        let payer = start_payer(&chain, &script).await.expect("it starts");
        let store = || Arc::new(MemoryStore::new());
        Self { chain, payer, seen, script, lsp_store: store(), wallet_store: store() }
    }

    /// Gives coins to the nodes, connects them, and opens the payer's channels.
    pub async fn opens<L, W>(&self, lsp: &Node<L>, wallet: &Node<W>)
    where
        L: CustomMessageHandler + Send + Sync + 'static,
        W: CustomMessageHandler + Send + Sync + 'static,
    {
        let sizes = &self.script.payer_channels;
        for size in sizes {
            self.chain.give(&self.payer.wallet().script(), size + SPARE_SAT);
        }
        self.chain.give(&lsp.wallet().script(), sizes.iter().sum::<u64>() + SPARE_SAT);
        self.connects(lsp, wallet).await;
        open_channels(&self.chain, &self.payer, lsp, sizes).await.expect("the channels open");
    }

    /// Connects payer and wallet to the LSP, again if the LSP was away.
    pub async fn connects<L, W>(&self, lsp: &Node<L>, wallet: &Node<W>)
    where
        L: CustomMessageHandler + Send + Sync + 'static,
        W: CustomMessageHandler + Send + Sync + 'static,
    {
        let is_connected = |id| self.payer.peer_manager().peer_by_node_id(id).is_some();
        assert!(is_connected(&lsp.node_id()) || self.payer.connect(lsp.node_id(), lsp.address()).await);
        assert!(wallet.connect(lsp.node_id(), lsp.address()).await, "the wallet reaches the LSP");
    }

    /// Waits until the payer can use all its channels.
    pub async fn payer_is_ready(&self) {
        let open = self.script.payer_channels.len();
        let usable = || self.payer.channel_manager().list_usable_channels().len();
        assert!(within(|| usable() == open).await, "the payer can use its channels");
    }

    pub fn pays(&self, invoice: &Bolt11Invoice) {
        self.payer.pay(invoice, AMOUNT.0).expect("a route");
    }

    pub fn trio<'a, L, W>(&'a self, lsp: &'a Node<L>, wallet: &'a Node<W>) -> Trio<'a, L, W>
    where
        L: CustomMessageHandler + Send + Sync + 'static,
        W: CustomMessageHandler + Send + Sync + 'static,
    {
        Trio { chain: &self.chain, payer: &self.payer, lsp, wallet, seen: &self.seen }
    }
}

/// Checks that all balances add up to the millisatoshi: the wallet has the amount less the fee.
pub async fn settles<L, W>(trio: Trio<'_, L, W>, before: Balances, fee: u64) -> Account
where
    L: CustomMessageHandler + Send + Sync + 'static,
    W: CustomMessageHandler + Send + Sync + 'static,
{
    let account = trio.settle(before, fee).await.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((account.paid, account.received, account.kept), (AMOUNT.0, AMOUNT.0 - fee, fee));
    account
}

/// Setup of the LSP or the wallet of this stage; after a restart it uses the same store.
pub fn setup(stage: &Stage, who: Who, config: lightning::util::config::UserConfig) -> lsps_node::node::Setup {
    let store = if who == Who::Lsp { &stage.lsp_store } else { &stage.wallet_store };
    stage.script.setup(who, Arc::clone(store), config, &stage.chain)
}
