//! An LSP with `lightning-liquidity`, built as its documentation says and its largest user does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::FeeRate;
use bitcoin::secp256k1::PublicKey;
use lightning::events::Event;
use lightning::sign::EntropySource as _;
use lightning::util::config::UserConfig;
use lightning::util::errors::APIError;
use lightning_liquidity::LiquidityServiceConfig;
use lightning_liquidity::events::LiquidityEvent;
use lightning_liquidity::lsps0::ser::LSPSDateTime;
use lightning_liquidity::lsps2::event::LSPS2ServiceEvent;
use lightning_liquidity::lsps2::msgs::LSPS2RawOpeningFeeParams;
use lightning_liquidity::lsps2::service::LSPS2ServiceConfig;
use lightning_liquidity::lsps5::event::LSPS5ServiceEvent;
use lightning_liquidity::lsps5::service::LSPS5ServiceConfig;
use lsps_node::chain::embedded::FEE_SAT_PER_KW;
use lsps_node::node::Node;
use lsps_node::node::within;
use lsps_testing::hook::Post;
use lsps_testing::scene::{Who, finish};
use lsps_transport_ldk::ports::{Clock as _, SystemClock};
use lsps_types::lsps5::Signed;

use crate::liquidity::{Later, Liquidity, Running, build};
use crate::stage::{Stage, setup};

/// Fee that the LSP asks for, in millisatoshis and parts per million.
pub const MIN_FEE: u64 = 600_000;
pub const PROPORTIONAL: u32 = 20_000;
/// Fee that the LSP keeps of a payment, in millisatoshis.
pub const fn fee_on(amount: u64) -> u64 {
    let share = (amount * PROPORTIONAL as u64).div_ceil(1_000_000);
    if share > MIN_FEE { share } else { MIN_FEE }
}

/// Terms of sale.
#[derive(Clone, Copy, Default)]
pub struct Terms {
    /// The only token that is served, if a token is required.
    pub token: Option<&'static str>,
    pub client_trusts_lsp: bool,
    /// Maximum number of webhooks per client; `None` if LSPS5 is not served.
    pub webhooks: Option<u32>,
}

pub struct TheirLsp {
    pub node: Arc<Node<Liquidity>>,
    /// Notifications that `lightning-liquidity` asked its operator to post.
    pub posts: Arc<Mutex<Vec<Post>>>,
    pub clock: Arc<Later>,
    _running: Running,
}

/// State of the operator.
struct Desk {
    terms: Terms,
    /// Client that bought last; it is called when a payment comes.
    buyer: Mutex<Option<PublicKey>>,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl TheirLsp {
    pub async fn start(stage: &Stage, terms: Terms) -> Self {
        // Neither the users nor the documentation of `lightning-liquidity` sets `negotiate_scid_privacy`.
        let mut config = UserConfig { accept_intercept_htlcs: true, ..UserConfig::default() };
        config.accept_forwards_to_priv_channels = true;
        config.channel_handshake_config.announce_for_forwarding = false;
        config.channel_handshake_config.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
        let service = LiquidityServiceConfig {
            lsps2_service_config: Some(LSPS2ServiceConfig { promise_secret: [2; 32] }),
            lsps5_service_config: terms.webhooks.map(|most| LSPS5ServiceConfig { max_webhooks_per_client: most }),
            advertise_service: true,
        };
        let clock = Arc::<Later>::default();
        let (node, theirs) = build(setup(stage, Who::Lsp, config), Some(service), None, Arc::clone(&clock)).await;
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let desk = Arc::new(Desk { terms, buyer: Mutex::default(), posts: Arc::clone(&posts) });
        let (weak, from, on_event) = (Arc::downgrade(&node), Arc::clone(&theirs), Arc::clone(&stage.script.on_event));
        let d = Arc::clone(&desk);
        node.run(move |event| {
            let (node, theirs, on_event) = (weak.upgrade(), Arc::clone(&from), Arc::clone(&on_event));
            let desk = Arc::clone(&d);
            async move {
                on_event(Who::Lsp, &event);
                let Some(node) = node else { return Ok(()) };
                // `lightning-liquidity` reports an error for each event of a channel that is not its own.
                desk.calls_buyer(&node, &theirs, &event);
                let _ = hears_node(&node, &theirs, &event).await;
                Ok(())
            }
        });
        let from = Arc::clone(&theirs);
        let running = Running::start(&node, &theirs, move |node, event| {
            let (theirs, desk) = (Arc::clone(&from), Arc::clone(&desk));
            async move {
                match event {
                    LiquidityEvent::LSPS2Service(event) => {
                        desk.hears_client(&node, &theirs, event).await.expect("it takes its own answers");
                    }
                    LiquidityEvent::LSPS5Service(event) => desk.posts(event),
                    _ => {}
                }
            }
        });
        Self { node, posts, clock, _running: running }
    }
}

/// Passes an event of the node to the call of the API that is meant for it.
async fn hears_node(node: &Node<Liquidity>, theirs: &Liquidity, event: &Event) -> Result<(), APIError> {
    let lsps2 = theirs.lsps2_service_handler().expect("it serves LSPS2");
    match event {
        Event::HTLCIntercepted {
            intercept_id,
            requested_next_hop_scid,
            payment_hash,
            expected_outbound_amount_msat: amount,
            ..
        } => lsps2.htlc_intercepted(*requested_next_hop_scid, *intercept_id, *amount, *payment_hash).await,
        Event::FundingGenerationReady {
            temporary_channel_id,
            counterparty_node_id: peer,
            channel_value_satoshis,
            output_script,
            user_channel_id,
        } if lsps2.channel_needs_manual_broadcast(*user_channel_id, peer).unwrap_or(false) => {
            let rate = FeeRate::from_sat_per_kwu(FEE_SAT_PER_KW.into());
            let tx = node.wallet().pay(output_script, *channel_value_satoshis, rate).expect("enough coins");
            let manager = node.channel_manager();
            manager.funding_transaction_generated_manual_broadcast(*temporary_channel_id, *peer, tx.clone())?;
            lsps2.store_funding_transaction(*user_channel_id, peer, tx)
        }
        Event::FundingTxBroadcastSafe { user_channel_id, counterparty_node_id, .. } => {
            lsps2.set_funding_tx_broadcast_safe(*user_channel_id, counterparty_node_id)
        }
        Event::ChannelReady { user_channel_id, channel_id, counterparty_node_id, .. } => {
            lsps2.channel_ready(*user_channel_id, channel_id, counterparty_node_id).await
        }
        Event::PaymentForwarded { next_channel_id: Some(channel), skimmed_fee_msat, .. } => {
            lsps2.payment_forwarded(*channel, skimmed_fee_msat.unwrap_or_default()).await
        }
        Event::HTLCHandlingFailed { failure_type, .. } => lsps2.htlc_handling_failed(failure_type.clone()).await,
        _ => {
            finish(node, event).expect("chores are not told again");
            Ok(())
        }
    }
}

impl Desk {
    /// Decides what is left to the operator.
    async fn hears_client(
        &self,
        node: &Node<Liquidity>,
        theirs: &Liquidity,
        event: LSPS2ServiceEvent,
    ) -> Result<(), APIError> {
        let (lsps2, terms) = (theirs.lsps2_service_handler().expect("it serves LSPS2"), self.terms);
        match event {
            LSPS2ServiceEvent::GetInfo { request_id, counterparty_node_id: client, token } => {
                if terms.token.is_some_and(|known| token.as_deref() != Some(known)) {
                    return lsps2.invalid_token_provided(&client, request_id);
                }
                lsps2.opening_fee_params_generated(&client, request_id, vec![menu_entry()])
            }
            LSPS2ServiceEvent::BuyRequest { request_id, counterparty_node_id: client, .. } => {
                *self.buyer.lock().unwrap() = Some(client);
                let scid = node.channel_manager().get_intercept_scid();
                let key = random(node);
                let trust = terms.client_trusts_lsp;
                lsps2.invoice_parameters_generated(&client, request_id, scid, CLTV_DELTA, trust, key).await
            }
            LSPS2ServiceEvent::OpenChannel {
                their_network_key: client, amt_to_forward_msat, user_channel_id, ..
            } => {
                // `lightning-liquidity` asks once. An operator that called the client waits for it.
                let is_there = within(|| node.peer_manager().peer_by_node_id(&client).is_some());
                let _ = tokio::time::timeout(Duration::from_secs(10), is_there).await;
                open(node, client, amt_to_forward_msat, user_channel_id)
            }
        }
    }

