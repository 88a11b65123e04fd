//! A Lightning wallet for the command line: see `wallet --help`.

use std::process::ExitCode;

use clap::Parser as _;
use lsps_examples::wallet::{command::Options, run};

fn main() -> ExitCode {
    run(Options::parse())
}
