//! Replays a tape of the examples' LSP, and reports where the replay differs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lsps_testing::scene::LspNode;
use lsps_testing::tape::{Replayed, replay_file};

/// Replays a tape of an LSP's service; `jit-channel --tape FILE` records one.
#[derive(Parser)]
#[command(name = "replay", version)]
struct Options {
    /// File with the tape.
    file: PathBuf,
}

fn main() -> ExitCode {
    match replay_file(&Options::parse().file, &LspNode::promise_key()) {
        Ok(Replayed { turns, lives, .. }) => {
            println!("{turns} turns in {lives} life or lives go as they did");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("replay: {why}");
            ExitCode::FAILURE
        }
    }
}
