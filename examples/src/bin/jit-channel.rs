//! A wallet without channels is paid through a channel that is opened for it, on three real nodes in this process.

mod repeat;
mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use clap::Parser;
use clap::error::ErrorKind;
use lsps_node::node::within;
use lsps_service::Trust;
use lsps_testing::scene::{Account, Error, Scene, Script};
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_transport_ldk::{Msat, Ppm};

use story::Story;

/// Payer, LSP and wallet as real LDK nodes on an embedded regtest chain: the wallet has no channel, buys one just in time,
/// and is paid through it. Ends with 0 only if every promise was kept and every millisatoshi is where it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "jit-channel", version)]
struct Options {
    /// What the payer pays, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    amount_msat: u64,
    /// The invoice names no amount.
    #[arg(long)]
    variable: bool,
    /// Over how many channels the payment is split, one HTLC each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    parts: u8,
    /// The funding is broadcast only after the wallet has claimed the payment.
    #[arg(long)]
    client_trusts_lsp: bool,
    /// The most that the opening may cost, as a share of the payment in parts per million.
    #[arg(long, default_value_t = 50_000)]
    max_fee_ppm: u32,
    /// Shows the protocol messages.
    #[arg(long)]
    verbose: bool,
    /// So many more payments of 10 sat over the same SCID, one after the other, and how long all of it took.
    #[arg(long, default_value_t = 0)]
    repeat: u16,
    /// Keeps all that the LSP's service is given and gives in this file; `replay` plays it again.
    #[arg(long, conflicts_with = "repeat")]
    tape: Option<PathBuf>,
    /// Tells the outcome as one JSON object instead of the story.
    #[arg(long, conflicts_with_all = ["verbose", "repeat"])]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.variable && options.parts > 1 {
        let why = "a payment whose amount the payer chooses cannot be split: drop --parts or --variable";
        Options::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("jit-channel: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    let files = tempfile::tempdir()?; // removed when nobody writes there any more
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(options, files.path()))
}

async fn play(options: &Options, files: &Path) -> Result<(), Error> {
    let (start, story) = (Instant::now(), Arc::new(Story::new(options)));
    let (on_event, on_message) = (Arc::clone(&story), Arc::clone(&story));
    let scene = Scene::set(Script {
        directory: Some(files.into()),
        trust: if options.client_trusts_lsp { Trust::ClientTrustsLsp } else { Trust::LspTrustsClient },
        payer_channels: channels_for(options)?,
        lsp_tape: options.tape.clone().or_else(|| (options.repeat > 0).then(|| files.join("tape"))),
        on_event: Arc::new(move |who, event| on_event.event(who, event)),
        on_message: Arc::new(move |message| on_message.message(message)),
        ..Script::default()
    });
    let scene = scene.await?;
    story.begins(&scene, files);
    let outcome = pay(&scene, options, &story).await;
    let repeated = match &outcome {
        Ok((jit, ..)) if options.repeat > 0 => {
            story.is_told();
            Some(repeat::payments(&scene, jit, options.repeat).await)
        }
        _ => None,
    };
    scene.stop().await;
    let (_, account, first) = outcome?;
    story.ends(&account, start.elapsed());
    if let Some(each) = repeated.transpose()? {
        repeat::tells(first, each, options.repeat, &files.join("tape"))?;
    }
    Ok(())
}

/// What was bought, what became of the payment, and how long that took from the first question to the preimage.
async fn pay(scene: &Scene, options: &Options, story: &Story) -> Result<(JitInvoice, Account, Duration), Error> {
    let start = Instant::now();
    let (before, amount, wallet) = (scene.balances()?, Msat(options.amount_msat), &scene.wallet.host);
    let (hour, share) = (Duration::from_secs(3_600), Ppm(options.max_fee_ppm));
    let jit = if options.variable {
        wallet.receive_variable_via_jit_channel(amount, "an example", hour, share).await?
    } else {
        let limit = u128::from(amount.0) * u128::from(share.0) / 1_000_000;
        let limit = Msat(u64::try_from(limit).unwrap_or(u64::MAX));
        wallet.receive_via_jit_channel(amount, "an example", hour, limit).await?
    };
    story.has_invoice(&jit);
    if options.parts > 1 {
        scene.payer.pay_split(&jit.invoice, amount.0)?;
    } else {
        scene.payer.pay(&jit.invoice, amount.0)?;
    }
    let is_over = || scene.seen.facts().sent.is_some() || scene.seen.facts().has_failed;
    within(is_over).await;
    let took = start.elapsed();
    let account = scene.settle(before, jit.fee.0).await?;
    let facts = scene.seen.facts();
    if options.client_trusts_lsp && facts.unconfirmed_at_claim != Some(0) {
        return Err("the funding was broadcast before the wallet had claimed".into());
    }
    if facts.intercepted != usize::from(options.parts) {
        return Err(format!("the payment came in {} parts", facts.intercepted).into());
    }
    Ok((jit, account, took))
}

/// Satoshis for each part, and what the payer has to keep in a channel.
fn channels_for(options: &Options) -> Result<Vec<u64>, Error> {
    // The first part takes what does not divide.
    let (amount, parts) = (options.amount_msat, u64::from(options.parts));
    let share = Msat((amount / parts).saturating_add(parts)).to_sat_ceil();
    let size = share.saturating_add(share / 20 + 20_000).max(100_000);
    if size > LARGEST_CHANNEL_SAT {
        return Err(format!("{size} sat do not fit into a channel: pay less, or in more parts").into());
    }
    Ok(vec![size; options.parts.into()])
}

/// What LDK takes by default.
const LARGEST_CHANNEL_SAT: u64 = 16_777_215;
