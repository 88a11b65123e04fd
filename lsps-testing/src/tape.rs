//! Tapes of an LSP's service in a file, a line for each turn; each life begins with what it was made of.

use std::fs::File;
use std::io::{BufRead, BufReader, LineWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lsps_service::{Config, Draws, Service, StandardPolicy, Tape, Turn, replay};
use lsps_types::lsps2::PromiseKey;
use serde::{Deserialize, Serialize};

use crate::Error;

/// One line.
#[derive(Serialize, Deserialize)]
enum Line {
    /// The service starts.
    Life { config: Box<Config>, policy: Box<StandardPolicy> },
    /// It goes on.
    Turn(Turn),
}

/// Begins a life at the end of a file.
///
/// # Errors
///
/// When the file cannot be written.
pub fn tape(path: &Path, config: &Config, policy: &StandardPolicy) -> Result<impl Tape + use<>, Error> {
    let mut file = LineWriter::new(File::options().create(true).append(true).open(path)?);
    write(&mut file, &Line::Life { config: Box::new(config.clone()), policy: Box::new(policy.clone()) })?;
    Ok(move |turn| {
        if let Err(why) = write(&mut file, &Line::Turn(turn)) {
            eprintln!("the tape cannot be written: {why}");
        }
    })
}

/// A tape that went as it did then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Things that were told, drawn or given.
    pub turns: usize,
    /// How often the LSP was started.
    pub lives: usize,
    /// What it took this time, without reading the file.
    pub took: Duration,
}

/// Plays it.
///
/// # Errors
///
/// When the file cannot be read, or one of them did not.
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
