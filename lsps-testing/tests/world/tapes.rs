//! The inputs of a service, kept in a file, replay to the same records, messages and acts.

use std::io::{BufRead, BufReader, Write};

use lsps_service::{Trust, Turn, replay};
use lsps_testing::world::World;
use lsps_types::Scid;
use proptest::prelude::*;

use super::{OPENING, any_step};

fn written_and_read(tape: &[Turn]) -> Vec<Turn> {
    let mut file = tempfile::tempfile().expect("a file");
    for turn in tape {
        serde_json::to_writer(&mut file, turn).expect("plain data");
        file.write_all(b"\n").expect("room");
    }
    std::io::Seek::rewind(&mut file).expect("a file");
    let lines = BufReader::new(file).lines();
    lines.map(|line| serde_json::from_str(&line.expect("text")).expect("what was written")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_any_script_replays_from_a_file(steps in proptest::collection::vec(any_step(), 0..120)) {
        let world = World::new(Trust::ClientTrustsLsp).taped().play(&OPENING).play(&steps).comes_to_rest();
        for tape in world.tapes() {
            let read = written_and_read(&tape);
            prop_assert_eq!(&read, &tape);
            replay(&read, |draws| world.service_like(draws)).expect("as it was");
        }
    }
}

#[test]
fn a_replay_says_where_it_departs() {
    let world = World::new(Trust::LspTrustsClient).taped().play(&OPENING);
    let mut tape = world.tapes().next().expect("one life");
    let drew = |turn: &&mut Turn| matches!(turn, Turn::Drew(_));
    *tape.iter_mut().find(drew).expect("something was sold") = Turn::Drew(Scid(7));
    let sold = tape.iter().position(|turn| *turn == Turn::Drew(Scid(7))).expect("just put there");
    let departure = replay(&tape, |draws| world.service_like(draws)).err().expect("another SCID");
    let next_given = tape.iter().skip(sold).position(|turn| matches!(turn, Turn::Gave { .. })).map(|more| sold + more);
    assert_eq!(Some(departure.turn), next_given, "{departure}");
}
