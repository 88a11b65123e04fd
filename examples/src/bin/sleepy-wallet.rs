//! A wallet sleeps while it is paid: its LSP calls it by a webhook, or fails the payment, on real nodes in this
//! process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lsps_testing::Error;
use lsps_testing::https::Authority;
use lsps_testing::push::PushService;
use lsps_testing::scene::Scene;
use lsps_testing::story::sleepy_wallet::{Plan, Story};
use lsps_transport_ldk::Msat;

/// Payer, LSP and wallet as real LDK nodes on an embedded regtest chain, and a notification service: the wallet is not
/// running when it is paid, is woken, and receives the payment. The exit code is 0 only if every promise was kept and
/// all balances add up to the millisatoshi.
#[derive(Parser)]
#[command(name = "sleepy-wallet", version)]
struct Options {
    #[command(flatten)]
    plan: Plan,
}

fn main() -> ExitCode {
    let Options { plan } = Options::parse();
    lsps_testing::story::run("sleepy-wallet", |_| play(plan))
}

async fn play(plan: Plan) -> Result<(), Error> {
    let authority = Authority::new()?;
    let mut push = PushService::start(&authority).await?;
    let (story, script) = Story::new(&authority);
    let mut scene = Scene::set(script).await?;
    story.begins(&scene);

    story.register(&scene, &mut push).await?;
    let before = scene.balances()?;
    let (amount, hour, most) = (Msat(plan.amount_msat), Duration::from_secs(3_600), Msat(plan.max_fee_msat));
    let jit = scene.wallet.host.receive_via_jit_channel(amount, "an example", hour, most).await?;
    story.has_invoice(&jit);
    story.falls_asleep(&scene).await?;
    story.is_called(&scene, &mut push, &jit, amount).await?;
    if plan.never_wakes {
        story.stays_dark();
        story.ends_as_before(&scene, before).await?;
    } else {
        story.wakes(&mut scene).await?;
        story.ends(&scene, before, &jit, amount).await?;
    }
    scene.stop().await;
    if push.is_quiet() { Ok(()) } else { Err("the LSP called twice for one payment".into()) }
}
