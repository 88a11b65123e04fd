//! An order while the LSP or the wallet loses power: it ends with a channel or with a refund, never with both.

use std::sync::Arc;

use bitcoin::secp256k1::Secp256k1;
use bitcoin::{OutPoint, TxOut};
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, PaymentMethod, Quote, Trouble};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_node::node::{passes, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::fault::{Power, PowerCutStore};
use lsps_testing::scene::{Ledger, Scene, Script, Stock, Who};
use lsps_transport_ldk::ports::OnchainWallet as _;
use lsps_types::Sat;

use crate::{AFTER, Stage, before_the_cut, chosen, connect_by_wire};

/// The cuts are before the answer, during the open, and after the funding transaction was published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_paid_by_hold_invoice_survives_a_power_cut() {
    sweep(Play::of(PaymentMethod::Bolt11), vec![1, 12, 26]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_paid_by_offer_survives_a_power_cut() {
    sweep(Play::of(PaymentMethod::Bolt12), vec![12, 26]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_paid_on_the_chain_survives_a_power_cut() {
    sweep(Play::of(PaymentMethod::Onchain), vec![1, 9, 18]).await;
}

/// The cuts are before the payment, during it, and while the channel is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_an_order_survives_a_power_cut_of_its_wallet() {
    sweep(Play::of(PaymentMethod::Bolt11).cutting_the_wallet(), vec![1, 4, 14]).await;
    sweep(Play::of(PaymentMethod::Onchain).cutting_the_wallet(), vec![1, 3, 8]).await;
}

/// The cuts are before the failure, during the refund, and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_O15_a_refund_survives_a_power_cut() {
    sweep(Play::of(PaymentMethod::Bolt11).failing(), vec![6, 12, 16]).await;
    sweep(Play::of(PaymentMethod::Onchain).failing(), vec![4, 8, 12]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_by_hold_invoice_survives_a_power_cut_after_any_write() {
    sweep(Play::of(PaymentMethod::Bolt11), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_by_offer_survives_a_power_cut_after_any_write() {
    sweep(Play::of(PaymentMethod::Bolt12), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_on_the_chain_survives_a_power_cut_after_any_write() {
    sweep(Play::of(PaymentMethod::Onchain), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_by_hold_invoice_survives_a_power_cut_of_its_wallet_after_any_write() {
    sweep(Play::of(PaymentMethod::Bolt11).cutting_the_wallet(), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_an_order_paid_on_the_chain_survives_a_power_cut_of_its_wallet_after_any_write() {
    sweep(Play::of(PaymentMethod::Onchain).cutting_the_wallet(), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_a_refund_over_lightning_survives_a_power_cut_after_any_write() {
    sweep(Play::of(PaymentMethod::Bolt11).failing(), chosen()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn case_O15_a_refund_on_the_chain_survives_a_power_cut_after_any_write() {
    sweep(Play::of(PaymentMethod::Onchain).failing(), chosen()).await;
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
struct Play {
    method: PaymentMethod,
    /// Node whose power is cut.
    who: Who,
    /// Whether the LSP finds its coins spent, before and after the cut.
    fails: bool,
}

impl Play {
    fn of(method: PaymentMethod) -> Self {
        Self { method, who: Who::Lsp, fails: false }
    }

    fn cutting_the_wallet(self) -> Self {
        Self { who: Who::Wallet, ..self }
    }

    fn failing(self) -> Self {
        Self { fails: true, ..self }
    }
}

/// Outcome of one cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The power was cut before the wallet had its offer, or had it on record.
    NotOrdered,
    Opened,
    /// Nothing is paid, or everything is refunded.
    Refunded,
    /// LDK 0.2 signs a channel before it is on disk. The LSP publishes the channel, and a wallet that was cut in
    /// between does not know it, so it is closed. The wallet's balance is in an output to its seed.
    Forgotten,
    /// The scenario ended after fewer writes than this.
    NotCut,
}

async fn sweep(play: Play, cuts: Vec<usize>) {
    let mut fates = vec![];
    for writes in cuts {
        let fate = cut_after(play, writes).await;
        if fate == Fate::NotCut {
            break;
        }
        fates.push(fate);
    }
    let count = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
    let (early, opened, refunded) = (count(Fate::NotOrdered), count(Fate::Opened), count(Fate::Refunded));
    let forgotten = count(Fate::Forgotten);
    println!(
        "{play:?}: {} cuts, {early} before the order, {opened} opened, {refunded} refunded, {forgotten} forgotten",
        fates.len()
    );
    assert!(forgotten <= 1, "only between its signature and the write after: {fates:?}");
    if play.fails {
        assert!(refunded > 0 && opened == 0, "{fates:?}");
    } else {
        assert!(opened + forgotten > 0, "{fates:?}");
    }
}

async fn cut_after(play: Play, writes: usize) -> Fate {
    let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
    let store: Option<Store> = Some(Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() }));
    let (lsp_store, wallet_store) = if play.who == Who::Lsp { (store, None) } else { (None, store) };
    let script = Script { lsp_store, wallet_store, ..Script::of_orders() };
    let mut scene = Stage(Scene::set(script).await.expect("the nodes start"));
    scene.stock_for_order(&STOCK).await.expect("the wallet's channel opens");
    let before = Ledger::read(&scene).expect("nothing is under way");
    wallet_connects(&scene, play.who, &power).await;

    let node = if play.who == Who::Lsp { &scene.lsp.node } else { &scene.wallet.node };
    let broadcaster = Arc::clone(node.broadcaster());
    power.fail_after(writes, move || broadcaster.cut_off(true));
    let mut spent = vec![];
    let Some(Ok(handle)) = before_the_cut(&power, orders(&scene, play, &mut spent)).await else {
        assert!(power.is_off(), "{play:?}, {writes}: it sells");
        return Fate::NotOrdered;
    };
    let is_cut = async {
        while !power.is_off() && handle.snapshot().is_some_and(|order| order.end().is_none()) && passes(5).await {}
    };
    let waited = scene.while_blocks_come(is_cut, || ()).await;
    waited.unwrap_or_else(|why| panic!("{play:?}, {writes}: {why} before the cut"));
    // Writes that follow the end of the order are cut, too.
    for _ in 0..3 {
        scene.chain.mine(2);
        let _ = tokio::time::timeout(AFTER, within(|| power.is_off())).await;
    }
    if !power.is_off() {
        return Fate::NotCut;
    }

    let calm = Power::default();
    let store: Store = Arc::new(PowerCutStore { disk, power: calm.clone() });
    let started = if play.who == Who::Lsp {
        scene.lsp.node.kill();
        scene.start_lsp_from(store).await
    } else {
        scene.wallet.node.kill();
        scene.start_wallet_from(store).await
    };
    started.unwrap_or_else(|why| panic!("{play:?}, {writes}: {why}"));
    if play.fails {
        spent.extend(scene.lsp_spends_its_coins());
    }
    wallet_connects(&scene, play.who, &calm).await;
    let handle = scene.wallet.host.order(handle.key());
    let fate = is_over(&scene, &before, &handle, play, &spent).await;
    fate.unwrap_or_else(|why| panic!("{play:?}, {writes}: {why}; {:?}", handle.snapshot()))
}

async fn orders(
    scene: &Scene,
    play: Play,
    spent: &mut Vec<OutPoint>,
) -> Result<OrderHandle, lsps_transport_ldk::wallet::CannotOrderChannel> {
    // The limit includes the cost of the payment itself.
    let limits = FeeLimits { max_total_fee: Sat(STOCK.fee.0 + 1_000).to_msat(), max_proportional_fee: None };
    let (lsp, order) = (scene.lsp.node.node_id(), scene.order(STOCK.lsp, STOCK.client));
    let choose = |_: &Quote| {
        if play.fails {
            spent.extend(scene.lsp_spends_its_coins());
        }
        Some(play.method)
    };
    scene.wallet.host.order_channel_paying(lsp, order, limits, choose).await
}

/// Waits for the end of the order and checks it: balances that add up, one channel or none, and no coin reserved in
/// vain.
async fn is_over(
    scene: &Scene,
    before: &Ledger,
    handle: &OrderHandle,
    play: Play,
    spent: &[OutPoint],
) -> Result<Fate, lsps_testing::scene::Error> {
    let outcome = scene.while_blocks_come(over_or_unknown(handle), || ()).await?;
    if let (Who::Wallet, Outcome::Stuck(Trouble::NoChannel { .. })) = (play.who, &outcome) {
        return is_paid_out(scene).await;
    }
    for _ in 0..3 {
        scene.chain.mine(2);
        assert!(passes(300).await);
    }
    let (fate, leased) = match &outcome {
        Outcome::Ended(End::Done { lease, .. }) => {
            let fee = handle
                .snapshot()
                .and_then(|order| Some(order.payment_option(play.method)?.fee))
                .ok_or("the order is gone")?;
            before.check_done(scene, fee, lease).await?;
            (Fate::Opened, 1)
        }
        Outcome::Ended(End::Refunded | End::Unpaid(_)) => {
            before.check_refunded(scene).await?;
            (Fate::Refunded, 0)
        }
        // The wallet was cut before it had the order on record, so nothing is paid.
        Outcome::NoRecord if play.who == Who::Wallet => {
            before.check_refunded(scene).await?;
            (Fate::NotOrdered, 0)
        }
        other => return Err(format!("{other:?}").into()),
    };
    let channels = || scene.lsp.node.channel_manager().list_channels();
    let opened = || channels().into_iter().filter(|channel| channel.is_outbound).count();
    if !within(|| opened() == leased).await {
        return Err(format!("{fate:?} with {} channels", opened()).into());
    }
    let coins = scene.lsp.node.wallet();
    coins.release(spent);
    let is_free = || coins.spendable_sat() == coins.balance_sat();
    if within(is_free).await { Ok(fate) } else { Err(format!("{fate:?} and coins are set aside").into()) }
}

/// Waits until the order is over, or until its LSP reports a channel that the wallet does not know.
async fn over_or_unknown(handle: &OrderHandle) -> Outcome {
    loop {
        match handle.wait().await {
            Outcome::Failed => return handle.over().await,
            Outcome::Stuck(trouble) if !matches!(trouble, Trouble::NoChannel { .. }) => drop(passes(50).await),
            outcome => return outcome,
        }
    }
}

/// Checks that the LSP closed the channel with its last commitment transaction, in which the wallet has its balance.
async fn is_paid_out(scene: &Scene) -> Result<Fate, lsps_testing::scene::Error> {
    let scripts = scene.wallet.node.keys().possible_v2_counterparty_closed_balance_spks(&Secp256k1::new());
    let pays = |output: &TxOut| scripts.contains(&output.script_pubkey) && output.value.to_sat() == STOCK.client.0;
    let blocks = || (1..=scene.chain.height()).filter_map(|height| scene.chain.block_at(height));
    for _ in 0..10 {
        scene.chain.mine(1);
        assert!(passes(300).await);
        if blocks().flat_map(|block| block.txdata).flat_map(|tx| tx.output).any(|output| pays(&output)) {
            return Ok(Fate::Forgotten);
        }
    }
    Err("the wallet does not know its channel, and has nothing of it".into())
}

async fn wallet_connects(scene: &Scene, who: Who, power: &Power) {
    connect_by_wire(scene, who, power).await;
    let usable = || scene.wallet.node.channel_manager().list_usable_channels().len();
    assert!(within(|| usable() > 0).await, "the wallet can pay");
}

const STOCK: Stock = Stock { lsp: Sat(500_000), client: Sat(50_000), fee: Sat(20_000), has_channel: true };
