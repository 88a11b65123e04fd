//! The program `lsp`: a chain that other processes use, an LSP on it, and a payer with a channel to the LSP.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lsps_node::bitcoin::Address;
use lsps_node::bitcoin::address::NetworkUnchecked;
use lsps_node::lsps_transport_ldk::service::{OrderPolicy, StandardPolicy, Trust};
use lsps_node::node::within;
use lsps_node::ready::PaymentStatus;
use lsps_node::{Chain, Network, Node};
use lsps_testing::rpc::Rpc;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::wallet::Failure;

/// An LSP to test a wallet against. It sells JIT channels (LSPS2) and ordered channels (LSPS1) on a regtest chain of its own,
/// which it serves to other processes as `bitcoind` does. Coins, channels and blocks are there again after a restart.
///
/// Lines on standard input: `mine BLOCKS`, `give ADDRESS SAT`, `pay INVOICE`, `info`, `stop`.
#[derive(Parser)]
#[command(name = "lsp", version)]
pub struct Options {
    /// Address for peers.
    #[arg(long, default_value = "127.0.0.1:9735")]
    listen: SocketAddr,
    /// Address at which the chain is served. It takes any password, so keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:18443")]
    chain: SocketAddr,
    /// Directory of LSP, payer and chain.
    #[arg(long, default_value = "lsp-data")]
    data: PathBuf,
    /// Seconds between blocks; 0: only `mine` makes blocks.
    #[arg(long, default_value_t = 10)]
    block_every: u64,
    /// Asks wallets for the preimage before the funding of a channel is published. Wallets have to trust the LSP for that.
    #[arg(long)]
    trusted: bool,
}

/// Runs the LSP until standard input ends with `stop`, or a signal comes.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(serve(options));
        runtime.shutdown_background(); // a line may be waited for
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "lsp: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Town {
    chain: Chain,
    lsp: Node,
    payer: Node,
}

async fn serve(options: Options) -> Result<(), Failure> {
    std::fs::create_dir_all(&options.data)?;
    // The data of the LSP are locked before the chain's file is touched.
    let _lock = lsps_node::store::DirectoryLock::take(&options.data)?;
    let chain = Chain::open(options.data.join("chain"))?;
    let _rpc = Rpc::serve_at(options.chain, chain.clone()).await?;
    let town = Town::start(&options, chain).await?;
    say(&format!("lsp    {}", town.lsp.connection_string().unwrap_or_default()));
    say(&format!("chain  bitcoind://any:any@{}", options.chain));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut is_open = true;
    let every = Duration::from_secs(options.block_every.max(1));
    loop {
        tokio::select! {
            line = lines.next_line(), if is_open => match line? {
                Some(line) if line.trim() == "stop" => break,
                Some(line) => say(&town.does(&line).await.unwrap_or_else(|why| format!("error  {why}"))),
                None => is_open = false, // started without a terminal
            },
            () = tokio::time::sleep(every), if options.block_every > 0 => town.chain.mine(1),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    town.payer.stop().await;
    town.lsp.stop().await;
    Ok(())
}

impl Town {
    async fn start(options: &Options, chain: Chain) -> Result<Self, Failure> {
        let trust = if options.trusted { Trust::ClientTrustsLsp } else { Trust::LspTrustsClient };
        let orders = Some(OrderPolicy { onchain: true, ..OrderPolicy::default() });
        let builder = || Node::builder(Network::Regtest).chain(chain.clone());
        let lsp = builder().storage(options.data.join("lsp")).listen(options.listen);
        let lsp = lsp.sell(StandardPolicy { trust, orders, ..StandardPolicy::default() }).start().await?;
        let address = lsp.connection_string().unwrap_or_default();
        let payer = builder().storage(options.data.join("payer")).lsp(address).start().await?;
        let town = Self { chain, lsp, payer };
        town.fund(&town.lsp, LSP_SAT)?;
        if town.payer.channels().is_empty() {
            town.fund(&town.payer, 2 * CHANNEL_SAT)?;
            within(|| town.payer.peers().iter().any(|peer| peer.is_connected)).await;
            town.payer.open_channel(town.lsp.node_id(), CHANNEL_SAT)?;
            within(|| !town.chain.mempool().is_empty()).await;
            town.chain.mine(6);
        }
        match within(|| town.payer.can_send().0 > 0).await {
            true => Ok(town),
            false => Err(Failure::new("the payer's channel to the LSP cannot be used")),
        }
    }

    fn fund(&self, node: &Node, sat: u64) -> Result<(), Failure> {
        if node.balances().onchain_sat < sat / 2 {
            self.chain.give(&node.address()?.script_pubkey(), sat);
        }
        Ok(())
    }

    async fn does(&self, line: &str) -> Result<String, Failure> {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["mine", blocks] => self.chain.mine(blocks.parse()?),
            ["give", address, sat] => {
                let address: Address<NetworkUnchecked> = address.parse()?;
                self.chain.give(&address.require_network(Network::Regtest)?.script_pubkey(), sat.parse()?);
            }
            ["pay", invoice] => {
                let invoice = invoice.parse().map_err(|why| Failure::new(format!("no invoice: {why}")))?;
                let paid = self.payer.paid(&self.payer.pay(&invoice, None)?).await;
                let is_paid = paid.is_some_and(|paid| paid.status == PaymentStatus::Succeeded);
                return if is_paid { Ok("paid".into()) } else { Err(Failure::new("the payment failed")) };
            }
            ["info"] => {
                let (lsp, payer) = (self.lsp.balances(), self.payer.balances());
                let channels = self.lsp.channels().len();
                return Ok(format!(
                    "height {}, {channels} channels, LSP {lsp:?}, payer {payer:?}",
                    self.chain.height()
                ));
            }
            _ => return Err(Failure::new("write `mine BLOCKS`, `give ADDRESS SAT`, `pay INVOICE`, `info` or `stop`")),
        }
        Ok(format!("done   height {}", self.chain.height()))
    }
}

fn say(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0); // nobody reads any more
    }
}

const LSP_SAT: u64 = 20_000_000;
const CHANNEL_SAT: u64 = 5_000_000;
