//! A wallet orders a channel, pays for it, and gets the channel or a refund, on real nodes in this process.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lsps_client::order::Quote;
use lsps_testing::Error;
use lsps_testing::scene::{Ledger, Scene};
use lsps_testing::story::order_channel::{Plan, Story};

/// LSP and wallet as real LDK nodes on an embedded regtest chain: the wallet orders a channel, pays for it, and gets
/// it. The exit code is 0 only if every promise was kept and all balances add up to the satoshi.
#[derive(Parser)]
#[command(name = "order-channel", version)]
struct Options {
    #[command(flatten)]
    plan: Plan,
}

fn main() -> ExitCode {
    let Options { plan } = Options::parse();
    lsps_testing::story::run("order-channel", |_| play(plan))
}

async fn play(plan: Plan) -> Result<(), Error> {
    let (story, stock) = (Arc::new(Story::default()), plan.stock());
    let scene = Scene::set(story.script()).await?;
    scene.stock_for_order(&stock).await?;
    story.begins(&scene, &plan);
    let before = Ledger::read(&scene)?;

    let choose = |quote: &Quote| {
        story.is_quoted(quote, plan.method());
        if plan.fail_open {
            scene.lsp_spends_its_coins();
        }
        Some(plan.method())
    };
    let (lsp, order) = (scene.lsp.node.node_id(), scene.order(stock.lsp, stock.client));
    let handle = scene.wallet.host.order_channel_paying(lsp, order, plan.limits(), choose).await?;

    let end = story.until_over(&scene, &handle).await?;
    story.ends(&scene, &plan, &handle, &before, &end).await?;
    scene.stop().await;
    Ok(())
}
