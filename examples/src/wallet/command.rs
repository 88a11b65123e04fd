//! The commands of the wallet.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lsps_node::Network;
use serde::{Deserialize, Serialize};

/// A Lightning wallet that buys channels when it is paid.
///
/// A passphrase for the seed is read from LSPS_PASSPHRASE. With `wallet daemon` the wallet can be paid while nobody types; the
/// other commands are then done by the daemon.
#[derive(Parser)]
#[command(name = "wallet", version)]
pub struct Options {
    /// Directory of the wallet.
    #[arg(long, global = true, default_value = "~/.lsps/wallet")]
    pub data: PathBuf,
    /// Prints one JSON object a line, in failure too.
    #[arg(long, global = true)]
    pub json: bool,
    /// Prints long ids whole.
    #[arg(long, global = true)]
    pub verbose: bool,
    /// Command of the wallet.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Makes a new wallet, or restores one from its phrase.
    Init {
        /// Chain source: bitcoind://USER:PASSWORD@HOST:PORT, bitcoind+cookie://HOST:PORT/PATH/TO/.cookie, an Esplora server
        /// (https://...), or an Electrum server (tcp://HOST:PORT, ssl://HOST:PORT). The default is the chain of the program
        /// `lsp`.
        #[arg(long, default_value = "bitcoind://any:any@127.0.0.1:18443")]
        chain: String,
        /// Network: regtest, signet, testnet4, testnet or bitcoin.
        #[arg(long, default_value = "regtest")]
        network: Network,
        /// Keeps the wallet in files, not in an SQLite database.
        #[arg(long)]
        files: bool,
        /// Reads the phrase to restore from standard input.
        #[arg(long)]
        restore: bool,
        /// Height of the oldest block with coins of a restored phrase.
        #[arg(long)]
        birthday: Option<u32>,
    },
    /// Runs until it is stopped, so that payments arrive while nobody types.
    Daemon,
    /// Stops the daemon.
    Stop,
    /// Shows the node, its chain and its peers.
    Info,
    /// Makes an invoice, and waits until it is paid.
    Receive {
        /// Amount in satoshis; without it the payer chooses.
        sat: Option<u64>,
        /// Description for the payer.
        #[arg(long, default_value = "")]
        description: String,
        /// Prints the invoice and does not wait. It can be paid while a daemon runs.
        #[arg(long)]
        no_wait: bool,
    },
    /// Orders a channel to receive over, and waits for it.
    Order {
        /// Capacity to receive, in satoshis.
        sat: u64,
        /// Node id of the LSP, if several are known.
        #[arg(long)]
        lsp: Option<String>,
        /// Blocks for which the LSP keeps the channel.
        #[arg(long, default_value_t = 4_320)]
        blocks: u32,
        /// Largest fee in satoshis, mining and routing included.
        #[arg(long, default_value_t = 20_000)]
        fee_at_most: u64,
    },
    /// Pays an invoice, and waits for the end.
    Pay {
        /// The invoice.
        invoice: String,
        /// Amount in satoshis, if the invoice names none.
        sat: Option<u64>,
    },
    /// Sends coins on the chain.
    Send {
        /// Address.
        address: String,
        /// Amount in satoshis.
        sat: u64,
        /// Feerate in satoshis per virtual byte.
        #[arg(long)]
        fee_rate: Option<u64>,
    },
    /// Shows a new address for coins on the chain.
    Address,
    /// Shows the balances.
    Balance,
    /// Shows the payments, the newest first.
    History,
    /// Shows events that were not acknowledged, the oldest first, one at a time.
    Event {
        /// Acknowledges it.
        #[arg(long)]
        acknowledge: bool,
    },
    /// Shows the channels.
    Channels,
    /// Opens a channel to a connected peer.
    Open {
        /// Node id of the peer.
        peer: String,
        /// Size in satoshis.
        sat: u64,
    },
    /// Closes a channel.
    Close {
        /// Id of the channel.
        channel: String,
        /// Without the peer, by publishing the channel's latest state: takes longer and costs more.
        #[arg(long)]
        alone: bool,
    },
    /// Connects to a peer, now and after each restart.
    Connect {
        /// NODE-ID@HOST:PORT
        peer: String,
    },
    /// Shows and changes the LSPs to buy channels from.
    Lsps {
        /// Command about LSPs.
        #[command(subcommand)]
        command: LspsCommand,
    },
    /// Registers a webhook with an LSP, which is called when a payment waits and the wallet is away.
    Webhook {
        /// URL, https only.
        url: String,
        /// Node id of the LSP, if several are known.
        #[arg(long)]
        lsp: Option<String>,
        /// Name of the app.
        #[arg(long, default_value = "lsps wallet")]
        app: String,
    },
    /// Shows the words that restore the coins on the chain.
    BackupPhrase,
}

/// A command about LSPs.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LspsCommand {
    /// Shows them.
    List,
    /// Adds one, or changes its address, token or trust.
    Add {
        /// NODE-ID@HOST:PORT
        address: String,
        /// Token that it gave.
        #[arg(long)]
        token: Option<String>,
        /// Lets it ask for a preimage before it publishes the funding of a channel. It can keep one payment then.
        #[arg(long)]
        trusted: bool,
    },
    /// Removes one with which nothing is open.
    Remove {
        /// Node id.
        node_id: String,
    },
}
