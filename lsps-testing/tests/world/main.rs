//! Random scripts of payers, clients, node failures, clock jumps and crashes, with everything checked.
//!
//! `cargo test --release -p lsps-testing --test world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS` says how
//! long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;
mod stories;
mod tapes;

use std::collections::{BTreeMap, BTreeSet};

use lsps_service::Trust;
use lsps_testing::world::{INPUTS, Step, World};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_step() -> impl Strategy<Value = Step> {
    any::<[u8; 4]>().prop_map(Step::from_bytes)
}

/// Everybody is there and somebody has bought, so that short scripts come to the point.
const OPENING: [Step; 5] = [
    Step::Connect { client: 0 },
    Step::Usable { client: 0 },
    Step::Buy { client: 0, fixed: true },
    Step::Pay { offer: 0, hash: 0, tenths: 10, expires_soon: false },
    Step::Accept { channel: 0, greedy: false },
];

fn plays(trust: Trust, steps: &[Step]) -> World {
    World::new(trust).play(&OPENING).play(steps).comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_script_keeps_the_invariants_where_the_lsp_trusts(steps in vec(any_step(), 0..120)) {
        let _ = plays(Trust::LspTrustsClient, &steps);
    }

    #[test]
    fn any_script_keeps_the_invariants_where_the_client_trusts(steps in vec(any_step(), 0..120)) {
        let _ = plays(Trust::ClientTrustsLsp, &steps);
    }
}

/// A small generator, so that a seed is all there is to remember.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn script(&mut self, length: usize) -> Vec<Step> {
        (0..length).map(|_| Step::from_bytes(self.next().to_be_bytes()[..4].try_into().expect("four"))).collect()
    }
}

/// The same failure in as few steps as leaving out one by one gives.
fn shrunk(trust: Trust, mut script: Vec<Step>) -> Vec<Step> {
    let mut at = script.len();
    while at > 0 {
        at -= 1;
        let mut shorter = script.clone();
        shorter.remove(at);
        if std::panic::catch_unwind(|| plays(trust, &shorter)).is_err() {
            script = shorter;
        }
    }
    script
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let read = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (steps, first_seed) = (read("LSPS_STEPS", 10_000_000), read("LSPS_SEED", 1));
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    let (mut played, mut deaths, mut seed) = (0, 0, first_seed);
    while played < steps {
        let trust = if seed.is_multiple_of(2) { Trust::LspTrustsClient } else { Trust::ClientTrustsLsp };
        let script = Random(seed).script(200);
        let world = std::panic::catch_unwind(|| plays(trust, &script));
        let world = world.unwrap_or_else(|_| panic!("seed {seed}, {trust:?}: {:?}", shrunk(trust, script)));
        deaths += world.deaths();
        for (pair, count) in world.seen {
            *seen.entry(pair).or_default() += count;
        }
        played += 200;
        seed += 1;
    }
    println!("{played} steps, seeds {first_seed}..{seed}, {deaths} deaths; inputs by state of the offer:");
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

/// Why an input does not meet a state in this world, where that is no gap of the scripts.
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
        ("PartForwarded", "none" | "asked" | "funded" | "pending") => "nothing went over it",
        ("ChannelPending" | "ChannelReady", "closed") => "told before the end",
        ("ChannelReady", "funded") => "told after both sides have signed",
        _ => return None,
    })
}
