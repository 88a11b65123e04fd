//! Our implementation and `lightning-liquidity` side by side: the same work in the same process, thread CPU time,
//! ratios of medians.
//!
//! All allocations are counted throughout, which costs both sides a few nanoseconds each.

mod clock;
mod crowd;
mod decode;
mod memory;
mod ours;
mod report;
mod serve;
mod side;
mod tally;
mod their_records;
mod theirs;
mod upkeep;

use lsps_types::Msat;

fn main() {
    let mut report = report::Report::default();
    decode::run(&mut report);
    serve::requests(&mut report);
    serve::one_client(&mut report);
    serve::parts(&mut report);
    upkeep::lookup(&mut report);
    upkeep::start(&mut report);
    crowd::run(&mut report);
    memory::run(&mut report);
    report.finish();
}

/// Payment size of each offer.
const SIZE: Msat = Msat(1_000_000_000);
