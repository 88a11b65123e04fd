//! A chain, and the servers through which nodes see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use lsps_node::Chain;
use lsps_node::chain::ChainSource;
use lsps_node::chain::bitcoind::{Auth, Bitcoind};
use lsps_node::chain::electrum::Electrum;
use lsps_node::chain::esplora::Esplora;
use lsps_testing::electrum::ElectrumServer;
use lsps_testing::esplora::EsploraServer;
use lsps_testing::rpc::Rpc;
use lsps_testing::scene::Script;

use crate::cable::Cable;
use crate::daemon::Daemon;

/// Source of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The chain in this process.
    Embedded,
    /// A server that speaks like `bitcoind`.
    Rpc,
    /// A real `bitcoind`.
    Bitcoind,
    /// A server that speaks like Esplora.
    Esplora,
    /// A server that speaks like an Electrum server.
    Electrum,
}

pub struct Backend {
    pub chain: Chain,
    pub kind: Kind,
    server: Server,
    pub cable: Option<Arc<Cable>>,
}

#[allow(dead_code)] // servers live as long as they are kept
enum Server {
    None,
    Rpc(Rpc),
    Daemon(Box<Daemon>),
    Esplora(EsploraServer),
    Electrum(ElectrumServer),
}

impl Backend {
    /// `None`: there is no such server here, which standard error says.
    pub async fn new(kind: Kind) -> Option<Self> {
        let chain = Chain::new();
        let server = match kind {
            Kind::Embedded => Server::None,
            Kind::Rpc => Server::Rpc(Rpc::serve(chain.clone()).await.expect("a free port")),
            Kind::Bitcoind => Server::Daemon(Box::new(tokio::task::block_in_place(|| Daemon::start(&chain))?)),
            Kind::Esplora => Server::Esplora(EsploraServer::serve(chain.clone()).await.expect("a free port")),
            Kind::Electrum => Server::Electrum(ElectrumServer::serve(chain.clone()).expect("a free port")),
        };
        let address = match &server {
            Server::None => None,
            Server::Rpc(server) => Some(server.address()),
            Server::Daemon(server) => Some(server.address()),
            Server::Esplora(server) => Some(server.address()),
            Server::Electrum(server) => Some(server.address()),
        };
        let cable = address.map(|address| Arc::new(Cable::to(address).expect("a free port")));
        Some(Self { chain, kind, server, cable })
    }

    pub fn source(&self, network: Network) -> Arc<dyn ChainSource> {
        make(self.kind, &self.chain, self.cable.as_ref().map(|cable| cable.address()), network, self.daemon())
    }

    fn daemon(&self) -> Option<Bitcoind> {
        match (&self.server, &self.cable) {
            (Server::Daemon(daemon), Some(cable)) => Some(daemon.source(cable.address())),
            _ => None,
        }
    }

    /// A script whose nodes use this source.
    pub fn script(self: &Arc<Self>, script: Script) -> Script {
        let backend = Arc::clone(self);
        let source = Arc::new(move |_: &Chain| backend.source(Network::Regtest));
        Script { chain: self.chain.clone(), source, ..script }
    }
}

fn make(
    kind: Kind,
    chain: &Chain,
    address: Option<SocketAddr>,
    network: Network,
    daemon: Option<Bitcoind>,
) -> Arc<dyn ChainSource> {
    let port = address.map_or(0, |address| address.port());
    match kind {
        Kind::Embedded => Arc::new(chain.clone()),
        Kind::Rpc => {
            let auth = Auth::Password { user: "user".into(), password: "password".into() };
            Arc::new(
                Bitcoind::new(network, "127.0.0.1", port, auth)
                    .expect("a runtime")
                    .with_birthday(0)
                    .with_interval(OFTEN),
            )
        }
        Kind::Bitcoind => {
            let daemon = daemon.expect("it runs");
            if network == Network::Regtest {
                Arc::new(daemon.with_interval(OFTEN))
            } else {
                Arc::new(daemon.of_network(network))
            }
        }
        Kind::Esplora => {
            Arc::new(Esplora::new(network, &format!("http://127.0.0.1:{port}")).expect("a client").with_interval(OFTEN))
        }
        Kind::Electrum => {
            let source = Electrum::connect(network, &format!("tcp://127.0.0.1:{port}")).expect("it is there");
            Arc::new(source.with_interval(OFTEN))
        }
    }
}

const OFTEN: Duration = Duration::from_millis(200);
