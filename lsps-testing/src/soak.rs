//! Random scripts for as long as one likes.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

/// How often an input met a flow in some state.
pub type Seen = BTreeMap<(&'static str, &'static str, &'static str), u64>;

/// Plays `LSPS_STEPS` random steps in scripts of 200, from the seed `LSPS_SEED` on, and gives each world to `sum_up` when it has
/// come to rest. The last line of what it prints is `what_came_of_it`.
///
/// # Panics
///
/// With a seed and a script that cannot be made shorter, when a script breaks something.
pub fn soak<S: Copy + std::fmt::Debug + std::panic::RefUnwindSafe, W>(
    step: impl Fn([u8; 4]) -> S,
    play: impl Fn(u64, &[S]) -> W + std::panic::RefUnwindSafe,
    mut sum_up: impl FnMut(W),
) -> u64 {
    let read = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (steps, first_seed) = (read("LSPS_STEPS", 10_000_000), read("LSPS_SEED", 1));
    let (mut played, mut seed) = (0, first_seed);
    while played < steps {
        let mut random = Random(seed);
        let script: Vec<S> = (0..LENGTH).map(|_| step(random.four_bytes())).collect();
        let world = catch_unwind(|| play(seed, &script));
        sum_up(
            world.unwrap_or_else(|_| panic!("seed {seed}: {:?}", shrunk(script, |shorter| _ = play(seed, shorter)))),
        );
        played += LENGTH;
        seed += 1;
    }
    println!("{played} steps, seeds {first_seed}..{seed}");
    played
}

/// The same failure in as few steps as leaving out one by one gives.
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

/// A small generator, so that a seed is all there is to remember.
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
