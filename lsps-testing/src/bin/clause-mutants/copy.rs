//! The copy of the repository in which clauses are broken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lsps_testing::mutants::{Mutant, root};
use serde_json::Value;

/// A copy of the files that git tracks, and its builds.
pub struct Copy {
    folder: PathBuf,
    /// Original contents of the files.
    files: BTreeMap<String, Vec<u8>>,
}

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binary {
    /// Name of the package.
    pub package: String,
    /// Name of the integration test; `None`: the tests within a library or a program.
    pub target: Option<String>,
    pub path: PathBuf,
    /// Folder of the package, in which the binary runs.
    pub runs_in: PathBuf,
}

impl Copy {
    pub fn new() -> Result<Self, String> {
        let listed =
            Command::new("git").args(["ls-files", "-z", "-c", "-o", "--exclude-standard"]).current_dir(root()).output();
        let listed = listed.map_err(|why| format!("git ls-files: {why}"))?;
        let names = String::from_utf8(listed.stdout).map_err(|why| format!("git ls-files: {why}"))?;
        let files = names.split('\0').filter(|name| !name.is_empty());
        let files = files.filter_map(|name| Some((name.to_string(), std::fs::read(root().join(name)).ok()?))).collect();
        Ok(Self { folder: root().join("target/clause-mutants"), files })
    }

    /// Range of the text that a break replaces.
    pub fn place(&self, mutant: &Mutant) -> Result<Range<usize>, String> {
        let text = self.text(&mutant.file)?;
        let start = text.find(&mutant.find).ok_or_else(|| format!("{}: not in {}", mutant.find, mutant.file))?;
        Ok(start..start + mutant.find.len())
    }

    /// Writes the copy with these breaks in it. Files that need no change stay as they are, so that little is rebuilt.
    pub fn write(&self, mutants: &[(usize, &Mutant)]) -> Result<(), String> {
        let mut files = self.files.clone();
        let mut places: BTreeMap<(&str, usize), Vec<&(usize, &Mutant)>> = BTreeMap::new();
        for it in mutants {
            places.entry((&it.1.file, self.place(it.1)?.start)).or_default().push(it);
        }
        for ((file, start), here) in places.into_iter().rev() {
            let mut text = String::from_utf8_lossy(&files[file]).into_owned();
            text.replace_range(start..start + here[0].1.find.len(), &broken(file, &here));
            files.insert(file.into(), text.into_bytes());
        }
        if let Some(lib) = files.get_mut("lsps-types/src/lib.rs") {
            lib.extend_from_slice(SWITCH.as_bytes());
        }
        let tree = self.tree();
        for stray in files_below(&tree)
            .filter(|path| !path.strip_prefix(&tree).is_ok_and(|it| files.contains_key(&*it.to_string_lossy())))
        {
            std::fs::remove_file(&stray).map_err(|why| format!("{}: {why}", stray.display()))?;
        }
        for (name, content) in files {
            let path = tree.join(name);
            if std::fs::read(&path).ok().as_ref() != Some(&content) {
                let folder = path.parent().ok_or("a file is in a folder")?;
                std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
                std::fs::write(&path, content).map_err(|why| format!("{}: {why}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Builds the tests: all, or the wanted ones.
    ///
    /// # Errors
    ///
    /// The output of the compiler.
    pub fn build(&self, wanted: Option<&BTreeSet<Binary>>) -> Result<Vec<Binary>, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--no-run", "--workspace", "--locked", "--message-format=json", "--target-dir"]);
        cargo.arg(self.folder.join("target")).current_dir(self.tree()).stderr(Stdio::null());
        for target in wanted.into_iter().flatten().filter_map(|binary| binary.target.as_ref()) {
            cargo.args(["--test", target]);
        }
        if wanted.is_some_and(|wanted| wanted.iter().any(|binary| binary.target.is_none())) {
            cargo.arg("--lib");
        }
        let out = cargo.output().map_err(|why| format!("cargo: {why}"))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if !out.status.success() {
            let errors = messages.iter().filter(|it| it["message"]["level"] == "error");
            let errors = errors.filter_map(|it| it["message"]["rendered"].as_str());
            return Err(format!("it does not build:\n{}", errors.collect::<String>()));
        }
        Ok(messages.iter().filter_map(binary).collect())
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn text(&self, file: &str) -> Result<&str, String> {
        let bytes = self.files.get(file).ok_or_else(|| format!("there is no {file}"))?;
        std::str::from_utf8(bytes).map_err(|why| format!("{file}: {why}"))
    }
}

/// The test binary that a message of cargo reports.
fn binary(message: &Value) -> Option<Binary> {
    let path = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let runs_in = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let is_test = message["target"]["kind"][0] == "test";
    let target = message["target"]["name"].as_str().filter(|_| is_test).map(String::from);
    let package = runs_in.file_name()?.to_string_lossy().into_owned();
    Some(Binary { package, target, path: path.into(), runs_in })
}

/// The text that replaces a piece of source with its breaks; an environment variable of the process selects one of
/// them.
fn broken(file: &str, here: &[&(usize, &Mutant)]) -> String {
    let find = &here[0].1.find;
    if here[0].1.takes_build {
        return here[0].1.with.clone();
    }
    let types = if file.starts_with("lsps-types/") { "crate" } else { "::lsps_types" };
    let cases: String =
        here.iter().map(|(number, it)| format!("if {types}::is_broken({number}) {{ {} }} else ", it.with)).collect();
    if find.trim_end().ends_with([';', '}']) {
        format!("{cases}{{ {find} }}")
    } else {
        format!("({cases}{{ {find} }})")
    }
}

fn files_below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.into_iter()
}

const SWITCH: &str = r#"
extern crate std;

/// Replaces a piece of text in JSON.
#[must_use]
pub fn rewritten(json: alloc::vec::Vec<u8>, from: &str, to: &str) -> alloc::vec::Vec<u8> {
    alloc::string::String::from_utf8(json).unwrap_or_default().replace(from, to).into_bytes()
}

/// Whether the break of this number is selected.
#[must_use]
pub fn is_broken(number: u32) -> bool {
    static TRIED: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    *TRIED.get_or_init(|| std::env::var("LSPS_MUTANT").ok()?.parse().ok()) == Some(number)
}
"#;
