//! An order of a channel while the LSP loses its power: it ends as channel or with the money back, never as both.

use std::sync::Arc;
use std::time::Duration;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, WayKind};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_examples::Scene;
use lsps_examples::fault::{Power, PowerCutStore};
use lsps_examples::node::{passes, within};
use lsps_examples::scene::{Ledger, Script, Stock, Who};
use lsps_examples::store::{MemoryStore, Store};
use lsps_transport_ldk::onchain::OnchainWallet as _;
use lsps_types::Sat;

use crate::{chosen, connect_by_wire};

/// Before the answer, while it is opened, after it was published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_paid_by_hold_invoice_survives_a_power_cut() {
    sweep(WayKind::Bolt11, vec![1, 12, 26]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_paid_on_the_chain_survives_a_power_cut() {
    sweep(WayKind::Onchain, vec![1, 9, 18]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_by_hold_invoice_survives_a_power_cut_after_any_write() {
    sweep(WayKind::Bolt11, chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_on_the_chain_survives_a_power_cut_after_any_write() {
    sweep(WayKind::Onchain, chosen()).await;
}

/// How one cut ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Before the wallet had its offer.
    NotOrdered,
    Opened,
    /// Nothing is paid, or all of it is back.
    Refunded,
    /// There were fewer writes.
    NotCut,
}

async fn sweep(way: WayKind, cuts: Vec<usize>) {
    let mut fates = vec![];
    for writes in cuts {
        let fate = cut_after(way, writes).await;
        if fate == Fate::NotCut {
            break;
        }
        fates.push(fate);
    }
    let count = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
    let (early, opened, refunded) = (count(Fate::NotOrdered), count(Fate::Opened), count(Fate::Refunded));
    println!("{way:?}: {} cuts, {early} before the order, {opened} opened, {refunded} refunded", fates.len());
    assert!(opened > 0, "{fates:?}");
}

async fn cut_after(way: WayKind, writes: usize) -> Fate {
    let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
    let store: Store = Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() });
    let mut scene =
        Scene::set(Script { lsp_store: Some(store), ..Script::of_orders() }).await.expect("the nodes start");
    scene.stock_for_order(&STOCK).await.expect("the wallet's channel opens");
    let before = Ledger::read(&scene).expect("nothing is under way");
    wallet_connects(&scene, &power).await;

    let broadcaster = Arc::clone(scene.lsp.node.broadcaster());
    power.fail_after(writes, move || broadcaster.cut_off(true));
    let Ok(Ok(handle)) = tokio::time::timeout(Duration::from_secs(3), orders(&scene, way)).await else {
        assert!(power.is_off(), "{way:?}, {writes}: it sells");
        return Fate::NotOrdered;
    };
    let is_cut = async {
        while !power.is_off() && handle.snapshot().is_some_and(|order| order.end().is_none()) && passes(5).await {}
    };
    scene
        .while_blocks_come(is_cut, || ())
        .await
        .unwrap_or_else(|why| panic!("{way:?}, {writes}: {why} before the cut"));
    // What follows is written too.
    for _ in 0..3 {
        scene.chain.mine(2);
        let _ = tokio::time::timeout(Duration::from_millis(300), within(|| power.is_off())).await;
    }
    if !power.is_off() {
        return Fate::NotCut;
    }

    scene.lsp.node.kill();
    let calm = Power::default();
    let started = scene.start_lsp_from(Arc::new(PowerCutStore { disk, power: calm.clone() })).await;
    started.unwrap_or_else(|why| panic!("{way:?}, {writes}: {why}"));
    wallet_connects(&scene, &calm).await;
    let fate = is_over(&scene, &before, &handle, way).await;
    fate.unwrap_or_else(|why| panic!("{way:?}, {writes}: {why}; {:?}", handle.snapshot()))
}

async fn orders(scene: &Scene, way: WayKind) -> Result<OrderHandle, lsps_transport_ldk::wallet::CannotOrderChannel> {
    let limits = FeeLimits { max_total_fee: STOCK.fee.to_msat(), max_proportional_fee: None };
    let (lsp, order) = (scene.lsp.node.node_id(), scene.order(STOCK.lsp, STOCK.client));
    scene.wallet.host.order_channel_paying(lsp, order, limits, |_| Some(way)).await
}

/// Waits for it: the ledger in order, one channel or none, no coin set aside for nothing.
async fn is_over(
    scene: &Scene,
    before: &Ledger,
    handle: &OrderHandle,
    way: WayKind,
) -> Result<Fate, lsps_examples::scene::Error> {
    let outcome = scene.while_blocks_come(handle.over(), || ()).await?;
    for _ in 0..3 {
        scene.chain.mine(2);
        assert!(passes(300).await);
    }
    let (fate, leased) = match &outcome {
        Outcome::Ended(End::Done { lease, .. }) => {
            let fee = handle.snapshot().and_then(|order| Some(order.way(way)?.fee)).ok_or("the order is gone")?;
            before.check_done(scene, fee, lease).await?;
            (Fate::Opened, 1)
        }
        Outcome::Ended(End::Refunded | End::Unpaid(_)) => {
            before.check_refunded(scene).await?;
            (Fate::Refunded, 0)
        }
        other => return Err(format!("{other:?}").into()),
    };
    let channels = || scene.lsp.node.channel_manager().list_channels();
    let opened = || channels().into_iter().filter(|channel| channel.is_outbound).count();
    if !within(|| opened() == leased).await {
        return Err(format!("{fate:?} with {} channels", opened()).into());
    }
    let coins = scene.lsp.node.wallet();
    let is_free = || coins.spendable_sat() == coins.balance_sat();
    if within(is_free).await { Ok(fate) } else { Err(format!("{fate:?} and coins are set aside").into()) }
}

async fn wallet_connects(scene: &Scene, power: &Power) {
    connect_by_wire(scene, Who::Lsp, power).await;
    let usable = || scene.wallet.node.channel_manager().list_usable_channels().len();
    assert!(within(|| usable() > 0).await, "the wallet can pay");
}

const STOCK: Stock = Stock { lsp: Sat(500_000), client: Sat(50_000), fee: Sat(20_000), has_channel: true };
