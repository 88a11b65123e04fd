//! Tapes of an LSP's service in a file, one entry per line; each run begins with its settings.

use std::fs::File;
use std::io::{BufRead, BufReader, LineWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lsps_service::{Config, Draws, Service, StandardPolicy, Tape, Turn, replay};
use lsps_types::lsps2::PromiseKey;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    /// Start of the service, with its settings.
    Life { config: Box<Config>, policy: Box<StandardPolicy> },
    /// Entry of the tape.
    Turn(Turn),
}

/// Begins a run at the end of a file.
///
/// # Errors
///
/// The file cannot be written.
pub fn tape(path: &Path, config: &Config, policy: &StandardPolicy) -> Result<impl Tape<Turn> + use<>, Error> {
    let mut file = LineWriter::new(File::options().create(true).append(true).open(path)?);
    write(&mut file, &Line::Life { config: Box::new(config.clone()), policy: Box::new(policy.clone()) })?;
    Ok(move |turn| {
        if let Err(why) = write(&mut file, &Line::Turn(turn)) {
            eprintln!("the tape cannot be written: {why}");
        }
    })
}

/// Summary of a successful replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Number of entries.
    pub turns: usize,
    /// Number of starts of the LSP.
    pub lives: usize,
    /// Duration of the replay, without reading the file.
    pub took: Duration,
}

/// Replays a file.
///
/// # Errors
///
/// The file cannot be read, or a run differs from its tape.
pub fn replay_file(path: &Path, promises: &PromiseKey) -> Result<Replayed, Error> {
    let mut lives: Vec<(Config, Box<StandardPolicy>, Vec<Turn>)> = vec![];
    for line in BufReader::new(File::open(path)?).lines() {
        match serde_json::from_str(&line?)? {
            Line::Life { config, policy } => lives.push((*config, policy, vec![])),
            Line::Turn(turn) => lives.last_mut().ok_or("the tape does not begin with a life")?.2.push(turn),
        }
    }
    let start = Instant::now();
    for (config, policy, turns) in &lives {
        drop(Service::new(config.clone(), (**policy).clone(), || lsps_types::Scid(0), promises.clone())?);
        let service = |draws: Draws| {
            Service::new(config.clone(), (**policy).clone(), draws, promises.clone()).expect("it was made before")
        };
        replay(turns, service)?;
    }
    let turns = lives.iter().map(|(.., turns)| turns.len()).sum();
    Ok(Replayed { turns, lives: lives.len(), took: start.elapsed() })
}

fn write(file: &mut impl Write, line: &Line) -> Result<(), std::io::Error> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}
