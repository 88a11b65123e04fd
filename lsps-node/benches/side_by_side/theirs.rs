//! The LSP of `lightning-liquidity`, with the application that it needs around it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use lightning::ln::channelmanager::{self, ChainParameters, InterceptId};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::CustomMessageReader;
use lightning::routing::scoring::{ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters};
use lightning::sign::{KeysManager, NodeSigner};
use lightning::types::payment::PaymentHash;
use lightning::util::persist::KVStoreSync;
use lightning::util::ser::Writeable;
use lightning_liquidity::events::LiquidityEvent;
use lightning_liquidity::lsps0::ser::LSPSDateTime;
use lightning_liquidity::lsps1::client::LSPS1ClientConfig;
use lightning_liquidity::lsps2::client::LSPS2ClientConfig;
use lightning_liquidity::lsps2::event::LSPS2ServiceEvent;
use lightning_liquidity::lsps2::msgs::LSPS2RawOpeningFeeParams;
use lightning_liquidity::lsps2::service::LSPS2ServiceConfig;
use lightning_liquidity::lsps5::client::LSPS5ClientConfig;
use lightning_liquidity::utils::time::DefaultTimeProvider;
use lightning_liquidity::{LiquidityClientConfig, LiquidityManagerSync, LiquidityServiceConfig};
use lsps_node::Chain;
use lsps_node::chain::ChainView;
use lsps_node::node::broadcast::Broadcaster;
use lsps_node::node::logger::NodeLogger;
use lsps_node::node::save::SaveQueue;
use lsps_node::node::types::{ChainMonitor, MessageRouter, NetworkGraph, OwnRouter, Router, Scorer, TxFilter};
use lsps_node::store::MemoryStore;
use lsps_transport_ldk::preset_for_lsp;
use lsps_types::Scid;
use lsps_types::jsonrpc::MESSAGE_TYPE;

use crate::side::{Client, Side, fresh_scids, init, scid_of};
use crate::tally::Tally;
use crate::their_records::{FAR_AWAY, PeerState};

pub type Manager = LiquidityManagerSync<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<ChannelManager>,
    TxFilter,
    Arc<Tally>,
    DefaultTimeProvider,
    Arc<Broadcaster>,
>;

/// The channel manager of the examples' nodes, without a wallet.
type ChannelManager = channelmanager::ChannelManager<
    Arc<ChainMonitor>,
    Arc<Broadcaster>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<ChainView>,
    Arc<Router>,
    Arc<MessageRouter>,
    Arc<NodeLogger>,
>;

pub struct Theirs {
    pub manager: Manager,
    store: Arc<Tally>,
    valid_until: LSPSDateTime,
    scids: Box<dyn FnMut() -> Scid>,
}

impl Side for Theirs {
    fn start(store: MemoryStore) -> Self {
        let service = LiquidityServiceConfig {
            lsps2_service_config: Some(LSPS2ServiceConfig { promise_secret: [42; 32] }),
            lsps5_service_config: None,
            advertise_service: true,
        };
        Self::over(store, Some(service), None)
    }

    fn offers(clients: &[Client]) -> MemoryStore {
        let states = clients.iter().enumerate().map(|(place, client)| (client, PeerState::with_offer(scid_of(place))));
        stored(states)
    }

    fn channels(client: &Client, count: u32) -> MemoryStore {
        let scids = (0..count).map(|place| Scid(u64::from(place + 1) << 40));
        stored([(client, PeerState::with_channels(scids))].into_iter())
    }

    fn connect(&mut self, clients: &[Client]) {
        let comes = |client: &Client| self.manager.peer_connected(client.key, &init(), true).expect("it may come");
        clients.iter().for_each(comes);
    }

    fn receives(&mut self, client: &Client, message: &[u8]) -> Vec<u8> {
        let read = self.manager.read(MESSAGE_TYPE, &mut &*message).expect("it can be read").expect("it is theirs");
        self.manager.handle_custom_message(read, client.key).expect("it is taken");
        let service = self.manager.lsps2_service_handler().expect("it is configured");
        match self.manager.next_event() {
            Some(LiquidityEvent::LSPS2Service(LSPS2ServiceEvent::GetInfo {
                request_id, counterparty_node_id, ..
            })) => {
                let answered =
                    service.opening_fee_params_generated(&counterparty_node_id, request_id, menu(&self.valid_until));
                answered.expect("it waits for that");
            }
            Some(LiquidityEvent::LSPS2Service(LSPS2ServiceEvent::BuyRequest {
                request_id,
                counterparty_node_id,
                ..
            })) => {
                let scid = (self.scids)().0;
                let key = u128::from(scid);
                let answered =
                    service.invoice_parameters_generated(&counterparty_node_id, request_id, scid, 144, false, key);
                answered.expect("it waits for that");
            }
            other => panic!("not a request: {other:?}"),
        }
        self.manager.get_and_clear_pending_msg().pop().expect("an answer").1.payload.into_bytes()
    }

