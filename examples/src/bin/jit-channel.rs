//! A wallet without channels is paid through a channel that is opened for it, on three real nodes in this process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lsps_testing::Error;
use lsps_testing::scene::Scene;
use lsps_testing::story::jit_channel::{Plan, Story};
use lsps_transport_ldk::{Msat, Ppm};

/// Payer, LSP and wallet as real LDK nodes on an embedded regtest chain: the wallet has no channel, buys a JIT channel,
/// and is paid through it. The exit code is 0 only if every promise was kept and all balances add up to the
/// millisatoshi.
#[derive(Parser)]
#[command(name = "jit-channel", version)]
struct Options {
    #[command(flatten)]
    plan: Plan,
}

fn main() -> ExitCode {
    let Options { plan } = Options::parse();
    lsps_testing::story::run("jit-channel", |files| play(plan, files))
}

async fn play(plan: Plan, files: PathBuf) -> Result<(), Error> {
    let (amount, hour, most) = (Msat(plan.amount_msat), Duration::from_secs(3_600), plan.most_fee());
    let (is_variable, share) = (plan.variable, Ppm(plan.max_fee_ppm));
    let story = Story::new(plan, files);
    let scene = Scene::set(story.script()?).await?;
    story.begins(&scene);
    let before = scene.balances()?;

    let wallet = &scene.wallet.host;
    let jit = if is_variable {
        wallet.receive_variable_via_jit_channel(amount, "an example", hour, share).await?
    } else {
        wallet.receive_via_jit_channel(amount, "an example", hour, most).await?
    };
    story.has_invoice(&jit);

    let account = story.is_paid(&scene, before, &jit).await?;
    scene.stop().await;
    story.ends(&account);
    Ok(())
}
