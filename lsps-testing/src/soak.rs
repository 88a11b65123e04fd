//! Random scripts for any length of time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

/// Number of times that an input met a flow in some state.
pub type Seen = BTreeMap<(&'static str, &'static str, &'static str), u64>;

/// Plays `LSPS_STEPS` random steps in scripts of 200, from the seed `LSPS_SEED` on, and passes each world to `sum_up`
/// once it has come to rest. Returns the number of steps.
///
/// # Panics
///
/// A script breaks a rule; the message has the seed and the shortest script that does.
pub fn soak<S: Copy + std::fmt::Debug + std::panic::RefUnwindSafe, W>(
    step: impl Fn([u8; 4]) -> S,
    play: impl Fn(u64, &[S]) -> W + std::panic::RefUnwindSafe,
    sum_up: impl FnMut(W),
) -> u64 {
    let (steps, first_seed) = (read("LSPS_STEPS", 10_000_000), read("LSPS_SEED", 1));
    let seeds = first_seed..first_seed + steps.div_ceil(LENGTH);
    play_seeds(seeds.clone(), step, play, sum_up);
    let played = (seeds.end - seeds.start) * LENGTH;
    println!("{played} steps, seeds {seeds:?}");
    played
}

/// Plays the scripts of some seeds, 200 random steps each, and passes each world to `sum_up` once it has come to rest.
///
/// # Panics
///
/// A script breaks a rule; the message has the seed and the shortest script that does.
pub fn play_seeds<S: Copy + std::fmt::Debug + std::panic::RefUnwindSafe, W>(
    seeds: Range<u64>,
    step: impl Fn([u8; 4]) -> S,
    play: impl Fn(u64, &[S]) -> W + std::panic::RefUnwindSafe,
    mut sum_up: impl FnMut(W),
) {
    for seed in seeds {
        let script: Vec<S> = random(seed).map(&step).collect();
        let world = catch_unwind(|| play(seed, &script));
        sum_up(
            world.unwrap_or_else(|_| panic!("seed {seed}: {:?}", shrunk(script, |shorter| _ = play(seed, shorter)))),
        );
    }
}

/// Plays like [`soak`] and goes on after failures: prints each kind of failure, its count and the number of steps until
/// the first one.
///
/// # Panics
///
/// Never. Other tests of the same process must not run at the same time, as it would catch their panics.
pub fn power<S: Copy + std::panic::RefUnwindSafe, W>(
    step: impl Fn([u8; 4]) -> S,
    play: impl Fn(u64, &[S]) -> W + std::panic::RefUnwindSafe,
) {
    let said = Arc::<Mutex<String>>::default();
    let hear = Arc::clone(&said);
    std::panic::set_hook(Box::new(move |panic| *hear.lock().expect("nobody panics here") = panic.to_string()));
    let (steps, first_seed) = (read("LSPS_STEPS", 10_000_000), read("LSPS_SEED", 1));
    let mut kinds: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    for number in 0..steps / LENGTH {
        let seed = first_seed + number;
        let script: Vec<S> = random(seed).map(&step).collect();
        if catch_unwind(|| play(seed, &script)).is_err() {
            let text = std::mem::take(&mut *said.lock().expect("nobody panics here"));
            let kind = text.chars().filter(|c| !c.is_ascii_digit()).take(90).collect();
            kinds.entry(kind).or_insert(((number + 1) * LENGTH, 0, text)).1 += 1;
        }
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort();
    for (steps, count, text) in kinds {
        let text: String = text.replace('\n', " ").chars().take(240).collect();
        println!("first after {steps} steps, {count} in all: {text}");
    }
}

fn read(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The script of a seed, in bytes.
fn random(seed: u64) -> impl Iterator<Item = [u8; 4]> {
    let mut random = Random(seed);
    (0..LENGTH).map(move |_| random.four_bytes())
}

/// Shortens a failing script by leaving out single steps.
fn shrunk<S: Copy + std::panic::RefUnwindSafe>(
    mut script: Vec<S>,
    play: impl Fn(&[S]) + std::panic::RefUnwindSafe,
) -> Vec<S> {
    let mut at = script.len();
    while at > 0 {
        at -= 1;
        let mut shorter = script.clone();
        shorter.remove(at);
        if catch_unwind(|| play(&shorter)).is_err() {
            script = shorter;
        }
    }
    script
}

/// A small random number generator, so that the seed alone reproduces a script.
struct Random(u64);

impl Random {
    fn four_bytes(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [a, b, c, d, ..] = (z ^ (z >> 31)).to_be_bytes();
        [a, b, c, d]
    }
}

const LENGTH: u64 = 200;
