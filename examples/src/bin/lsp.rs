//! An LSP to test a wallet against, with a regtest chain of its own and somebody who pays: see `lsp --help`.

use std::process::ExitCode;

use clap::Parser as _;
use lsps_examples::lsp::{Options, run};

fn main() -> ExitCode {
    run(Options::parse())
}
