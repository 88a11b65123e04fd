//! A wallet's own code for being paid through a JIT channel: ask, show, hand out, and listen.
//!
//! Without `--lsp` an LSP and a payer are at hand and the payment comes. With it, any LSP that listens is asked: it tells
//! its price and sells, but as this wallet lives on a chain of its own, no payment can come from there.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use clap::Parser;
use lsps_node::store::MemoryStore;
use lsps_node::{Chain, store::Store};
use lsps_testing::scene::{Error, Scene, Script, WalletNode};
use lsps_transport_ldk::wallet::WalletEvent;
use lsps_transport_ldk::{Msat, Wallet};

/// Is paid through a channel that does not exist yet.
#[derive(Parser)]
#[command(name = "wallet-receive", version)]
struct Options {
    /// What to be paid, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    amount_msat: u64,
    /// The most that the LSP may keep of it, in millisatoshis.
    #[arg(long, default_value_t = 2_000_000)]
    max_fee_msat: u64,
    /// Another LSP: NODE-ID@HOST:PORT.
    #[arg(long)]
    lsp: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("wallet-receive: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Error> {
    match &options.lsp {
        Some(lsp) => {
            let (id, address) = lsp.split_once('@').ok_or("an LSP is NODE-ID@HOST:PORT")?;
            let lsp: (PublicKey, _) =
                (id.parse()?, tokio::net::lookup_host(address).await?.next().ok_or("no such host")?);
            let (chain, store): (_, Store) = (Chain::new(), Arc::new(MemoryStore::new()));
            let script = Script { wallet_connects: true, ..Script::default() };
            let wallet = WalletNode::start(&chain, &store, lsp, &script).await?;
            invoice(&wallet.host, options).await?;
        }
        None => {
            let scene = Scene::set(Script::default()).await?;
            let mut events = scene.wallet.host.events();
            let invoice = invoice(&scene.wallet.host, options).await?;
            scene.payer.pay(&invoice, options.amount_msat)?;
            loop {
                let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await??;
                println!("{event}");
                if let WalletEvent::Received { .. } | WalletEvent::Refused { .. } = event {
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn invoice(wallet: &Wallet, options: &Options) -> Result<lightning_invoice::Bolt11Invoice, Error> {
    let (amount, limit) = (Msat(options.amount_msat), Msat(options.max_fee_msat));
    let jit = wallet.receive_via_jit_channel(amount, "wallet-receive", Duration::from_secs(3_600), limit).await?;
    println!("{} opens a channel and keeps {} of {amount}", jit.lsp, jit.fee);
    println!("{}", jit.invoice);
    Ok(jit.invoice)
}
