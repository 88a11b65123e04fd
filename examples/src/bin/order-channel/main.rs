//! A wallet orders a channel, pays for it and gets it, or gets its money back, on real nodes in this process.

mod account;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::{Address, Network};
use clap::Parser;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, Polling, Quote, WayKind};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_examples::Scene;
use lsps_examples::scene::{Error, Script, open_channels};
use lsps_service::{AmountRule, OrderPolicy, StandardPolicy};
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::onchain::OnchainWallet as _;
use lsps_types::Sat;
use lsps_types::lsps1::CreateOrder;

use account::Ledger;
use story::Story;

/// LSP and wallet as real LDK nodes on an embedded regtest chain: the wallet orders a channel, pays for it, and has it.
/// Ends with 0 only if every promise was kept and every satoshi is where it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-channel", version)]
struct Options {
    /// Pays by hold invoice, over a channel that the wallet has already. The default.
    #[arg(long, conflicts_with = "onchain")]
    lightning: bool,
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
        if self.onchain { WayKind::Onchain } else { WayKind::Bolt11 }
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
    let scene = Scene::set(script(&story)).await?;
    give_coins(&scene, options).await?;
    story.begins(&scene, options);
    let before = Ledger::read(&scene)?;

    let limits =
        FeeLimits { max_total_fee: Some(Msat(options.max_fee_sat.saturating_mul(1_000))), max_proportional_fee: None };
    let choose = |quote: &Quote| {
        story.is_quoted(quote, options.way());
        if options.fail_open {
            spend_coins_elsewhere(&scene);
        }
        Some(options.way())
    };
    let lsp = scene.lsp.node.node_id();
    let handle = scene.wallet.host.order_channel_paying(lsp, order(&scene, options), limits, choose).await?;
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
    let blocks = async {
        loop {
            tokio::time::sleep(BLOCK).await;
            if !scene.chain.mempool().is_empty() {
                scene.chain.mine(1);
                story.tells("chain", "has a new block");
            }
        }
    };
    tokio::select! {
        outcome = over => match outcome {
            Outcome::Ended(end) => Ok(end),
            other => Err(format!("the order does not end: {other:?}").into()),
        },
        () = blocks => unreachable!("blocks come for ever"),
        () = tokio::time::sleep(PATIENCE) => Err("the order does not end".into()),
    }
}

fn script(story: &Arc<Story>) -> Script {
    let orders = OrderPolicy {
        bolt12: false, // the nodes here do not relay the messages that fetch an invoice
        confirmations: vec![AmountRule { up_to_sat: u64::MAX, confirmations: 1 }],
        ..OrderPolicy::default()
    };
    let on_event = Arc::clone(story);
    Script {
        payer_channels: vec![],
        policy: StandardPolicy { orders: Some(orders), ..StandardPolicy::default() },
        // Nobody wants to wait for an example.
        polling: Polling { first: BLOCK / 2, longest: BLOCK, slow: BLOCK, ..Polling::default() },
        on_event: Arc::new(move |who, event| on_event.event(who, event)),
        ..Script::default()
    }
}

/// The LSP gets what it needs to open the channel, the wallet what it needs to pay for it.
async fn give_coins(scene: &Scene, options: &Options) -> Result<(), Error> {
    let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
    let price = options.client_balance_sat.saturating_add(options.max_fee_sat);
    let capacity = options.lsp_balance_sat.saturating_add(options.client_balance_sat);
    scene.chain.give(&lsp.wallet().script(), capacity.saturating_add(SPARE_SAT));
    scene.chain.give(&wallet.wallet().script(), price.saturating_mul(2).saturating_add(SPARE_SAT));
    if !options.onchain {
        let size = price.saturating_add(price / 20).saturating_add(SPARE_SAT / 2);
        open_channels(&scene.chain, wallet, lsp, &[size]).await?;
    }
    Ok(())
}

fn order(scene: &Scene, options: &Options) -> CreateOrder {
    let script = scene.wallet.node.wallet().script();
    let refund_to = Address::from_script(&script, Network::Regtest).ok().and_then(|to| to.to_string().parse().ok());
    CreateOrder {
        lsp_balance_sat: Sat(options.lsp_balance_sat),
        client_balance_sat: Sat(options.client_balance_sat),
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 4_320,
        token: None,
        refund_onchain_address: refund_to,
        announce_channel: false,
    }
}

/// The order was accepted while they were there.
fn spend_coins_elsewhere(scene: &Scene) {
    let wallet = scene.lsp.node.wallet();
    let coins = scene.chain.unspent_of(&wallet.script());
    wallet.lock(&coins.iter().map(|coin| coin.outpoint).collect::<Vec<_>>());
}

const BLOCK: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(60);
/// What the chain takes for a refund to stay.
const CONFIRMATIONS: u32 = 6;
/// For reserves and fees.
const SPARE_SAT: u64 = 100_000;
