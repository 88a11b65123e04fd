//! The LSP's machine, or the wallet's, loses power after any write: paid or refunded, nothing in between, and no funded channel closed.
//!
//! `cargo test -p lsps-examples --test power_cut -- --ignored` cuts after every write; `LSPS_CUT=11` after the eleventh.
#![allow(non_snake_case)]

use std::sync::Arc;
use std::time::Duration;

use lightning::util::persist::KVStoreSync as _;
use lsps_examples::Scene;
use lsps_examples::fault::{Power, PowerCutStore, Wire};
use lsps_examples::node::within;
use lsps_examples::scene::{Balances, Script, Who};
use lsps_examples::store::{MemoryStore, Store};
use lsps_service::Trust;
use lsps_transport_ldk::Msat;

const AMOUNT: Msat = Msat(40_000_000);

/// What is played.
#[derive(Clone, Copy, Debug)]
struct Play {
    trust: Trust,
    parts: usize,
    /// Whose power it is: the LSP's or the wallet's.
    who: Who,
}

/// How one cut ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Before the wallet had its invoice.
    NotBought,
    Paid,
    Refunded,
    /// There were fewer writes.
    NotCut,
}

const PLAIN: Play = Play { trust: Trust::LspTrustsClient, parts: 1, who: Who::Lsp };

