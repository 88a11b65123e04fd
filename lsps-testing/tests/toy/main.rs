//! The worked example of the host guide (`docs/host.md`): a toy node sells a channel to a toy wallet, through the ports.

mod around;
mod node;

use std::sync::Arc;
use std::time::Duration;

use lsps_client::jit_receive::State;
use lsps_host::ports::{NodeEvent, WalletNodeEvent};
use lsps_host::wallet::{Wallet, WalletParts};
use lsps_host::{Lsp, LspParts, TellAgain};
use lsps_service::{BookEntry, Booking, HeldHtlc, Input, PartId, StandardPolicy};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{BlockHeight, Msat, PaymentHash};
use tokio::task::JoinHandle;

use around::{Chain, Disk};
use node::{HEIGHT, Htlc, LSP, Node, WALLET};

/// The processes of the LSP and of the wallet.
struct Processes {
    lsp: Arc<Lsp>,
    wallet: Arc<Wallet>,
    tasks: Vec<JoinHandle<()>>,
}

impl Processes {
    async fn start(nodes: &[Node; 2], disk: &Disk, chain: &Chain) -> Self {
        let [lsps, wallets] = nodes.clone().map(Arc::new);
        let (store, chain, key) = (Arc::new(disk.clone()), Arc::new(chain.clone()), PromiseKey::new([42; 32]));
        let parts = LspParts::new(lsps.clone(), lsps.clone(), store.clone(), chain.clone(), chain, key);
        let started = Lsp::start(parts, StandardPolicy::default()).await.unwrap();
        let (lsp, serving) = (Arc::new(started.lsp), started.runner.run());
        let parts = WalletParts::new(wallets.clone(), wallets.clone(), store, [LSP]);
        let started = Wallet::start(parts).await.unwrap();
        let (wallet, working) = (Arc::new(started.wallet), started.runner.run());
        let tasks = vec![
            tokio::spawn(async move {
                _ = serving.await;
            }),
            tokio::spawn(async move {
                _ = working.await;
            }),
            tokio::spawn(pass_lsp_events(lsps, lsp.clone())),
            tokio::spawn(pass_wallet_events(wallets, wallet.clone())),
        ];
        Self { lsp, wallet, tasks }
    }

    /// Kills both processes. Nodes forget channels that were not signed, and requests to open one.
    async fn die(self, node: &Node) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        let mut world = node.world();
        world.inboxes.clear();
        world.channels.retain(|_, channel| channel.funding.is_some());
        world.wallet_events.retain(|event| !matches!(event, WalletNodeEvent::ChannelRequested(_)));
    }
}

/// Passes the events of the LSP's node to its host, in order. An event is dropped only when it was dealt with.
async fn pass_lsp_events(node: Arc<Node>, lsp: Arc<Lsp>) {
    loop {
        let event = node.world().lsp_events.front().cloned();
        match event {
            None => tokio::time::sleep(A_MOMENT).await,
            Some(event) => match lsp.handle_node_event(event, true).await {
                Ok(_) => drop(node.world().lsp_events.pop_front()),
                Err(TellAgain { is_stopped }) if is_stopped => return,
                Err(_) => {}
            },
        }
    }
}

/// The same for the wallet.
async fn pass_wallet_events(node: Arc<Node>, wallet: Arc<Wallet>) {
    loop {
        let event = node.world().wallet_events.front().cloned();
        match event {
            None => tokio::time::sleep(A_MOMENT).await,
            Some(event) => match wallet.handle_node_event(event).await {
                Ok(_) => drop(node.world().wallet_events.pop_front()),
                Err(TellAgain { is_stopped }) if is_stopped => return,
                Err(_) => {}
            },
        }
    }
}

fn connect(node: &Node) {
    for (node_id, peer) in [(LSP, WALLET), (WALLET, LSP)] {
        node.world().inboxes.entry(node_id).or_default().connects(peer, ());
        node.arrived[&node_id].notify_one();
    }
}

/// A payer sends an HTLC to the SCID in an invoice, and the LSP's node intercepts it.
fn pay(node: &Node, payment_hash: PaymentHash, number: u8, amount_in: Msat) {
    let (mut world, part, cltv_expiry) = (node.world(), PartId([number; 32]), Some(BlockHeight(HEIGHT + 500)));
    let scid = world.invoices[&payment_hash].1.hint.scid;
    world.htlcs.insert(part, Htlc { payment_hash, amount_in, over: None, kept: Msat::ZERO });
    let held = HeldHtlc { part, scid, payment_hash, amount_in, onion_amount: amount_in, cltv_expiry };
    world.lsp_events.push_back(NodeEvent::Input(Input::HtlcHeld(held)));
}

/// Waits for a condition, with one generous bound.
async fn until(is_it: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_it().await {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it happens within a minute");
}

const A_MOMENT: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_toy_node_sells_a_channel_to_a_toy_wallet_that_is_paid_although_both_die_in_between() {
    let (nodes, disk, chain) = (Node::both(), Disk::default(), Chain::default());
    let [node, _] = &nodes;
    let before = Processes::start(&nodes, &disk, &chain).await;
    connect(node);
    let (amount, most, an_hour) = (Msat(50_000_000), Msat(2_000_000), Duration::from_secs(3_600));
    let jit = before.wallet.receive_via_jit_channel(amount, "a first payment", an_hour, most).await.unwrap();
    let hash = before.wallet.purchases()[0].payment_hash();
    // Both parts are held and the LSP asks for the channel, when both processes die.
    [1, 2].into_iter().for_each(|part| pay(node, hash, part, Msat(amount.0 / 2)));
    until(async || before.lsp.inspect(|service| service.known_channels().count()).await == Some(1)).await;
    before.die(node).await;
    assert_eq!(chain.published(), 0);

    let after = Processes::start(&nodes, &disk, &chain).await;
    connect(node);
    let earned = async || {
        let fee = |entry: BookEntry| if let Booking::FeeEarned { fee, .. } = entry.what { Some(fee.0) } else { None };
        after.lsp.book().await.unwrap().into_iter().filter_map(fee).sum::<u64>()
    };
    let is_paid = || matches!(after.wallet.purchases()[0].state(), State::Paid { .. });
    until(async || is_paid() && earned().await == jit.fee.0).await;
    let (received, skimmed) = (Msat(amount.0 - jit.fee.0), jit.fee);
    assert_eq!(*after.wallet.purchases()[0].state(), State::Paid { received, skimmed });
    let world = node.world();
    assert_eq!(world.ended.values().copied().collect::<Vec<_>>(), [true, true], "the payer has both preimages");
    assert_eq!((world.channels.len(), chain.published(), world.htlcs.len()), (1, 1, 0));
}

/// The guide shows the toy's own lines, so that it cannot rot.
#[test]
fn each_line_of_rust_in_the_host_guide_stands_in_the_toy() {
    let toy =
        [include_str!("node.rs"), include_str!("main.rs")].map(|text| text.lines().map(str::trim).collect::<Vec<_>>());
    let guide = include_str!("../../../docs/host.md");
    let shown: Vec<&str> = guide.split("```rust\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(shown.len() > 5, "the guide shows the toy");
    for line in shown.iter().flat_map(|block| block.lines()).map(str::trim).filter(|line| !line.is_empty()) {
        assert!(toy.concat().contains(&line), "{line:?} is not a line of the toy");
    }
}
