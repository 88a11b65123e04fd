//! A wallet's own code for being paid through a JIT channel: ask for the terms, show the fee, hand out the invoice, and
//! listen for events.
//!
//! Without `--lsp` the example starts an LSP and a payer, and the payment arrives. With it, any LSP that listens is
//! asked for its terms and for a sale. As this wallet is on a chain of its own, no payment can arrive from there.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lightning_invoice::Bolt11Invoice;
use lsps_testing::Error;
use lsps_testing::scene::{Scene, Script, WalletNode};
use lsps_transport_ldk::wallet::WalletEvent;
use lsps_transport_ldk::{Msat, Wallet};

/// Receives a payment through a channel that does not exist yet.
#[derive(Parser)]
#[command(name = "wallet-receive", version)]
struct Options {
    /// Amount of the invoice, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    amount_msat: u64,
    /// Largest fee that the LSP may keep of the payment, in millisatoshis.
    #[arg(long, default_value_t = 2_000_000)]
    max_fee_msat: u64,
    /// Node ID and address of another LSP: NODE-ID@HOST:PORT.
    #[arg(long)]
    lsp: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    lsps_testing::story::run("wallet-receive", |_| play(options))
}

async fn play(options: Options) -> Result<(), Error> {
    if let Some(lsp) = &options.lsp {
        let wallet = WalletNode::alone(lsp).await?;
        return invoice(&wallet.host, &options).await.map(drop);
    }
    let scene = Scene::set(Script::default()).await?;
    let mut events = scene.wallet.host.events();
    let invoice = invoice(&scene.wallet.host, &options).await?;
    scene.payer.pay(&invoice, options.amount_msat)?;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await??;
        println!("{event}");
        if let WalletEvent::Received { .. } | WalletEvent::Refused { .. } = event {
            return Ok(());
        }
    }
}

async fn invoice(wallet: &Wallet, options: &Options) -> Result<Bolt11Invoice, Error> {
    let (amount, limit) = (Msat(options.amount_msat), Msat(options.max_fee_msat));
    let jit = wallet.receive_via_jit_channel(amount, "wallet-receive", Duration::from_secs(3_600), limit).await?;
    println!("{} opens a channel and keeps {} of {amount}", jit.lsp, jit.fee);
    println!("{}", jit.invoice);
    Ok(jit.invoice)
}
