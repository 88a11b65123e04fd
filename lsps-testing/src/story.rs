//! Texts and figures for programs that show a scene.

pub mod jit_channel;
pub mod order_channel;
mod repeat;
pub mod sleepy_wallet;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Error;
use crate::scene::Balance;

/// Runs a program in a temporary folder, and prints the reason of a failure.
pub fn run<F: Future<Output = Result<(), Error>>>(program: &str, play: impl FnOnce(PathBuf) -> F) -> ExitCode {
    let run = || {
        let files = tempfile::tempdir()?; // removed when nobody writes there any more
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(play(files.path().into()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{program}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the balances before and after.
fn show_balances(rows: &[(&str, Balance, Balance)]) {
    println!("\n  {:8}{:>22}{:>22}", "", "before", "after");
    for (name, before, after) in rows {
        println!("  {name:8}{:>22}{:>22}", sat(before.total_msat()), sat(after.total_msat()));
    }
}

/// Formats millisatoshis as `1 303.600 sat`.
#[must_use]
pub fn sat(msat: u64) -> String {
    let whole = (msat / 1_000).to_string();
    let digits = whole.as_bytes();
    let mut grouped = String::new();
    for (n, digit) in digits.iter().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(char::from(*digit));
    }
    format!("{grouped}.{:03} sat", msat % 1_000)
}
