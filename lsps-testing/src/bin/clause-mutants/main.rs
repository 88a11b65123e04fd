//! Breaks the implementation clause by clause (`lsps-testing/mutants/clauses.txt`) and runs the tests that
//! `docs/conformance` names for the clause. A break that they do not notice is tried on all tests of the cores. The
//! program works in a copy below `target/clause-mutants`.
//!
//! `cargo run -p lsps-testing --bin clause-mutants -- [CLAUSE…]`; `L2` stands for all clauses that begin so.

mod copy;
mod rows;
mod tests;

use std::collections::BTreeMap;
use std::process::ExitCode;

use lsps_testing::mutants::{Mutant, Mutants};

use copy::Copy;
use rows::Row;
use tests::{Tests, Verdict};

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Runs the wanted mutants, and returns whether all were noticed.
fn run(wanted: &[String]) -> Result<bool, String> {
    let read = Mutants::read()?;
    let faults = read.faults();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let is_wanted = |clause: &String| wanted.is_empty() || wanted.iter().any(|prefix| clause.starts_with(prefix));
    let mutants: Vec<Mutant> = read.all.into_iter().filter(|it| it.clauses.iter().any(is_wanted)).collect();
    let rows = rows::read();
    let copy = Copy::new()?;
    let mut report = Report::default();
    let mut tests = Tests::default();
    for (n, round) in rounds(&copy, &mutants)?.into_iter().enumerate() {
        eprintln!("build {}: {} mutants", n + 1, round.len());
        copy.write(&round)?;
        let is_alone = matches!(round[..], [(_, Mutant { takes_build: true, .. })]);
        let needed = round.iter().flat_map(|(_, mutant)| rows::of(&rows, mutant));
        if is_alone {
            let built = copy.build(Some(&tests.binaries_of(needed)));
            if let Err(why) = built {
                report.enter(round[0].1, &rows, &Verdict::NotBuilt(why));
                continue;
            }
        } else {
            tests = Tests::of(copy.build(None)?)?;
            tests.must_pass(needed)?;
        }
        for (number, mutant) in round {
            let mut verdict = tests.named(number, rows::of(&rows, mutant));
            if verdict.is_survivor() {
                if is_alone {
                    copy.build(None)?;
                }
                verdict = tests.others(number);
            }
            report.enter(mutant, &rows, &verdict);
        }
    }
    let exempt = read.exempt.iter().map(|it| it.clauses.len()).sum();
    Ok(report.sum_up(exempt))
}

/// Groups breaks into builds, with their numbers: breaks that are selected at run time share a build, unless they
/// overlap.
fn rounds<'a>(copy: &Copy, mutants: &'a [Mutant]) -> Result<Vec<Vec<(usize, &'a Mutant)>>, String> {
    let (alone, switched): (Vec<_>, Vec<_>) = (1..).zip(mutants).partition(|(_, mutant)| mutant.takes_build);
    let mut rounds: Vec<Vec<(usize, &Mutant)>> = vec![vec![]];
    for (number, mutant) in switched {
        let place = copy.place(mutant)?;
        let overlaps = |other: &&Mutant| {
            let taken = copy.place(other);
            other.file == mutant.file
                && taken.is_ok_and(|it| it != place && it.start < place.end && place.start < it.end)
        };
        let free = rounds.iter().position(|round| !round.iter().any(|(_, other)| overlaps(other)));
        match free {
            Some(round) => rounds[round].push((number, mutant)),
            None => rounds.push(vec![(number, mutant)]),
        }
    }
    rounds.extend(alone.into_iter().map(|it| vec![it]));
    Ok(rounds)
}

/// Verdicts by clause. A clause with several breaks counts as the worst of them.
#[derive(Default)]
struct Report(BTreeMap<String, Verdict>);

impl Report {
    fn enter(&mut self, mutant: &Mutant, rows: &BTreeMap<String, Row>, verdict: &Verdict) {
        for clause in &mutant.clauses {
            let verdict = verdict.of(rows.get(clause));
            println!("{clause}\t{verdict}\t{}", mutant.meaning);
            let worst = self.0.entry(clause.clone()).or_insert_with(|| verdict.clone());
            if verdict.rank() > worst.rank() {
                *worst = verdict;
            }
        }
    }

    fn sum_up(&self, exempt: usize) -> bool {
        let count = |rank: u8| self.0.values().filter(|verdict| verdict.rank() == rank).count();
        let (named, others, survivors, not_built) = (count(0), count(1), count(2), count(3));
        println!(
            "{} clauses: {named} noticed by what their rows name, {others} by other tests only, {survivors} survived, \
             {not_built} not built; {exempt} that no code of ours can break",
            self.0.len()
        );
        for (clause, verdict) in self.0.iter().filter(|(_, verdict)| verdict.rank() > 0) {
            println!("{clause}\t{verdict}");
        }
        survivors + not_built == 0
    }
}
