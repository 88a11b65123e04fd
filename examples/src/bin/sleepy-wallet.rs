//! A wallet sleeps while it is paid: its LSP calls it by a webhook, or gives the payment back, on real nodes in this
//! process.

mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use lightning::sign::EntropySource as _;
use lightning_invoice::Bolt11Invoice;
use lsps_node::node::within;
use lsps_testing::fault::Shifted;
use lsps_testing::hook::reached_with;
use lsps_testing::https::Authority;
use lsps_testing::push::PushService;
use lsps_testing::scene::{Account, Balances, Error, Scene, Script};
use lsps_transport_ldk::Msat;
use lsps_types::PeerId;
use lsps_types::lsps5::{AppName, Notification};

use story::Story;

/// Payer, LSP and wallet as real LDK nodes on an embedded regtest chain, and a notification service: the wallet is not
/// running when it is paid, is woken, and has its money. Ends with 0 only if every promise was kept and every millisatoshi
/// is where it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "sleepy-wallet", version)]
struct Options {
    /// Nobody wakes the wallet: the payment goes back in time.
    #[arg(long)]
    never_wakes: bool,
    /// What the payer pays, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    amount_msat: u64,
    /// The most that the opening may cost, in millisatoshis.
    #[arg(long, default_value_t = 2_000_000)]
    max_fee_msat: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(play(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sleepy-wallet: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn play(options: &Options) -> Result<(), Error> {
    let (start, story) = (Instant::now(), Arc::new(Story::default()));
    let (authority, (clock, script)) = (Authority::new()?, Shifted::script());
    let mut push = PushService::start(&authority).await?;
    let on_event = Arc::clone(&story);
    let mut scene = Scene::set(Script {
        webhooks: Some(reached_with(&authority)),
        on_event: Arc::new(move |who, event| on_event.event(who, event)),
        ..script
    })
    .await?;
    story.begins(&scene);

    register(&scene, &mut push, &story).await?;
    let before = scene.balances()?;
    let (amount, most) = (Msat(options.amount_msat), Msat(options.max_fee_msat));
    let jit = scene.wallet.host.receive_via_jit_channel(amount, "an example", HOUR, most).await?;
    story.has_invoice(&jit);
    falls_asleep(&scene, &story).await?;
    pays(&scene, &jit.invoice, amount, &story)?;
    if !story.posted(push.next().await?, Notification::PaymentIncoming) {
        return Err("the LSP calls for something else".into());
    }
    if options.never_wakes {
        story.tells("phone", "stays dark");
        clock.jump(HOLD_SECS);
        story.tells("LSP", &format!("has waited for {HOLD_SECS} s, by a clock that jumps"));
        has_it_back(&scene, before).await?;
        story.ends_as_before(before, start.elapsed());
    } else {
        wakes(&mut scene, &story).await?;
        let account = scene.settle(before, jit.fee.0).await?;
        is_as_bought(&account, amount)?;
        story.ends(&account, start.elapsed());
    }
    scene.stop().await;
    if push.is_quiet() { Ok(()) } else { Err("the LSP called twice for one payment".into()) }
}

/// The wallet has the LSP post to its notification service, which hears so from the LSP.
async fn register(scene: &Scene, push: &mut PushService, story: &Story) -> Result<(), Error> {
    let lsp = scene.lsp.node.node_id();
    let secret = scene.wallet.node.keys().get_secure_random_bytes();
    let url = push.enrol(PeerId(lsp.serialize()), &secret)?;
    story.tells("wallet", &format!("registers {} with its LSP", url.as_str()));
    scene.wallet.host.keep_registered(&lsp, AppName::new("sleepy-wallet".into())?, url).await?;
    let first = push.next().await?;
    if story.posted(first, Notification::WebhookRegistered) {
        Ok(())
    } else {
        Err("the webhook was not confirmed".into())
    }
}

/// The app is closed: what it knows is in its store.
async fn falls_asleep(scene: &Scene, story: &Story) -> Result<(), Error> {
    let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
    wallet.stop().await;
    let is_gone = || lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none();
    if !within(is_gone).await {
        return Err("the wallet is still connected".into());
    }
    story.tells("wallet", "falls asleep");
    Ok(())
}

fn pays(scene: &Scene, invoice: &Bolt11Invoice, amount: Msat, story: &Story) -> Result<(), Error> {
    story.pays(amount);
    Ok(scene.payer.pay(invoice, amount.0)?)
}

async fn wakes(scene: &mut Scene, story: &Story) -> Result<(), Error> {
    story.tells("wallet", "wakes, and connects to its LSP");
    scene.restart_wallet().await?;
    let lsp = &scene.lsp.node;
    let is_there = scene.wallet.node.connect(lsp.node_id(), lsp.address()).await;
    if is_there { Ok(()) } else { Err("the wallet does not reach its LSP".into()) }
}

fn is_as_bought(account: &Account, amount: Msat) -> Result<(), Error> {
    if account.paid == amount.0 { Ok(()) } else { Err(format!("{} msat were paid", account.paid).into()) }
}

/// The payer has its money back without a block having passed, over a channel that stays; nothing was opened.
async fn has_it_back(scene: &Scene, before: Balances) -> Result<(), Error> {
    let height = scene.chain.height();
    if !within(|| scene.seen.facts().has_failed).await {
        return Err("the payment is still held".into());
    }
    if !within(|| scene.balances().is_ok_and(|after| after == before)).await {
        return Err(format!("not everybody has what they had: {:?}", scene.balances()).into());
    }
    let usable = scene.payer.channel_manager().list_usable_channels().len();
    let opened = scene.lsp.node.channel_manager().list_channels().len() - usable;
    if usable != 1 || opened != 0 || !scene.chain.mempool().is_empty() || scene.chain.height() != height {
        return Err(format!("{usable} channels can be used, {opened} were opened, or something is on the chain").into());
    }
    Ok(())
}

const HOUR: Duration = Duration::from_secs(3_600);
/// How long an LSP holds a payment for its client, by default and by LSPS2, and a second.
const HOLD_SECS: u64 = 91;
