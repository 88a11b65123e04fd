//! A node on a source that is not in its process: nothing of the node waits for it, and its wallet keeps what it has seen.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bitcoin::{BlockHash, FeeRate, Network, ScriptBuf, Transaction, Txid};
use lightning::chain::BestBlock;
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::util::config::UserConfig;
use lsps_node::Chain;
use lsps_node::chain::{BlockFeed, ChainSource, FeeRates, Feed, Mempool, Sighting, SourceError};
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_transport_ldk::ports::Broadcast;

#[tokio::test]
async fn a_source_that_does_not_answer_keeps_nobody_waiting() {
    let world = World::new();
    let node = world.starts([1; 32]).await.expect("it starts");
    world.chain.give(&node.wallet().script(), 500_000);
    assert!(within(|| node.wallet().balance_sat() == 500_000).await);
    world.line.hangs(true);
    assert!(within(|| world.line.is_waited_for()).await);
    // None of these could return while the source does not.
    let tx = node.wallet().pay(&somewhere(), 100_000, RATE).expect("coins");
    let txid = tx.compute_txid();
    assert_eq!(node.chain().broadcast(&[&tx]), [Broadcast::Unanswered]);
    assert_eq!((node.chain().sighting(&txid), node.chain().confirmations(&txid)), (None, 0));
    assert_eq!((node.wallet().balance_sat(), node.chain().fee_rate_within(6)), (500_000, RATE));
    node.save().expect("the store takes it");
    assert!(!world.chain.in_mempool(&txid));

    world.line.hangs(false);
    assert!(within(|| world.chain.in_mempool(&txid)).await, "it was queued");
    assert!(within(|| node.chain().broadcast(&[&tx]) == [Broadcast::Known]).await, "the next time it is answered");
    assert!(within(|| node.chain().sighting(&txid).is_some_and(|sighting| sighting.height.is_none())).await);
    world.chain.mine(3);
    assert!(within(|| node.chain().confirmations(&txid) == 3).await);
    node.stop().await;
}

#[tokio::test]
async fn a_wallet_that_starts_again_knows_its_coins_without_reading_the_chain_again() {
    let world = World::new();
    let node = world.starts([1; 32]).await.expect("it starts");
    world.chain.give(&node.wallet().script(), 500_000);
    assert!(within(|| node.wallet().balance_sat() == 500_000).await);
    node.stop().await;

    world.chain.mine(1_200); // more than the record keeps
    world.line.counts_blocks();
    let node = world.starts([1; 32]).await.expect("it starts again");
    assert!(within(|| node.chain().status().height == world.chain.height()).await);
    assert!(world.line.blocks() <= 1_200, "only what is new is read: {}", world.line.blocks());
    node.stop().await;

    world.line.counts_blocks();
    let node = world.starts([1; 32]).await.expect("and again");
    assert_eq!(node.wallet().balance_sat(), 500_000, "from the record alone");
    world.chain.reorganize(3);
    assert!(within(|| node.chain().status().height == world.chain.height()).await);
    assert_eq!(node.wallet().balance_sat(), 500_000);
    assert!(world.line.blocks() < 60, "the channel manager was saved on the way: {}", world.line.blocks());
    node.stop().await;
}

#[tokio::test]
async fn the_wallet_of_another_seed_is_refused() {
    let world = World::new();
    let node = world.starts([1; 32]).await.expect("it starts");
    assert!(within(|| node.chain().status().is_current()).await);
    node.stop().await;
    assert!(world.starts([2; 32]).await.is_err());
}

struct World {
    chain: Chain,
    line: Arc<Line>,
    store: Store,
}

impl World {
    fn new() -> Self {
        Self { chain: Chain::new(), line: Arc::default(), store: Arc::new(MemoryStore::new()) }
    }

    async fn starts(&self, seed: [u8; 32]) -> bitcoin::io::Result<Arc<Node>> {
        let chain = Arc::new(Remote { chain: self.chain.clone(), line: Arc::clone(&self.line) });
        let setup = Setup { name: "node", seed, store: Arc::clone(&self.store), config: UserConfig::default(), chain };
        let node = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await?;
        node.run(|_| std::future::ready(Ok(())));
        Ok(node)
    }
}

/// The embedded chain at the end of a line.
struct Remote {
    chain: Chain,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    hangs: bool,
    waiting: usize,
    blocks: usize,
}

impl Line {
    fn hangs(&self, hangs: bool) {
        self.state.lock().unwrap().hangs = hangs;
        self.changed.notify_all();
    }

    fn is_waited_for(&self) -> bool {
        self.state.lock().unwrap().waiting > 0
    }

    fn counts_blocks(&self) {
        self.state.lock().unwrap().blocks = 0;
    }

    fn blocks(&self) -> usize {
        self.state.lock().unwrap().blocks
    }

    fn passes(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        state = self.changed.wait_while(state, |state| state.hangs).unwrap();
        state.waiting -= 1;
    }
}

impl ChainSource for Remote {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn birthday(&self) -> Option<u32> {
        Some(100)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        self.line.passes();
        self.chain.genesis()
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        self.line.passes();
        self.chain.tip()
    }

    fn feed(&self) -> Feed<'_> {
        Feed::Blocks(self)
    }

    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        self.line.passes();
        ChainSource::submit(&self.chain, transactions)
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        self.line.passes();
        self.chain.fee_rates()
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        self.line.passes();
        self.chain.sighting(txid)
    }
}

impl BlockFeed for Remote {
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        self.line.passes();
        BlockFeed::hash_at(&self.chain, height)
    }

    fn header(&self, hash: &BlockHash) -> Result<bitcoin::block::Header, SourceError> {
        self.line.passes();
        self.chain.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<bitcoin::Block, SourceError> {
        self.line.passes();
        self.line.state.lock().unwrap().blocks += 1;
        self.chain.block(hash)
    }

    fn mempool(&self, is_known: &dyn Fn(&Txid) -> bool) -> Result<Mempool, SourceError> {
        self.line.passes();
        BlockFeed::mempool(&self.chain, is_known)
    }
}

fn somewhere() -> ScriptBuf {
    ScriptBuf::from_hex("00140000000000000000000000000000000000000001").expect("a script")
}

const RATE: FeeRate = FeeRate::from_sat_per_kwu(253);
