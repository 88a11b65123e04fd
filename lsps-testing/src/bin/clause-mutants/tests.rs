//! Running tests with one break selected.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::copy::Binary;
use crate::rows::Row;

/// All tests.
#[derive(Default)]
pub struct Tests {
    binaries: BTreeSet<Binary>,
    /// Tests by the last part of their name.
    by_name: BTreeMap<String, BTreeSet<(Binary, String)>>,
    /// Tests of the cores that fail without a break.
    anyway: OnceCell<BTreeSet<String>>,
}

/// Result of one break.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Tests that a row names failed: their names, and their output.
    Named {
        failed: BTreeSet<String>,
        said: String,
    },
    /// A test that the row of the clause names noticed the break.
    Noticed(String),
    /// A test that the row does not name noticed the break.
    Other(String),
    Survived,
    NotBuilt(String),
}

impl Verdict {
    pub fn is_survivor(&self) -> bool {
        matches!(self, Self::Survived)
    }

    pub fn rank(&self) -> u8 {
        match self {
            Self::Named { .. } | Self::Noticed(_) => 0,
            Self::Other(_) => 1,
            Self::Survived => 2,
            Self::NotBuilt(_) => 3,
        }
    }

    /// The verdict on one of the broken clauses.
    pub fn of(&self, row: Option<&Row>) -> Self {
        let Self::Named { failed, said } = self else { return self.clone() };
        let any = failed.first().cloned().unwrap_or_default();
        let Some(row) = row else { return Self::Other(any) };
        if let Some(test) = failed.iter().find(|test| row.tests.contains(*test)) {
            return Self::Noticed(test.clone());
        }
        let cases = row.cases.iter().filter(|(topic, _)| failed.contains(*topic)).flat_map(|(_, cases)| cases);
        let is_hung = said.contains(NO_END);
        let case =
            cases.into_iter().find(|case| is_hung || said.lines().any(|line| line.starts_with(&format!("{case}: "))));
        case.map_or(Self::Other(any), |case| Self::Noticed(format!("case {case:?}")))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { .. } => f.write_str("noticed"),
            Self::Noticed(by) => write!(f, "noticed by {by}"),
            Self::Other(by) => write!(f, "noticed, not by what its row names, by {by}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::NotBuilt(why) => write!(f, "NOT BUILT: {why}"),
        }
    }
}

impl Tests {
    pub fn of(binaries: Vec<Binary>) -> Result<Self, String> {
        let mut tests = Self { binaries: binaries.into_iter().collect(), ..Self::default() };
        for binary in &tests.binaries {
            let listed =
                Command::new(&binary.path).args(["--list", "--format=terse"]).current_dir(&binary.runs_in).output();
            let listed = listed.map_err(|why| format!("{}: {why}", binary.path.display()))?;
            for test in String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| line.strip_suffix(": test")) {
                let name = last_part(test);
                tests.by_name.entry(name.into()).or_default().insert((binary.clone(), test.into()));
            }
        }
        Ok(tests)
    }

    /// Checks that the tests pass without a break; otherwise verdicts mean nothing.
    pub fn must_pass<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Result<(), String> {
        let failed = self.run_all(None, self.named_by(rows));
        let Some((failed, said)) = failed else { return Ok(()) };
        Err(format!("without a break these fail: {failed:?}\n{said}"))
    }

    /// Runs the tests that the rows name.
    pub fn named<'a>(&self, number: usize, rows: impl Iterator<Item = &'a Row>) -> Verdict {
        match self.run_all(Some(number), self.named_by(rows)) {
            Some((failed, said)) => Verdict::Named { failed, said },
            None => Verdict::Survived,
        }
    }

    /// Runs all tests of the cores, until one fails.
    pub fn others(&self, number: usize) -> Verdict {
        let of_cores = || self.binaries.iter().filter(|binary| CORES.contains(&binary.package.as_str()));
        let with = |number: Option<usize>| of_cores().flat_map(move |binary| failing(number, binary, &[]).0);
        let anyway = self.anyway.get_or_init(|| with(None).collect());
        let failed = with(Some(number)).find(|test| !anyway.contains(test));
        failed.map_or(Verdict::Survived, Verdict::Other)
    }

    /// The binaries with the tests that these rows name.
    pub fn binaries_of<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> BTreeSet<Binary> {
        self.named_by(rows).into_keys().collect()
    }

    fn named_by<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> BTreeMap<Binary, Vec<String>> {
        let mut named: BTreeMap<Binary, BTreeSet<String>> = BTreeMap::new();
        let names = rows.flat_map(|row| row.tests.iter().chain(row.cases.keys()));
        for (binary, test) in names.filter_map(|name| self.by_name.get(name)).flatten() {
            named.entry(binary.clone()).or_default().insert(test.clone());
        }
        named.into_iter().map(|(binary, tests)| (binary, tests.into_iter().collect())).collect()
    }

    fn run_all(
        &self,
        number: Option<usize>,
        named: BTreeMap<Binary, Vec<String>>,
    ) -> Option<(BTreeSet<String>, String)> {
        let (mut failed, mut said) = (BTreeSet::new(), String::new());
        for (binary, tests) in named {
            let (these, text) = failing(number, &binary, &tests);
            failed.extend(these);
            said.push_str(&text);
        }
        (!failed.is_empty()).then_some((failed, said))
    }
}

/// The tests of a binary that fail, among all or among the named ones, and the output.
fn failing(number: Option<usize>, binary: &Binary, named: &[String]) -> (BTreeSet<String>, String) {
    let mut run = Command::new(&binary.path);
    run.current_dir(&binary.runs_in).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("LSPS_MUTANT");
    // The inputs are the same each time, and none that fails only because of a break is kept.
    run.envs([("PROPTEST_RNG_SEED", "1"), ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")]);
    if named.is_empty() {
        run.args(SKIPPED)
    } else {
        run.arg("--exact").args(named)
    };
    run.envs(number.map(|number| ("LSPS_MUTANT", number.to_string())));
    let child = run.spawn().unwrap_or_else(|why| panic!("{}: {why}", binary.path.display()));
    let id = child.id();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(Ok(out)) = told.recv_timeout(PATIENCE) else {
        let _it_may_have_ended = Command::new("kill").args(["-9", &id.to_string()]).status();
        return (all_of(binary, named), NO_END.into());
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let failed = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let failed: BTreeSet<String> = failed.map(|test| last_part(test).into()).collect();
    if failed.is_empty() && !out.status.success() {
        return (all_of(binary, named), NO_END.into());
    }
    (failed, text)
}

fn all_of(binary: &Binary, named: &[String]) -> BTreeSet<String> {
    let name = || binary.path.display().to_string();
    if named.is_empty() { [name()].into() } else { named.iter().map(|test| last_part(test).into()).collect() }
}

fn last_part(test: &str) -> &str {
    let test = test.split(" - ").next().unwrap_or(test);
    test.rsplit("::").next().unwrap_or(test)
}

/// Packages all of whose tests run if the tests of a row notice nothing.
const CORES: [&str; 5] = ["lsps-types", "lsps-client", "lsps-service", "lsps-host", "lsps-testing"];
/// Tests of the sources themselves, which fail for any mutant.
const SKIPPED: [&str; 4] = ["--skip", "conformance_document", "--skip", "clauses_and_mutants"];
const NO_END: &str = "it came to no end, or a bad one";
const PATIENCE: Duration = Duration::from_secs(120);
