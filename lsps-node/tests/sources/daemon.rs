//! A real `bitcoind` that follows the embedded chain: blocks are submitted to it, and what its mempool accepts is mined.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Network, Txid};
use lsps_node::Chain;
use lsps_node::chain::bitcoind::{Auth, Bitcoind};
use lsps_node::chain::{BlockFeed, ChainSource, SourceError};
use serde_json::json;
use tempfile::TempDir;

pub struct Daemon {
    process: Child,
    directory: TempDir,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    mirror: Option<JoinHandle<()>>,
}

impl Daemon {
    /// `None`: the environment names no `bitcoind`.
    pub fn start(chain: &Chain) -> Option<Self> {
        let Some(program) = std::env::var_os("BITCOIND") else {
            eprintln!("SKIPPED, nothing was tested: BITCOIND does not name a bitcoind. Try BITCOIND=$(.ci/bitcoind)");
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let process = Command::new(program)
            .args([
                "-regtest",
                "-server",
                "-listen=0",
                "-dnsseed=0",
                "-persistmempool=0",
                "-dbcache=16",
                "-rpcthreads=8",
            ])
            .arg(format!("-datadir={}", directory.path().display()))
            .args(["-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", &format!("-rpcport={}", address.port())])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut daemon = Self { process, directory, address, is_over: Arc::default(), mirror: None };
        let (rpc, chain, is_over) = (daemon.source(address), chain.clone(), Arc::clone(&daemon.is_over));
        for _ in 0..600 {
            match follow(&rpc, &chain, &mut HashSet::new()) {
                Ok(()) => break,
                Err(_) => thread::park_timeout(Duration::from_millis(100)),
            }
        }
        daemon.mirror = Some(thread::spawn(move || {
            let mut known = HashSet::new();
            while !is_over.load(Ordering::SeqCst) {
                if let Err(error) = follow(&rpc, &chain, &mut known) {
                    eprintln!("bitcoind does not follow: {error}");
                }
                thread::park_timeout(Duration::from_millis(30));
            }
        }));
        Some(daemon)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn source(&self, address: SocketAddr) -> Bitcoind {
        let cookie = Auth::Cookie(self.directory.path().join("regtest/.cookie"));
        let source = Bitcoind::new(Network::Regtest, "127.0.0.1", address.port(), cookie);
        source.expect("a runtime").with_birthday(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(mirror) = self.mirror.take() {
            let _ = mirror.join();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Submits the blocks that `bitcoind` does not have, and puts its mempool into that of the chain.
fn follow(rpc: &Bitcoind, chain: &Chain, known: &mut HashSet<Txid>) -> Result<(), SourceError> {
    let mut common = rpc.tip()?.height.min(chain.height());
    while BlockFeed::hash_at(rpc, common)? != chain.hash_at(common) {
        common -= 1;
    }
    for height in common + 1..=chain.height() {
        if let Some(block) = chain.block_at(height) {
            let answer = rpc.rpc("submitblock", &[json!(serialize_hex(&block))])?;
            // A block of the branch that is not the longest yet is only noted.
            assert!(answer.is_null() || answer == "inconclusive" || answer == "duplicate", "block {height}: {answer}");
        }
    }
    let mempool = BlockFeed::mempool(rpc, &|txid| known.contains(txid))?;
    for _ in 0..=mempool.unknown.len() {
        for tx in &mempool.unknown {
            if let Ok(txid) = chain.submit(tx.clone()) {
                known.insert(txid); // a child may come before its parent
            }
        }
    }
    known.retain(|txid| mempool.txids.contains(txid));
    Ok(())
}
