//! LDK's types with the parts of this node filled in.

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
use crate::chain::ChainView;
use crate::wallet::HomeKeys;

/// Channel manager.
pub type ChannelManager = channelmanager::ChannelManager<
    Arc<ChainMonitor>,
    Arc<Broadcaster>,
    Arc<Dice>,
    Arc<KeysManager>,
    Arc<HomeKeys>,
    Arc<ChainView>,
    Arc<Router>,
    Arc<MessageRouter>,
    Arc<NodeLogger>,
>;

/// Chain monitor of the channels.
pub type ChainMonitor = chainmonitor::ChainMonitor<
    InMemorySigner,
    TxFilter,
    Arc<Broadcaster>,
    Arc<ChainView>,
    Arc<NodeLogger>,
    Arc<SaveQueue>,
    Arc<KeysManager>,
>;

/// Monitor of one channel.
pub type ChannelMonitor = lightning::chain::channelmonitor::ChannelMonitor<InMemorySigner>;

/// Peer manager over TCP; `H` handles custom messages. Gossip is ignored.
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

/// Onion messenger, which requests and sends the invoices of offers.
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

/// Network graph, always empty: routes use the node's own channels and the hints of invoices.
pub type NetworkGraph = gossip::NetworkGraph<Arc<NodeLogger>>;

/// Router that also gives payments for offers the blocks to be held as long as payments for orders may be.
pub type Router = OrderRouter<Arc<OwnRouter>, Arc<KeysManager>>;

/// Router on the node's own channels.
pub type OwnRouter = DefaultRouter<
    Arc<NetworkGraph>,
    Arc<NodeLogger>,
    Arc<KeysManager>,
    Arc<RwLock<Scorer>>,
    ProbabilisticScoringFeeParameters,
    Scorer,
>;

/// Scorer, which remembers the channels that failed.
pub type Scorer = ProbabilisticScorer<Arc<NetworkGraph>, Arc<NodeLogger>>;

/// Router of onion messages.
pub type MessageRouter = StraightRouter;

/// Filter of a chain source that does not tell whole blocks.
pub type TxFilter = Arc<dyn Filter + Send + Sync>;
