//! The LSP's or the wallet's machine loses power after any write. The payment either succeeds or is failed, and no
//! funded channel is closed.
//!
//! `cargo test -p lsps-node --test power_cut -- --ignored` cuts after every write; `LSPS_CUT=11` after the eleventh.
#![allow(non_snake_case)]

mod diary;
mod orders;
mod saves;
mod usual_order;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use lightning::events::Event;
use lightning::types::payment::PaymentPreimage;
use lightning::util::persist::KVStoreSync as _;
use lsps_node::node::{Node, passes, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_service::Trust;
use lsps_testing::fault::{Power, PowerCutStore, Shifted, Wire};
use lsps_testing::scene::{Balances, Scene, Script, Who};
use lsps_transport_ldk::ports::OnchainWallet as _;
use lsps_transport_ldk::wallet::{CannotReceive, JitInvoice};
use lsps_transport_ldk::{LspsMessageHandler, Msat, PaymentHash};

const AMOUNT: Msat = Msat(40_000_000);
const PREIMAGE: [u8; 32] = [42; 32];

/// One scenario.
#[derive(Clone, Copy, Debug)]
struct Play {
    trust: Trust,
    parts: usize,
    /// Node whose power is cut: the LSP's or the wallet's.
    who: Who,
    /// The wallet fails the first payment, after it opened the channel, and takes the second.
    is_probed: bool,
}

/// Outcome of one cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The power was cut before the wallet had its invoice.
    NotBought,
    Paid,
    Refunded,
    /// The scenario ended after fewer writes than this.
    NotCut,
}

const PLAIN: Play = Play { trust: Trust::LspTrustsClient, parts: 1, who: Who::Lsp, is_probed: false };

/// The cuts are before the sale, during the open, and after the forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_J32_a_payment_survives_a_power_cut() {
    sweep(PLAIN, vec![0, 10, 24]).await;
}