    /// `lightning-liquidity` asks the node for the amount that came in, and this node holds nothing. The parts
    /// therefore have amount zero, which changes neither the operations nor the records.
    fn part(&mut self, scid: Scid, name: [u8; 32], payment: [u8; 32]) {
        let service = self.manager.lsps2_service_handler().expect("it is configured");
        service.htlc_intercepted(scid.0, InterceptId(name), 0, PaymentHash(payment)).expect("it is taken");
    }

    fn tick(&mut self) {
        self.manager.persist().expect("it is counted");
    }

    fn store(&self) -> &Arc<Tally> {
        &self.store
    }
}

impl Theirs {
    /// A manager that sends requests to LSPs and serves nobody.
    pub fn client() -> Self {
        let client = LiquidityClientConfig {
            lsps1_client_config: Some(LSPS1ClientConfig { max_channel_fees_msat: None }),
            lsps2_client_config: Some(LSPS2ClientConfig {}),
            lsps5_client_config: Some(LSPS5ClientConfig {}),
        };
        Self::over(MemoryStore::new(), None, Some(client))
    }

    fn over(
        store: MemoryStore,
        service: Option<LiquidityServiceConfig>,
        client: Option<LiquidityClientConfig>,
    ) -> Self {
        let store = Arc::new(Tally::over(store));
        let Around { keys, channels, broadcaster } = Around::new();
        let (signer, kept) = (Arc::clone(&keys), Arc::clone(&store));
        let manager = Manager::new(keys, signer, channels, None, None, kept, broadcaster, service, client);
        let valid_until = LSPSDateTime::from_str(FAR_AWAY).expect("a datetime");
        Self { manager: manager.expect("it can be read"), store, valid_until, scids: Box::new(fresh_scids()) }
    }
}

fn menu(valid_until: &LSPSDateTime) -> Vec<LSPS2RawOpeningFeeParams> {
    let entry = |min_fee_msat, proportional| LSPS2RawOpeningFeeParams {
        min_fee_msat,
        proportional,
        valid_until: *valid_until,
        min_lifetime: 4_320,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: 1_000,
        max_payment_size_msat: 10_000_000_000,
    };
    vec![entry(1_000_000, 4_000), entry(1_250_000, 5_000)]
}

/// A node without channels or peers.
struct Around {
    keys: Arc<KeysManager>,
    channels: Arc<ChannelManager>,
    broadcaster: Arc<Broadcaster>,
}

impl Around {
    fn new() -> Self {
        let chain = Chain::new();
        let mut config = lightning::util::config::UserConfig::default();
        preset_for_lsp(&mut config);
        let keys = Arc::new(KeysManager::new(&[1; 32], 0, 0, true));
        let (logger, saves) = (Arc::new(NodeLogger::new("bench")), Arc::new(SaveQueue::default()));
        let fees: Arc<ChainView> = chain.clone().into();
        let broadcaster = Arc::new(Broadcaster::new(Arc::clone(&fees)));
        let monitor = Arc::new(ChainMonitor::new(
            None,
            Arc::clone(&broadcaster),
            Arc::clone(&logger),
            Arc::clone(&fees),
            saves,
            Arc::clone(&keys),
            keys.get_peer_storage_key(),
        ));
        let graph = Arc::new(NetworkGraph::new(Network::Regtest, Arc::clone(&logger)));
        let decay = ProbabilisticScoringDecayParameters::default();
        let scorer = Arc::new(std::sync::RwLock::new(Scorer::new(decay, Arc::clone(&graph), Arc::clone(&logger))));
        let scoring = ProbabilisticScoringFeeParameters::default();
        let own = OwnRouter::new(Arc::clone(&graph), Arc::clone(&logger), Arc::clone(&keys), scorer, scoring);
        let router = Router::new(Arc::new(own), Arc::clone(&keys), Duration::ZERO);
        let channels = ChannelManager::new(
            fees,
            monitor,
            Arc::clone(&broadcaster),
            Arc::new(router),
            Arc::new(MessageRouter::new(graph, Arc::clone(&keys))),
            logger,
            Arc::clone(&keys),
            Arc::clone(&keys),
            Arc::clone(&keys),
            config,
            ChainParameters { network: Network::Regtest, best_block: chain.best_block() },
            0,
        );
        Self { keys, channels: Arc::new(channels), broadcaster }
    }
}

fn stored<'a>(states: impl Iterator<Item = (&'a Client, PeerState)>) -> MemoryStore {
    let store = MemoryStore::new();
    for (client, state) in states {
        store
            .write("lightning_liquidity_state", "lsps2_service", &client.key.to_string(), state.encode())
            .expect("memory");
    }
    store
}
