//! Random scripts of payers, clients, node failures, clock jumps and crashes, with all checks.
//!
//! `cargo test --release -p lsps-testing --test world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS` says how
//! long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;
mod found;
mod stories;
mod tapes;

use std::collections::BTreeSet;

use lsps_service::Trust;
use lsps_testing::Seen;
use lsps_testing::world::{INPUTS, Step, World};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_step() -> impl Strategy<Value = Step> {
    any::<[u8; 4]>().prop_map(Step::from_bytes)
}

/// All clients are connected and one has bought, so that short scripts reach the interesting states.
const OPENING: [Step; 5] = [
    Step::Connect { client: 0 },
    Step::Usable { client: 0 },
    Step::Buy { client: 0, fixed: true },
    Step::Pay { offer: 0, hash: 0, tenths: 10, expires_soon: false },
    Step::Accept { channel: 0, greedy: false },
];

fn plays(trust: Trust, is_taped: bool, steps: &[Step]) -> World {
    let world = World::new(trust);
    let world = if is_taped { world.taped() } else { world };
    world.play(&OPENING).play(steps).comes_to_rest()
}

fn plays_hostile(trust: Trust, is_taped: bool, steps: &[Step]) -> World {
    let world = World::new(trust).hostile();
    let world = if is_taped { world.taped() } else { world };
    world.play(&OPENING).play(steps).comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_script_keeps_the_invariants_where_the_lsp_trusts(steps in vec(any_step(), 0..120)) {
        let _ = plays(Trust::LspTrustsClient, false, &steps);
    }

    #[test]
    fn any_script_keeps_the_invariants_where_the_client_trusts(steps in vec(any_step(), 0..120)) {
        let _ = plays(Trust::ClientTrustsLsp, false, &steps);
    }
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let (mut seen, mut deaths) = (Seen::new(), 0);
    let played = lsps_testing::soak(
        kept,
        |seed, script| played(seed, seed % 16 < 4, script),
        |world| {
            deaths += world.deaths();
            world.seen().into_iter().for_each(|(pair, count)| *seen.entry(pair).or_default() += count);
        },
    );
    println!("{deaths} deaths; inputs by state of the offer:");
    for ((channel, fee, input), count) in &seen {
        println!("{channel}\t{fee}\t{input}\t{count}");
    }
    let states: BTreeSet<_> = seen.keys().map(|(channel, fee, _)| (*channel, *fee)).collect();
    for (channel, fee) in states {
        for input in INPUTS.iter().filter(|input| !seen.contains_key(&(channel, fee, **input))) {
            let why = why_never(channel, fee, input);
            println!("{channel}\t{fee}\t{input}\tnever: {}", why.unwrap_or("NOT KNOWN WHY"));
            assert!(why.is_some() || played < 10_000_000, "{input} never met {channel}, {fee}");
        }
    }
}

/// The test plays the same scripts in each run; `soak` plays others.
#[test]
fn no_hostile_script_takes_money_from_an_lsp() {
    lsps_testing::play_seeds(1..400, Step::hostile, |seed, script| plays_hostile(trust(seed), false, script), drop);
}

/// The same scripts for a node that is reached over a connection.
#[test]
fn no_hostile_script_takes_money_from_an_lsp_whose_node_is_reached_over_a_connection_and_sells_on_trust() {
    let plays = |seed: u64, script: &[Step]| {
        let world = World::new(trust(seed)).remote().hostile();
        world.play(&OPENING).play(script).comes_to_rest()
    };
    lsps_testing::play_seeds(1..150, Step::hostile, plays, drop);
}

/// Long scripts that broke something; the short ones are in `found.rs`.
#[test]
fn hostile_scripts_that_broke_something_do_so_no_more() {
    for seed in BROKE {
        lsps_testing::play_seeds(
            seed..seed + 1,
            Step::hostile,
            |seed, script| plays_hostile(trust(seed), false, script),
            drop,
        );
    }
}

/// Prints how soon the world finds each fault; `soak` stops at the first.
#[test]
#[ignore = "long: see the head of this file"]
fn power() {
    lsps_testing::power(kept, |seed, script| played(seed, false, script));
}

const BROKE: [u64; 12] =
    [142_874, 301_951, 310_169, 327_139, 330_291, 340_459, 352_457, 368_151, 380_060, 508_681, 520_655, 555_687];

fn trust(seed: u64) -> Trust {
    if seed.is_multiple_of(2) { Trust::LspTrustsClient } else { Trust::ClientTrustsLsp }
}

fn played(seed: u64, is_taped: bool, script: &[Step]) -> World {
    let play = if malice().as_deref() == Some(NONE) { plays } else { plays_hostile };
    play(trust(seed), is_taped, script)
}

/// `LSPS_MALICE` names the hostile steps that may happen, for example `PayAgain,Retry`, so that one sees what each of
/// them finds. With `none` the world is not hostile.
fn malice() -> Option<String> {
    std::env::var("LSPS_MALICE").ok()
}

fn kept(bytes: [u8; 4]) -> Step {
    let step = Step::hostile(bytes);
    let Some(only) = malice() else { return step };
    if only == NONE {
        return Step::from_bytes(bytes);
    }
    let name = format!("{step:?}").split(' ').next().unwrap_or_default().to_string();
    if MALICE.contains(&name.as_str()) && !only.split(',').any(|kept| kept == name) { Step::Save } else { step }
}

const NONE: &str = "none";
const MALICE: [&str; 15] = [
    "PayOdd",
    "PayAgain",
    "PayOrdinary",
    "Retry",
    "ClaimOne",
    "FailOne",
    "Burst",
    "Reorg",
    "Evict",
    "Mute",
    "Swap",
    "Proceed",
    "Feerate",
    "SetClock",
    "Refuse",
];

/// Why an input cannot meet this state in the world, where that is not a gap of the scripts.
fn why_never(channel: &str, fee: &str, input: &str) -> Option<&'static str> {
    Some(match (input, channel) {
        ("Decided", _) => "the policy decides by itself",
        ("ForwardRefused", "none" | "asked" | "funded" | "pending" | "closed") => {
            "asked only over a channel that is ready"
        }
        ("ForwardRefused", _) if fee == "due" => "nothing is forwarded before a fee is asked for",
        ("ChannelAbandoned" | "FundingBuilt", _) => "answered in the turn in which it was asked for",
        (_, "negotiated" | "abandoning") => "lasts for one turn; only deaths and a store that fails show it",
        ("Booked", "asked" | "funded" | "none") => "booked in the turn in which it was asked for",
        ("ChannelNegotiated", "pending" | "ready" | "closed" | "none") => {
            "nodes do not tell again before they are funded"
        }
        ("FundingConfirmed", "none" | "asked" | "funded") => "nothing of it was broadcast",
        ("PartAtClient", "none" | "asked" | "funded" | "pending") => "nothing was sent yet",
        ("PartForwarded", "none" | "asked" | "funded" | "pending") => "nothing went over it",
        ("ChannelPending" | "ChannelReady", "closed") => "told before the end",
        ("ChannelReady", "funded") => "told after both sides have signed",
        _ => return None,
    })
}
