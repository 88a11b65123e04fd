//! The program `wallet`: its commands, and how one is run: by a daemon if one runs, else on a node of its own.

pub mod command;
mod config;
#[cfg(unix)]
mod daemon;
mod execute;
mod failure;
mod show;

use std::path::Path;
use std::process::ExitCode;

use lsps_node::{Node, Phrase};
use serde_json::{Value, json};

use command::{Command, Options};
use config::Config;
pub use failure::Failure;
use show::Screen;

/// Runs the command of these options, and prints what it answers.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let screen = Screen { json: options.json, verbose: options.verbose };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(command(options, screen)),
        Err(why) => Err(why.into()),
    };
    match done {
        Ok(answer) => screen.answer(&answer),
        Err(why) => screen.failure(&why),
    }
}

async fn command(options: Options, screen: Screen) -> Result<Value, Failure> {
    let directory = lsps_node::builder::home(&options.data);
    match options.command {
        Command::Init { chain, network, files, restore, birthday } => {
            Config { network, chain, files, birthday: birthday.unwrap_or(0) }.write(&directory)?;
            init(&directory, restore).await.inspect_err(|_| Config::remove(&directory))
        }
        #[cfg(unix)]
        Command::Daemon => daemon::serve(&directory, start(&directory, None).await?, screen).await,
        command => {
            #[cfg(unix)]
            if let Some(answer) = daemon::ask(&directory, &command, screen).await? {
                return Ok(answer);
            }
            let node = start(&directory, None).await?;
            let tell = |progress| screen.progress(&progress);
            let done = tokio::select! {
                done = execute::execute(&node, &command, &tell) => done,
                _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted; invoices can be paid while the wallet runs")),
            };
            node.stop().await;
            done
        }
    }
}

async fn init(directory: &Path, restore: bool) -> Result<Value, Failure> {
    let phrase = restore.then(|| std::io::read_to_string(std::io::stdin())).transpose()?;
    let phrase: Option<Phrase> = phrase.map(|text| text.trim().parse()).transpose()?;
    let is_restored = phrase.is_some();
    let node = start(directory, phrase).await?;
    let mut answer = json!({ "node_id": node.node_id().to_string(), "network": node.network().to_string() });
    answer["next"] = if is_restored {
        json!(
            "coins on the chain are found again. Channels and their balances are not: their state was in the lost directory only"
        )
    } else {
        json!("write down the words of `wallet backup-phrase`, then add an LSP with `wallet lsps add`")
    };
    node.stop().await;
    Ok(answer)
}

async fn start(directory: &Path, phrase: Option<Phrase>) -> Result<Node, Failure> {
    let config = Config::read(directory)?;
    let builder = Node::builder(config.network).chain_source(config.source()?).birthday(config.birthday);
    let builder = if config.files { builder.storage_in_files(directory) } else { builder.storage(directory) };
    let builder = phrase.into_iter().fold(builder, lsps_node::builder::Builder::phrase);
    let passphrase = std::env::var(PASSPHRASE).ok();
    let builder = passphrase.into_iter().fold(builder, lsps_node::builder::Builder::passphrase);
    Ok(builder.start().await?)
}

/// Variable of the environment with the passphrase.
const PASSPHRASE: &str = "LSPS_PASSPHRASE";