/// The cuts are while the probe comes back and during the payment after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_J15_a_payment_after_a_probe_survives_a_power_cut() {
    sweep(Play { is_probed: true, ..PLAIN }, vec![26, 40]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_J15_a_payment_after_a_probe_survives_a_power_cut_after_any_write() {
    sweep(Play { is_probed: true, ..PLAIN }, chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_J15_a_payment_on_trust_after_a_probe_survives_a_power_cut_after_any_write() {
    sweep(Play { is_probed: true, trust: Trust::ClientTrustsLsp, ..PLAIN }, chosen()).await;
}

/// Cuts `LSPS_CUTS` times for each number of parts, 250 by default, at places that `LSPS_SEED` selects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes to an hour"]
async fn case_X20_payments_in_parts_survive_power_cuts_at_random() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (cuts, mut seed) = (number("LSPS_CUTS", 250), number("LSPS_SEED", 1));
    for (parts, writes) in [(3, 60), (10, 120)] {
        let mut count = BTreeMap::<End, usize>::new();
        for _ in 0..cuts {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let after = usize::try_from((seed >> 33) % writes).expect("few");
            let end =
                diary::of(&format!("{parts} parts, {after} writes"), cut_after(Play { parts, ..PLAIN }, after)).await;
            *count.entry(end).or_default() += 1;
        }
        println!("{parts} parts: {count:?}");
    }
}

/// All numbers of writes, or the one that `LSPS_CUT` names.
fn chosen() -> Vec<usize> {
    match std::env::var("LSPS_CUT") {
        Ok(cut) => vec![cut.parse().expect("a number of writes")],
        Err(_) => (0..200).collect(),
    }
}

async fn sweep(play: Play, cuts: Vec<usize>) {
    let mut ends = vec![];
    for writes in cuts {
        let end = diary::of(&format!("{play:?} {writes}"), cut_after(play, writes)).await;
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
    // A probe that fails is not a lost payment; the payment after it succeeded.
    let went_well = count(End::Paid) + if play.is_probed { count(End::Refunded) } else { 0 };
    assert!(went_well > 0 || ends.len() <= 1, "{ends:?}");
}

/// The application of a wallet with hold invoices: it fails payments until it is told to claim them.
#[derive(Clone, Default)]
struct Application {
    claims: Arc<AtomicBool>,
    wallet: Arc<OnceLock<Weak<Node<LspsMessageHandler>>>>,
}

impl Application {
    fn hears(&self, who: Who, event: &Event) {
        let (Who::Wallet, Event::PaymentClaimable { payment_hash, .. }) = (who, event) else { return };
        let Some(wallet) = self.wallet.get().and_then(Weak::upgrade) else { return };
        if self.claims.load(Ordering::SeqCst) {
            wallet.channel_manager().claim_funds(PaymentPreimage(PREIMAGE));
        } else {
            wallet.channel_manager().fail_htlc_backwards(payment_hash);
        }
    }
}

async fn cut_after(play: Play, writes: usize) -> End {
    let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
    let application = Application::default();
    let (clock, script) = Shifted::script();
    let script = Script { trust: play.trust, payer_channels: vec![100_000; play.parts], ..script };
    let store: Store = Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() });
    let mut script = match play.who {
        Who::Wallet => Script { wallet_store: Some(store), ..script },
        Who::Lsp | Who::Payer => Script { lsp_store: Some(store), ..script },
    };
    let hears = application.clone();
    script.on_event = Arc::new(move |who, event| {
        diary::note(|| format!("{} EVENT {event:?}", who.name()));
        if play.is_probed {
            hears.hears(who, event);
        }
    });
    script.lsp_tape = diary::tape();
    let mut scene = Stage(Scene::set(script).await.expect("the nodes start"));
    assert!(application.wallet.set(Arc::downgrade(&scene.wallet.node)).is_ok());
    let before = scene.balances().expect("nothing is under way");
    connect_by_wire(&scene, play.who, &power).await;

    let cut_node = if play.who == Who::Wallet { &scene.wallet.node } else { &scene.lsp.node };
    let broadcaster = Arc::clone(cut_node.broadcaster());
    power.fail_after(writes, move || broadcaster.cut_off(true));
    let jit = match before_the_cut(&power, buy(&scene, play)).await {
        Some(Ok(jit)) => jit,
        bought => {
            assert!(power.is_off(), "{:?}", bought.map(|bought| bought.err()));
            return End::NotBought;
        }
    };
    if play.who == Who::Wallet && power.is_off() {
        return End::NotBought; // nothing gets out of a machine without power, an invoice neither
    }
    let story = Story { play, writes, before, jit, clock };
    let mut is_sent = story.pays(&scene);
    if play.is_probed {
        assert!(within(|| power.is_off() || is_over(&scene)).await, "{story}: stalls before the cut");
        if !power.is_off() {
            assert!(scene.seen.facts().has_failed, "{story}: the probe comes back");
            scene.seen.forget();
            application.claims.store(true, Ordering::SeqCst);
            is_sent = story.pays(&scene);
        }
    }
    assert!(is_sent || power.is_off(), "{story}: the payer has channels");
    assert!(within(|| power.is_off() || is_over(&scene)).await, "{story}: stalls before the cut");
    // Writes that follow the payment are cut, too.
    let _ = tokio::time::timeout(AFTER, within(|| power.is_off())).await;
    if !power.is_off() {
        return End::NotCut;
    }

    diary::note(|| "TEST the power is off".into());
    let calm = Power::default();
    let store = Arc::new(PowerCutStore { disk, power: calm.clone() });
    let started = if play.who == Who::Wallet {
        scene.wallet.node.kill();
        scene.start_wallet_from(store).await
    } else {
        scene.lsp.node.kill();
        scene.start_lsp_from(store).await
    };
    started.unwrap_or_else(|why| panic!("{story}: {why}"));
    connect_by_wire(&scene, play.who, &calm).await;
    if is_sent && story.ends(&scene).await == End::Paid {
        return End::Paid;
    }
    // The offer is still valid, so the payer tries again.
    diary::note(|| "TEST the payer tries again".into());
    scene.seen.forget();
    application.claims.store(true, Ordering::SeqCst);
    assert!(story.pays(&scene), "{story}: the payer has its channels");
    assert_eq!(story.ends(&scene).await, End::Paid, "{story}: and now it works");
    End::Refunded
}

/// A scene whose nodes stop when it is dropped: those of hundreds of scenes would slow each other down.
struct Stage(Scene);

impl std::ops::Deref for Stage {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.0
    }
}

impl std::ops::DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Scene {
        &mut self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Returns the outcome of a future that may hang once the power is cut; `None` if it hangs.
async fn before_the_cut<T>(power: &Power, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        outcome = what => Some(outcome),
        is_off = async { within(|| power.is_off()).await && passes(300).await } => {
            assert!(is_off, "it neither ends nor loses its power");
            None
        }
    }
}

