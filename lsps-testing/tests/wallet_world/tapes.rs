//! Tapes of a wallet, serialized as text, replay to the same records, messages and effects, also if the script breaks a rule.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsps_client::{Effect, Turn, replay};
use lsps_testing::wallet_world::{Skim, Step, Tapes, WalletWorld};
use proptest::collection::vec;
use proptest::prelude::*;

/// Writes a tape as text, reads it, and replays it.
fn replays(tape: &[Turn]) {
    let text = serde_json::to_string(tape).expect("plain data");
    let read: Vec<Turn> = serde_json::from_str(&text).expect("what was written");
    assert_eq!(read, tape);
    replay(&read, WalletWorld::client_like).expect("as it was");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_a_wallet_replays_from_its_tape(kind in 0..8u64, steps in vec(any::<[u8; 4]>(), 0..100)) {
        let steps: Vec<Step> = steps.into_iter().map(Step::from_bytes).collect();
        let tapes = Tapes::default();
        let _ = WalletWorld::new(kind).taped(&tapes).play(&steps).comes_to_rest();
        tapes.all().iter().for_each(|tape| replays(tape));
    }
}

/// The world stops at the claim that it forbids. Until then the tape has everything that led to it.
#[test]
fn the_tape_of_a_script_that_fails_replays_to_its_failure() {
    let script = [
        Step::Receive { amount: 200, kind: 0 },
        Step::Proceed { lsp: 0 },
        Step::Restart,
        Step::Serve { purchase: 0 },
        Step::Forward { purchase: 0, channel: 0, skim: Skim::Promised, amount: 100, parts: 0 },
    ];
    let tapes = Tapes::default();
    let world = WalletWorld::new(0).without_fees().taped(&tapes);
    let played = catch_unwind(AssertUnwindSafe(move || drop(world.play(&script))));
    assert!(played.is_err(), "a fee is kept");
    let tapes = tapes.all();
    assert_eq!(tapes.len(), 2, "one for each run");
    tapes.iter().for_each(|tape| replays(tape));
    let Some(Turn::Gave { released, .. }) = tapes[1].last() else { panic!("it ends with what the client gave") };
    let claims = |effect: &Effect| matches!(effect, Effect::ClaimAfter { preimage: Some(_), .. });
    assert!(released.effects.iter().any(claims), "and that is the claim: {released:?}");
}
