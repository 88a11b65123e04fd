//! A wallet orders a channel, pays for it and gets it, or gets its money back, on real nodes in this process.

mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, Quote, WayKind};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_testing::scene::{Error, Ledger, Scene, Script, Stock};
use lsps_transport_ldk::Msat;
use lsps_types::Sat;

use story::Story;

/// LSP and wallet as real LDK nodes on an embedded regtest chain: the wallet orders a channel, pays for it, and has it.
/// Ends with 0 only if every promise was kept and every satoshi is where it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-channel", version)]
struct Options {
    /// Pays by hold invoice, over a channel that the wallet has already. The default.
    #[arg(long, conflicts_with_all = ["onchain", "offer"])]
    lightning: bool,
    /// Pays what the offer asks for (BOLT 12), over the same channel.
    #[arg(long, conflicts_with = "onchain")]
    offer: bool,
    /// Pays by a transaction.
    #[arg(long)]
    onchain: bool,
    /// The LSP finds its coins spent when it is to open the channel: the payment goes back.
    #[arg(long)]
    fail_open: bool,
    /// What the LSP is to put into the channel, in satoshis.
    #[arg(long, default_value_t = 500_000)]
    lsp_balance_sat: u64,
    /// What the wallet is to have in it at once, in satoshis.
    #[arg(long, default_value_t = 50_000)]
    client_balance_sat: u64,
    /// The most that the wallet pays for it, in satoshis.
    #[arg(long, default_value_t = 20_000)]
    max_fee_sat: u64,
}

impl Options {
    fn way(&self) -> WayKind {
        match (self.onchain, self.offer) {
            (true, _) => WayKind::Onchain,
            (false, true) => WayKind::Bolt12,
            (false, false) => WayKind::Bolt11,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(play(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("order-channel: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn play(options: &Options) -> Result<(), Error> {
    let (start, story) = (Instant::now(), Arc::new(Story::default()));
    let on_event = Arc::clone(&story);
    let script = Script { on_event: Arc::new(move |who, event| on_event.event(who, event)), ..Script::of_orders() };
    let scene = Scene::set(script).await?;
    let (lsp, client) = (Sat(options.lsp_balance_sat), Sat(options.client_balance_sat));
    let stock = Stock { lsp, client, fee: Sat(options.max_fee_sat), has_channel: !options.onchain };
    scene.stock_for_order(&stock).await?;
    story.begins(&scene, options);
    let before = Ledger::read(&scene)?;

    let limits =
        FeeLimits { max_total_fee: Some(Msat(options.max_fee_sat.saturating_mul(1_000))), max_proportional_fee: None };
    let choose = |quote: &Quote| {
        story.is_quoted(quote, options.way());
        if options.fail_open {
            scene.lsp_spends_its_coins();
        }
        Some(options.way())
    };
    let order = scene.order(stock.lsp, stock.client);
    let handle = scene.wallet.host.order_channel_paying(scene.lsp.node.node_id(), order, limits, choose).await?;
    let end = until_over(&scene, &handle, &story).await?;
    scene.chain.mine(CONFIRMATIONS);

    let fee = handle.snapshot().and_then(|order| Some(order.way(options.way())?.fee)).ok_or("the order is gone")?;
    match &end {
        End::Done { lease, .. } if !options.fail_open => before.check_done(&scene, fee, lease).await?,
        End::Refunded if options.fail_open => before.check_refunded(&scene).await?,
        other => return Err(format!("the order ended otherwise: {other:?}").into()),
    }
    story.ends(&before, &Ledger::read(&scene)?, &end, start.elapsed());
    scene.stop().await;
    Ok(())
}

/// Blocks come while the order is waited for.
async fn until_over(scene: &Scene, handle: &OrderHandle, story: &Story) -> Result<End, Error> {
    let over = async {
        match handle.wait().await {
            Outcome::Failed => {
                story.tells("wallet", "is told that there will be no channel, and waits for its money");
                handle.over().await
            }
            outcome => outcome,
        }
    };
    let outcome = scene.while_blocks_come(over, || story.tells("chain", "has a new block")).await?;
    match outcome {
        Outcome::Ended(end) => Ok(end),
        other => Err(format!("the order does not end: {other:?}").into()),
    }
}

/// What the chain takes for a refund to stay.
const CONFIRMATIONS: u32 = 6;
