//! Breaks of the implementation, by clause: `lsps-testing/mutants/clauses.txt`, whose head describes the format.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One faulty change of the implementation.
#[derive(Clone, Debug, Default)]
pub struct Mutant {
    /// Clauses that it breaks.
    pub clauses: Vec<String>,
    /// Description of the break; for clauses that no code of this repository can break, the reason.
    pub meaning: String,
    /// Source file, from the root of the repository.
    pub file: String,
    /// Text to replace.
    pub find: String,
    /// Replacement.
    pub with: String,
    /// Whether the break needs a build of its own, as constants, patterns and attributes do; all others are selected at
    /// run time.
    pub takes_build: bool,
}

/// All breaks, and the clauses without one.
#[derive(Clone, Debug, Default)]
pub struct Mutants {
    /// All mutants.
    pub all: Vec<Mutant>,
    /// Clauses that no code of this repository can break, with the reason as their meaning.
    pub exempt: Vec<Mutant>,
}

impl Mutants {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The first line that cannot be parsed.
    pub fn read() -> Result<Self, String> {
        Self::parse(&text_of("lsps-testing/mutants/clauses.txt"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        for block in lines.split(|line| line.is_empty()).filter(|block| !block.is_empty()) {
            let (mutant, is_exempt) = block_of(block)?;
            if is_exempt { &mut read.exempt } else { &mut read.all }.push(mutant);
        }
        Ok(read)
    }

    /// Faults of the file: texts that do not occur exactly once, and clauses that are missing or unknown.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        for Mutant { clauses, file, find, with, .. } in &self.all {
            let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            let times = source.matches(find.as_str()).count();
            if times != 1 {
                faults.push(format!(
                    "{clauses:?}: the text to find is {times} times in {file}, and has to be once: {find}"
                ));
            }
            if find == with {
                faults.push(format!("{clauses:?}: nothing is replaced in {file}: {find}"));
            }
        }
        let musts = musts();
        let named = |mutants: &[Mutant]| mutants.iter().flat_map(|it| it.clauses.clone()).collect::<BTreeSet<String>>();
        let (broken, exempt) = (named(&self.all), named(&self.exempt));
        faults.extend(musts.iter().filter(|id| !broken.contains(*id) && !exempt.contains(*id)).map(|id| {
            format!("{id} is a MUST, and neither broken by a mutant nor among those that no code can break")
        }));
        faults.extend(broken.intersection(&exempt).map(|id| format!("{id} is broken, and among those that cannot be")));
        let known = musts.iter().cloned().collect();
        faults.extend(
            broken
                .union(&exempt)
                .cloned()
                .collect::<BTreeSet<_>>()
                .difference(&known)
                .map(|id| format!("{id} is no MUST")),
        );
        faults
    }
}

/// Clauses at level MUST or MUST NOT.
#[must_use]
pub fn musts() -> Vec<String> {
    let rows = text_of("lsps-testing/conformance/clauses.tsv");
    let rows = rows.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[2].starts_with("MUST")).map(|row| row[0].to_string()).collect()
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

fn text_of(file: &str) -> String {
    let path = root().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Parses one break, or clauses without one.
fn block_of(block: &[&str]) -> Result<(Mutant, bool), String> {
    let bad = || format!("cannot be read: {}", block.join(" / "));
    let (clauses, meaning) = block[0].strip_prefix('[').and_then(|head| head.split_once("] ")).ok_or_else(bad)?;
    let mut mutant = Mutant {
        clauses: clauses.split_whitespace().map(String::from).collect(),
        meaning: meaning.into(),
        ..Mutant::default()
    };
    for line in &block[1..] {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let field = match key {
            "in" => &mut mutant.file,
            "find" => &mut mutant.find,
            "with" => &mut mutant.with,
            "build" => {
                mutant.takes_build = true;
                continue;
            }
            _ => return Err(bad()),
        };
        if !field.is_empty() {
            field.push('\n');
        }
        field.push_str(rest);
    }
    let is_exempt = mutant.file.is_empty() && mutant.find.is_empty() && mutant.with.is_empty();
    if is_exempt || !(mutant.file.is_empty() || mutant.find.is_empty()) { Ok((mutant, is_exempt)) } else { Err(bad()) }
}
