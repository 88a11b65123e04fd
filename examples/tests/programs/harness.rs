//! The programs as processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program `lsp`.
pub struct Lsp {
    process: Child,
    input: ChildStdin,
    output: std::sync::mpsc::Receiver<String>,
    pub address: String,
    pub chain: String,
}

impl Lsp {
    pub fn start(data: &Path, [port, chain]: [u16; 2]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lsp"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--chain", &format!("127.0.0.1:{chain}")])
            .args(["--block-every", "0"])
            .arg("--data")
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, output) = std::sync::mpsc::channel();
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let input = process.stdin.take().expect("a pipe");
        let said = |what: &str| {
            let line = output.recv_timeout(BOUND).expect("it says something");
            line.strip_prefix(what).unwrap_or_else(|| panic!("{line}")).trim().to_owned()
        };
        let (address, chain) = (said("lsp"), said("chain"));
        Self { process, input, output, address, chain }
    }

    pub fn node_id(&self) -> &str {
        self.address.split_once('@').expect("an address").0
    }

    pub fn does(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
        let said = self.output.recv_timeout(BOUND).expect("it answers");
        assert!(said.starts_with("done"), "{line}: {said}");
    }

    pub fn kill(&mut self) {
        kill(&mut self.process);
    }
}

impl Drop for Lsp {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program `wallet`, with a daemon.
pub struct Wallet {
    data: PathBuf,
    daemon: Option<Child>,
}

impl Wallet {
    pub fn new(data: PathBuf, lsp: &Lsp, options: &[&str]) -> Self {
        let mut wallet = Self { data, daemon: None };
        wallet.does(&[&["init", "--chain", &lsp.chain], options].concat());
        let second = wallet.fails(&["init"]);
        assert!(second.contains("has a wallet already"), "{second}");
        wallet.runs();
        wallet.does(&["lsps", "add", &lsp.address]);
        wallet
    }

    /// A wallet that was not made yet.
    pub fn none(data: PathBuf) -> Self {
        Self { data, daemon: None }
    }

    /// Restores a wallet from its words.
    pub fn restored(data: PathBuf, lsp: &Lsp, words: &str) -> Self {
        let mut wallet = Self::none(data);
        let mut init = wallet.command(&["init", "--restore", "--chain", &lsp.chain]);
        let mut init = init.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        writeln!(init.stdin.take().expect("a pipe"), "{words}").expect("it reads");
        assert!(init.wait().expect("it ends").success());
        wallet.runs();
        wallet
    }

    /// Starts the daemon, and waits until it answers.
    pub fn runs(&mut self) {
        let daemon = self.command(&["daemon"]).stdout(Stdio::null()).spawn().expect("it starts");
        self.daemon = Some(daemon);
        let socket = self.data.join("wallet.sock");
        until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            kill(&mut daemon);
        }
    }

    pub fn ends(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        until(|| daemon.try_wait().expect("it can be asked").is_some());
    }

    /// Opens a channel of this size to the LSP, with coins of the chain's own.
    pub fn opens(&self, lsp: &mut Lsp, sat: u64) {
        let address = self.does(&["address"])["address"].as_str().expect("an address").to_owned();
        lsp.does(&format!("give {address} {}", sat + 200_000));
        until(|| self.does(&["balance"])["onchain_spendable_sat"].as_u64() > Some(sat));
        self.does(&["open", lsp.node_id(), &sat.to_string()]);
        until(|| !self.does(&["channels"]).as_array().expect("a list").is_empty());
        until(|| {
            lsp.does("mine 1");
            self.does(&["balance"])["can_send_msat"].as_u64() > Some(sat * 900)
        });
    }

    /// Does a command, and returns its answer.
    pub fn does(&self, arguments: &[&str]) -> Value {
        let told = last_line(&self.command(arguments).output().expect("it runs"));
        assert_eq!(told["ok"], true, "{arguments:?}: {told}");
        told["answer"].clone()
    }

    /// Begins a command whose answer nobody reads.
    pub fn begins(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).spawn().expect("it starts")
    }

    /// Does a command that fails, and returns the reason.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("it runs");
        let told = last_line(&output);
        assert_eq!((told["ok"].as_bool(), output.status.code()), (Some(false), Some(1)), "{arguments:?}: {told}");
        told["error"].as_str().expect("a reason").to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wallet"));
        command.arg("--json").arg("--data").arg(&self.data).args(arguments);
        command
    }
}

impl Drop for Wallet {
    fn drop(&mut self) {
        self.kill();
    }
}

fn last_line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("it says nothing: {output:?}"));
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

/// Kills a process as a power cut would.
fn kill(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub fn until(mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < BOUND, "it did not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

const BOUND: Duration = Duration::from_secs(120);