/// Before the sale, in the middle of the open, after the forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_J32_a_payment_survives_a_power_cut() {
    sweep(PLAIN, vec![0, 10, 24]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_J32_a_payment_survives_a_power_cut_after_any_write() {
    sweep(PLAIN, chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_J32_a_payment_in_parts_survives_a_power_cut_after_any_write() {
    sweep(Play { parts: 3, ..PLAIN }, chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_J32_a_payment_on_trust_survives_a_power_cut_after_any_write() {
    sweep(Play { trust: Trust::ClientTrustsLsp, ..PLAIN }, chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_W10_a_payment_survives_a_power_cut_of_the_wallet_after_any_write() {
    sweep(Play { who: Who::Wallet, ..PLAIN }, chosen()).await;
}

/// After every write, or after the one that was asked for.
fn chosen() -> Vec<usize> {
    match std::env::var("LSPS_CUT") {
        Ok(cut) => vec![cut.parse().expect("a number of writes")],
        Err(_) => (0..200).collect(),
    }
}

async fn sweep(play: Play, cuts: Vec<usize>) {
    let mut ends = vec![];
    for writes in cuts {
        let end = cut_after(play, writes).await;
        if end == End::NotCut {
            break;
        }
        ends.push((writes, end));
    }
    let count = |wanted| ends.iter().filter(|(_, end)| *end == wanted).count();
    println!(
        "{play:?}: {} cuts, {} before the sale, {} paid, {} refunded",
        ends.len(),
        count(End::NotBought),
        count(End::Paid),
        count(End::Refunded)
    );
    assert!(count(End::Paid) > 0, "{ends:?}");
}

async fn cut_after(play: Play, writes: usize) -> End {
    let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
    let script = Script { trust: play.trust, payer_channels: vec![100_000; play.parts], ..Script::default() };
    let store: Store = Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() });
    let script = match play.who {
        Who::Wallet => Script { wallet_store: Some(store), ..script },
        Who::Lsp | Who::Payer => Script { lsp_store: Some(store), ..script },
    };
    let mut scene = Scene::set(script).await.expect("the nodes start");
    let before = scene.balances().expect("nothing is under way");
    connect_by_wire(&scene, play.who, &power).await;

    let cut_node = if play.who == Who::Wallet { &scene.wallet.node } else { &scene.lsp.node };
    let broadcaster = Arc::clone(cut_node.broadcaster());
    power.fail_after(writes, move || broadcaster.cut_off(true));
    let hour = Duration::from_secs(3_600);
    let bought = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", hour, Msat(2_000_000));
    let bought = tokio::time::timeout(Duration::from_secs(3), bought).await;
    let Ok(Ok(jit)) = bought else {
        assert!(power.is_off(), "{:?}", bought.map(|bought| bought.err()));
        return End::NotBought;
    };
    if play.who == Who::Wallet && power.is_off() {
        return End::NotBought; // nothing gets out of a machine without power, an invoice neither
    }
    if play.parts > 1 {
        scene.payer.pay_split(&jit.invoice, AMOUNT.0).expect("the payer has channels");
    } else {
        scene.payer.pay(&jit.invoice, AMOUNT.0).expect("the payer has a channel");
    }
    let is_over = |scene: &Scene| scene.seen.facts().sent.is_some() || scene.seen.facts().has_failed;
    assert!(within(|| power.is_off() || is_over(&scene)).await, "{play:?} stalls before the cut at {writes}");
    // What follows a payment is written too.
    let _ = tokio::time::timeout(Duration::from_millis(300), within(|| power.is_off())).await;
    if !power.is_off() {
        return End::NotCut;
    }

    let calm = Power::default();
    let store = Arc::new(PowerCutStore { disk, power: calm.clone() });
    let started = if play.who == Who::Wallet {
        scene.wallet.node.kill();
        scene.start_wallet_from(store).await
    } else {
        scene.lsp.node.kill();
        scene.start_lsp_from(store).await
    };
    started.unwrap_or_else(|why| panic!("{play:?} cut at {writes}: {why}"));
    connect_by_wire(&scene, play.who, &calm).await;
    for _ in 0..60 {
        if is_over(&scene) {
            break;
        }
        let _ = tokio::time::timeout(Duration::from_millis(250), within(|| is_over(&scene))).await;
    }
    at_rest(&mut scene, before, play, writes).await
}

/// Everything resolved, the ledger in order, every funded channel alive.
async fn at_rest(scene: &mut Scene, before: Balances, play: Play, writes: usize) -> End {
    let what = format!("{play:?} cut after {writes} writes");
    let facts = scene.seen.facts();
    assert!(facts.sent.is_some() || facts.has_failed, "{what}: the payer hears nothing");
    assert!(within(|| scene.balances().is_ok()).await, "{what}: {:?}", scene.balances().err());
    scene.chain.mine(6);
    let lsp = &scene.lsp.node;
    let alive = || lsp.channel_manager().list_channels_with_counterparty(&scene.payer.node_id()).len() == play.parts;
    assert!(within(alive).await, "{what}: the payer's channels are closed");
    let after = scene.balances().expect("nothing is under way");
    let [lost, gained] =
        [before.payer.total_msat() - after.payer.total_msat(), after.wallet.total_msat() - before.wallet.total_msat()];
    if facts.sent.is_some() {
        let kept = lost - gained;
        assert_eq!(lost, AMOUNT.0, "{what}: the payer pays once");
        assert!(gained > 0 && kept > 0, "{what}: {gained} msat arrived, {kept} were kept");
        let fundings = || scene.wallet.node.channel_manager().list_channels().into_iter().filter_map(|c| c.funding_txo);
        let is_known = || fundings().count() == 1 && fundings().all(|f| scene.chain.transaction(&f.txid).is_some());
        assert!(within(is_known).await, "{what}: the funding of the channel that carries it is broadcast");
        scene.chain.mine(1);
        assert!(fundings().all(|funding| scene.chain.confirmations(&funding.txid).is_some()), "{what}: and confirmed");
        End::Paid
    } else {
        assert_eq!((lost, gained), (0, 0), "{what}: a refund is whole");
        End::Refunded
    }
}

/// Payer and wallet reach the LSP only through wires; those of the machine at hand end with its power.
async fn connect_by_wire(scene: &Scene, who: Who, power: &Power) {
    let lsp = &scene.lsp.node;
    let wire = Wire::to(lsp.address(), power.clone()).await.expect("it listens");
    let of_payer = if who == Who::Wallet { Power::default() } else { power.clone() };
    let payers = Wire::to(lsp.address(), of_payer).await.expect("it listens");
    scene.payer.peer_manager().disconnect_all_peers();
    scene.wallet.node.peer_manager().disconnect_all_peers();
    assert!(within(|| lsp.peer_manager().list_peers().is_empty()).await);
    assert!(scene.payer.connect(lsp.node_id(), payers.address()).await, "the payer reaches the LSP");
    assert!(scene.wallet.node.connect(lsp.node_id(), wire.address()).await, "the wallet reaches the LSP");
    let usable = || scene.payer.channel_manager().list_usable_channels().len();
    let all = scene.payer.channel_manager().list_channels().len();
    let inbound = || lsp.channel_manager().list_usable_channels().len();
    assert!(within(|| usable() == all && inbound() >= all).await, "the payer can use its channels");
    tokio::time::sleep(Duration::from_millis(600)).await; // the LSP's view of its liquidity is half a second old
}

#[test]
fn a_store_without_power_keeps_what_it_had() {
    let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
    let store = PowerCutStore { disk: Arc::clone(&disk), power: power.clone() };
    store.write("a", "", "one", vec![1]).expect("it is written");
    let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&told);
    power.fail_after(1, move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    store.write("a", "", "two", vec![2]).expect("the last one");
    assert!(!power.is_off());
    store.write("a", "", "three", vec![3]).expect("it seems so");
    store.remove("a", "", "one", false).expect("it seems so");
    assert!(power.is_off());
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 1);
    let mut left = disk.list("a", "").expect("the disk is there");
    left.sort();
    assert_eq!(left, ["one", "two"]);
}
