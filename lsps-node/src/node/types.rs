//! LDK's types with our parts filled in.

use std::sync::{Arc, RwLock};

use lightning::chain::Filter;
use lightning::chain::chainmonitor;
use lightning::ln::{channelmanager, peer_handler};
use lightning::onion_message::messenger;
use lightning::routing::gossip;
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{ProbabilisticScorer, ProbabilisticScoringFeeParameters};
use lightning::sign::{InMemorySigner, KeysManager};

use lsps_transport_ldk::OrderRouter;

use super::broadcast::Broadcaster;
use super::dice::Dice;
use super::logger::NodeLogger;
use super::messages::StraightRouter;
use super::save::SaveQueue;
use crate::chain::embedded::Chain;
use crate::wallet::HomeKeys;

/// The channels of a node.
pub type ChannelManager = channelmanager::ChannelManager<
    Arc<ChainMonitor>,
    Arc<Broadcaster>,
    Arc<Dice>,
    Arc<KeysManager>,
    Arc<HomeKeys>,
    Arc<Chain>,
    Arc<Router>,
    Arc<MessageRouter>,
    Arc<NodeLogger>,
>;

/// What watches the chain for those channels.
pub type ChainMonitor = chainmonitor::ChainMonitor<
    InMemorySigner,
    NoFilter,
    Arc<Broadcaster>,
    Arc<Chain>,
    Arc<NodeLogger>,
    Arc<SaveQueue>,
    Arc<KeysManager>,
>;

/// One channel as the chain monitor sees it.
pub type ChannelMonitor = lightning::chain::channelmonitor::ChannelMonitor<InMemorySigner>;

/// Peers over TCP; `H` handles custom messages. Gossip is ignored.
pub type PeerManager<H> = peer_handler::PeerManager<
    lightning_net_tokio::SocketDescriptor,
    Arc<ChannelManager>,
    Arc<peer_handler::IgnoringMessageHandler>,
    Arc<OnionMessenger>,
    Arc<NodeLogger>,
    Arc<H>,
    Arc<KeysManager>,
    Arc<peer_handler::IgnoringMessageHandler>,
>;

/// Asks for the invoices of offers, and gives those of its own.
pub type OnionMessenger = messenger::OnionMessenger<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<NodeLogger>,
    Arc<ChannelManager>,
    Arc<MessageRouter>,
    Arc<ChannelManager>,
    Arc<ChannelManager>,
    Arc<peer_handler::IgnoringMessageHandler>,
    Arc<peer_handler::IgnoringMessageHandler>,
>;

/// An empty graph: routes go over own channels and the hints of invoices.
pub type NetworkGraph = gossip::NetworkGraph<Arc<NodeLogger>>;

/// Finds routes, and has what is paid for an offer wait as long as what is paid for an order may have to.
pub type Router = OrderRouter<Arc<OwnRouter>, Arc<KeysManager>>;

/// Finds routes.
pub type OwnRouter = DefaultRouter<
    Arc<NetworkGraph>,
    Arc<NodeLogger>,
    Arc<KeysManager>,
    Arc<RwLock<Scorer>>,
    ProbabilisticScoringFeeParameters,
    Scorer,
>;

/// Remembers which channels failed.
pub type Scorer = ProbabilisticScorer<Arc<NetworkGraph>, Arc<NodeLogger>>;

/// Finds paths for onion messages.
pub type MessageRouter = StraightRouter;

/// Whole blocks are delivered, so nothing has to be filtered for.
pub type NoFilter = Arc<dyn Filter + Send + Sync>;
