//! The settings of a wallet, in a file beside its data.

use std::path::Path;
use std::sync::Arc;

use lsps_node::Network;
use lsps_node::chain::ChainSource;
use lsps_node::chain::bitcoind::{Auth, Bitcoind};
use lsps_node::chain::electrum::Electrum;
use lsps_node::chain::esplora::Esplora;
use serde::{Deserialize, Serialize};

use super::Failure;

/// Network and chain source.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub network: Network,
    pub chain: String,
    pub birthday: u32,
    /// Files in place of an SQLite database.
    pub files: bool,
}

impl Config {
    pub fn read(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|why| Failure::new(format!("{}: {why}; make a wallet with `wallet init`", path.display())))?;
        serde_json::from_str(&text).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
    }

    /// Writes the settings of a new wallet.
    pub fn write(&self, directory: &Path) -> Result<(), Failure> {
        let path = directory.join(FILE);
        self.source()?;
        if path.exists() {
            let why = format!("{} has a wallet already: choose another directory with --data", directory.display());
            return Err(Failure::new(why));
        }
        std::fs::create_dir_all(directory)?;
        #[cfg(unix)]
        std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Removes the settings of a wallet that could not be made.
    pub fn remove(directory: &Path) {
        let _ = std::fs::remove_file(directory.join(FILE));
    }

    /// The chain source; nothing is asked yet.
    pub fn source(&self) -> Result<Arc<dyn ChainSource>, Failure> {
        let chain = self.chain.as_str();
        if chain.starts_with("http://") || chain.starts_with("https://") {
            return Ok(Arc::new(Esplora::new(self.network, chain)?));
        }
        if chain.starts_with("tcp://") || chain.starts_with("ssl://") {
            return Ok(Arc::new(Electrum::connect(self.network, chain)?));
        }
        let (host, auth) = bitcoind(chain).ok_or_else(|| {
            Failure::new(format!(
                "{chain:?} is no chain source: write bitcoind://USER:PASSWORD@HOST:PORT, https://… or ssl://…"
            ))
        })?;
        let (host, port) = host.rsplit_once(':').ok_or_else(|| Failure::new(format!("{chain:?} names no port")))?;
        let port = port.parse().map_err(|_| Failure::new(format!("{port:?} in {chain:?} is no port")))?;
        Ok(Arc::new(Bitcoind::new(self.network, host, port, auth)?))
    }
}

/// Host and proof of the right to use it.
fn bitcoind(chain: &str) -> Option<(&str, Auth)> {
    if let Some(rest) = chain.strip_prefix("bitcoind+cookie://") {
        let at = rest.find('/')?;
        return Some((&rest[..at], Auth::Cookie(rest[at..].into())));
    }
    let (login, host) = chain.strip_prefix("bitcoind://")?.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    Some((host, Auth::Password { user: user.into(), password: password.into() }))
}

const FILE: &str = "wallet.json";