/// Shortly after a restart the LSP may find the payment too large, until the payer's channels are usable. The purchase
/// is repeated then.
async fn buy(scene: &Scene, play: Play) -> Result<JitInvoice, CannotReceive> {
    let (wallet, hour, limit) = (&scene.wallet.host, Duration::from_secs(3_600), Msat(2_000_000));
    loop {
        let bought = if play.is_probed {
            let hash = PaymentHash(sha256::Hash::hash(&PREIMAGE).to_byte_array());
            wallet.receive_via_jit_channel_for_hash(hash, AMOUNT, "a payment", hour, limit).await
        } else {
            wallet.receive_via_jit_channel(AMOUNT, "a payment", hour, limit).await
        };
        match bought {
            Err(CannotReceive::Buy(why)) if format!("{why:?}").contains("PaymentSizeTooLarge") => {
                assert!(passes(20).await);
            }
            bought => return bought,
        }
    }
}

fn is_over(scene: &Scene) -> bool {
    scene.seen.facts().sent.is_some() || scene.seen.facts().has_failed
}

/// The story of one cut.
struct Story {
    play: Play,
    writes: usize,
    before: Balances,
    jit: JitInvoice,
    clock: Arc<Shifted>,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} cut after {} writes", self.play, self.writes)
    }
}

impl Story {
    /// Whether the payer could send the payment.
    fn pays(&self, scene: &Scene) -> bool {
        let sent = if self.play.parts > 1 {
            scene.payer.pay_split(&self.jit.invoice, AMOUNT.0)
        } else {
            scene.payer.pay(&self.jit.invoice, AMOUNT.0)
        };
        sent.is_ok()
    }

    /// Waits for the end of the payment and checks it: nothing pending, balances that add up, every funded channel
    /// open, and no coin reserved in vain.
    async fn ends(&self, scene: &Scene) -> End {
        // The wallet fails an incomplete payment after half a minute.
        assert!(within(|| is_over(scene)).await, "{self}: the payer hears nothing");
        let is_paid = scene.seen.facts().sent.is_some();
        let kept = if is_paid { self.jit.fee.0 } else { 0 };
        let paid = if is_paid { AMOUNT.0 } else { 0 };
        let fundings = || scene.wallet.node.channel_manager().list_channels().into_iter().filter_map(|c| c.funding_txo);
        let is_known = || fundings().count() == 1 && fundings().all(|f| scene.chain.transaction(&f.txid).is_some());
        assert!(!is_paid || within(is_known).await, "{self}: the funding of the channel that carries it is broadcast");
        let is_gained = || {
            let (after, mining) = (scene.balances().ok()?, scene.mining_msat());
            let totals =
                |all: &Balances| [all.payer, all.wallet, all.lsp].map(|balance| i128::from(balance.total_msat()));
            let (was, is) = (totals(&self.before), totals(&after));
            let [payer, wallet, lsp] = std::array::from_fn(|who| is[who] - was[who]);
            Some([-payer, wallet, lsp + i128::from(mining)])
        };
        let should = [paid, paid - kept, kept].map(i128::from);
        let is_settled = || within(|| is_gained() == Some(should));
        if !is_paid && self.play.trust == Trust::ClientTrustsLsp {
            // A forward that the node seems to have forgotten may have happened. The channel is not abandoned until no
            // report of it can come any more.
            if tokio::time::timeout(Duration::from_secs(10), is_settled()).await.is_err() {
                self.clock.jump(601);
            }
        }
        is_settled().await;
        assert_eq!(
            is_gained(),
            Some(should),
            "{self}: the payer pays, the wallet gets, the LSP keeps; {:?}",
            scene.balances()
        );
        scene.chain.mine(6);
        let lsp = &scene.lsp.node;
        let of_payer = || lsp.channel_manager().list_channels_with_counterparty(&scene.payer.node_id()).len();
        let has_seen = || lsp.channel_manager().current_best_block().height == scene.chain.height();
        assert!(
            within(|| has_seen() && of_payer() == self.play.parts).await,
            "{self}: the payer's channels are closed"
        );
        assert!(within(|| is_gained() == Some(should)).await, "{self}: and that is how it stays: {:?}", is_gained());
        let coins = lsp.wallet();
        assert!(within(|| coins.spendable_sat() == coins.balance_sat()).await, "{self}: coins are set aside");
        assert!(!is_paid || fundings().all(|funding| scene.chain.confirmations(&funding.txid).is_some()), "{self}");
        if is_paid { End::Paid } else { End::Refunded }
    }
}

/// Connects payer and wallet to the LSP by wires only. The wires of the machine in question end with its power.
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
}

/// Time for writes that follow a payment. It only decides how many of them can be cut.
const AFTER: Duration = Duration::from_secs(2);

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