    /// The documentation leaves to the operator to call a client that is away.
    fn calls_buyer(&self, node: &Node<Liquidity>, theirs: &Liquidity, event: &Event) {
        let Some(lsps5) = theirs.lsps5_service_handler() else { return };
        let is_away = |client: &PublicKey| node.peer_manager().peer_by_node_id(client).is_none();
        let buyer = *self.buyer.lock().unwrap();
        if let (Event::HTLCIntercepted { .. }, Some(client)) = (event, buyer.filter(is_away)) {
            let _it_was_called_just_now = lsps5.notify_payment_incoming(client);
        }
    }

    /// Records a post. By the documentation its body is the notification as JSON, with these headers.
    fn posts(&self, event: LSPS5ServiceEvent) {
        let LSPS5ServiceEvent::SendWebhookNotification { url, notification, headers, .. } = event;
        let header = |name| headers.iter().find(|(header, _)| header == name).expect("a header").1.clone();
        self.posts.lock().unwrap().push(Post {
            path: url.as_str().into(),
            timestamp: header(Signed::TIMESTAMP_HEADER),
            signature: header(Signed::SIGNATURE_HEADER),
            body: serde_json::to_vec(&notification).expect("it writes"),
        });
    }
}

fn menu_entry() -> LSPS2RawOpeningFeeParams {
    // The time is like that of `Utc::now()`, which users of `lightning-liquidity` pass: it has more digits than
    // milliseconds.
    let now = Duration::from_millis(SystemClock.now().unix_millis()) + Duration::from_nanos(123_456);
    let valid_until = LSPSDateTime::new_from_duration_since_epoch(now + Duration::from_secs(86_400));
    LSPS2RawOpeningFeeParams {
        min_fee_msat: MIN_FEE,
        proportional: PROPORTIONAL,
        valid_until,
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: 1_000,
        max_payment_size_msat: 1_000_000_000,
    }
}

/// Opens a channel of twice the required size. The event can come again after a restart.
fn open(node: &Node<Liquidity>, client: PublicKey, forward_msat: u64, key: u128) -> Result<(), APIError> {
    let manager = node.channel_manager();
    let channels = manager.list_channels_with_counterparty(&client);
    if channels.iter().any(|channel| channel.user_channel_id == key) {
        return Ok(());
    }
    manager.create_channel(client, forward_msat * 2 / 1_000, 0, key, None, None).map(drop)
}

fn random(node: &Node<Liquidity>) -> u128 {
    let bytes = node.keys().get_secure_random_bytes();
    u128::from_be_bytes(*bytes.first_chunk().expect("32 bytes"))
}

/// The value that the largest user of `lightning-liquidity` has.
pub const CLTV_DELTA: u32 = 72;
