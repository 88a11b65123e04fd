//! A wallet with `lightning-liquidity`, built as its documentation says.

use std::sync::{Arc, Mutex};

use bitcoin::Address;
use bitcoin::secp256k1::PublicKey;
use lightning::events::Event;
use lightning::routing::gossip::RoutingFees;
use lightning::routing::router::{RouteHint, RouteHintHop};
use lightning::util::config::{ChannelConfigOverrides, ChannelConfigUpdate, ChannelHandshakeConfigUpdate, UserConfig};
use lightning_invoice::Bolt11Invoice;
use lightning_liquidity::LiquidityClientConfig;
use lightning_liquidity::events::LiquidityEvent;
use lightning_liquidity::lsps0::event::LSPS0ClientEvent;
use lightning_liquidity::lsps0::ser::{LSPSRequestId, LSPSResponseError};
use lightning_liquidity::lsps1::client::LSPS1ClientConfig;
use lightning_liquidity::lsps1::event::LSPS1ClientEvent;
use lightning_liquidity::lsps1::msgs::{LSPS1ChannelInfo, LSPS1OrderId, LSPS1OrderParams, LSPS1PaymentInfo};
use lightning_liquidity::lsps2::client::LSPS2ClientConfig;
use lightning_liquidity::lsps2::event::LSPS2ClientEvent;
use lightning_liquidity::lsps2::msgs::LSPS2OpeningFeeParams;
use lightning_liquidity::lsps5::client::LSPS5ClientConfig;
use lightning_liquidity::lsps5::event::LSPS5ClientEvent;
use lightning_liquidity::lsps5::msgs::LSPS5Error;
use lsps_node::node::Node;
use lsps_node::node::within;
use lsps_testing::scene::{Who, finish};

use crate::FEE_LIMIT;
use crate::liquidity::{Liquidity, Running, build};
use crate::stage::{Stage, setup};

pub struct TheirWallet {
    pub node: Arc<Node<Liquidity>>,
    theirs: Arc<Liquidity>,
    lsp: PublicKey,
    told: Arc<Mutex<Vec<LiquidityEvent>>>,
    _running: Running,
}

/// Result of a call.
pub type Answer<T> = Result<T, LSPSResponseError>;

impl TheirWallet {
    pub async fn start(stage: &Stage, lsp: PublicKey) -> Self {
        let config = UserConfig { manually_accept_inbound_channels: true, ..UserConfig::default() };
        let client = LiquidityClientConfig {
            lsps1_client_config: Some(LSPS1ClientConfig { max_channel_fees_msat: None }),
            lsps2_client_config: Some(LSPS2ClientConfig {}),
            lsps5_client_config: Some(LSPS5ClientConfig {}),
        };
        let (node, theirs) = build(setup(stage, Who::Wallet, config), None, Some(client), Arc::default()).await;
        let (weak, on_event) = (Arc::downgrade(&node), Arc::clone(&stage.script.on_event));
        node.run(move |event| {
            on_event(Who::Wallet, &event);
            if let Some(node) = weak.upgrade() {
                hears_node(&node, lsp, &event);
            }
            std::future::ready(Ok(()))
        });
        let told = Arc::new(Mutex::new(vec![]));
        let t = Arc::clone(&told);
        let running = Running::start(&node, &theirs, move |_, event| {
            t.lock().unwrap().push(event);
            std::future::ready(())
        });
        Self { node, theirs, lsp, told, _running: running }
    }

    pub async fn list_protocols(&self) -> Vec<u16> {
        self.theirs.lsps0_client_handler().list_protocols(&self.lsp);
        self.hears(|event| match event {
            LiquidityEvent::LSPS0Client(LSPS0ClientEvent::ListProtocolsResponse { protocols, .. }) => {
                Some(protocols.clone())
            }
            _ => None,
        })
        .await
    }

    pub async fn get_info(&self, token: Option<&str>) -> Answer<Vec<LSPS2OpeningFeeParams>> {
        let lsps2 = self.theirs.lsps2_client_handler().expect("it buys");
        let asked = lsps2.request_opening_params(self.lsp, token.map(String::from));
        self.hears(|event| match event {
            LiquidityEvent::LSPS2Client(LSPS2ClientEvent::OpeningParametersReady {
                request_id,
                opening_fee_params_menu,
                ..
            }) if *request_id == asked => Some(Ok(opening_fee_params_menu.clone())),
            LiquidityEvent::LSPS2Client(LSPS2ClientEvent::GetInfoFailed { request_id, error, .. })
                if *request_id == asked =>
            {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Buys a channel, and returns the SCID and the `cltv_expiry_delta`.
    pub async fn buy(&self, terms: &LSPS2OpeningFeeParams, size: Option<u64>) -> Answer<(u64, u32)> {
        let asked = self.asks_to_buy(terms, size);
        self.hears(|event| match event {
            LiquidityEvent::LSPS2Client(LSPS2ClientEvent::InvoiceParametersReady {
                request_id,
                intercept_scid,
                cltv_expiry_delta,
                ..
            }) if *request_id == asked => Some(Ok((*intercept_scid, *cltv_expiry_delta))),
            LiquidityEvent::LSPS2Client(LSPS2ClientEvent::BuyRequestFailed { request_id, error, .. })
                if *request_id == asked =>
            {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
    }

    pub fn asks_to_buy(&self, terms: &LSPS2OpeningFeeParams, size: Option<u64>) -> LSPSRequestId {
        let lsps2 = self.theirs.lsps2_client_handler().expect("it buys");
        lsps2.select_opening_params(self.lsp, size, terms.clone()).expect("it asks")
    }

    /// Creates an order with this address for refunds.
    pub async fn orders(&self, order: LSPS1OrderParams, refund_to: Address) -> (LSPS1OrderId, LSPS1PaymentInfo) {
        let lsps1 = self.theirs.lsps1_client_handler().expect("it orders");
        let asked = lsps1.create_order(&self.lsp, order, Some(refund_to));
        self.hears(|event| match event {
            LiquidityEvent::LSPS1Client(LSPS1ClientEvent::OrderCreated { request_id, order_id, payment, .. })
                if *request_id == asked =>
            {
                Some((order_id.clone(), payment.clone()))
            }
            _ => None,
        })
        .await
    }

    pub async fn order_status(&self, order: &LSPS1OrderId) -> (LSPS1PaymentInfo, Option<LSPS1ChannelInfo>) {
        let lsps1 = self.theirs.lsps1_client_handler().expect("it orders");
        let asked = lsps1.check_order_status(&self.lsp, order.clone());
        self.hears(|event| match event {
            LiquidityEvent::LSPS1Client(LSPS1ClientEvent::OrderStatus { request_id, payment, channel, .. })
                if *request_id == asked =>
            {
                Some((payment.clone(), channel.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Returns the number of webhooks, the maximum number, and whether nothing changed.
    pub async fn sets_webhook(&self, app: &str, url: &str) -> Result<(u32, u32, bool), LSPS5Error> {
        let asked = self.asks_for_webhook(app, url)?;
        self.hears(|event| match event {
            LiquidityEvent::LSPS5Client(LSPS5ClientEvent::WebhookRegistered {
                request_id,
                num_webhooks,
                max_webhooks,
                no_change,
                ..
            }) if *request_id == asked => Some(Ok((*num_webhooks, *max_webhooks, *no_change))),
            LiquidityEvent::LSPS5Client(LSPS5ClientEvent::WebhookRegistrationFailed { request_id, error, .. })
                if *request_id == asked =>
            {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
    }

    pub fn asks_for_webhook(&self, app: &str, url: &str) -> Result<LSPSRequestId, LSPS5Error> {
        let lsps5 = self.theirs.lsps5_client_handler().expect("it can be called");
        lsps5.set_webhook(self.lsp, app.into(), url.into())
    }

    pub async fn lists_webhooks(&self) -> Vec<String> {
        let asked = self.theirs.lsps5_client_handler().expect("it can be called").list_webhooks(self.lsp);
        self.hears(|event| match event {
            LiquidityEvent::LSPS5Client(LSPS5ClientEvent::WebhooksListed { request_id, app_names, .. })
                if *request_id == asked =>
            {
                Some(app_names.iter().map(|name| name.as_str().to_owned()).collect())
            }
            _ => None,
        })
        .await
    }

    pub async fn removes_webhook(&self, app: &str) -> Result<(), LSPS5Error> {
        let lsps5 = self.theirs.lsps5_client_handler().expect("it can be called");
        let asked = lsps5.remove_webhook(self.lsp, app.into())?;
        self.hears(|event| match event {
            LiquidityEvent::LSPS5Client(LSPS5ClientEvent::WebhookRemoved { request_id, .. })
                if *request_id == asked =>
            {
                Some(Ok(()))
            }
            LiquidityEvent::LSPS5Client(LSPS5ClientEvent::WebhookRemovalFailed { request_id, error, .. })
                if *request_id == asked =>
            {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Buys a channel. Returns an invoice over `amount`, or over an amount that the payer chooses, and the terms.
    pub async fn receives(&self, amount: Option<u64>) -> (Bolt11Invoice, LSPS2OpeningFeeParams) {
        let terms = self.get_info(None).await.expect("a menu").remove(0);
        let (scid, delta) = self.buy(&terms, amount).await.expect("it sells");
        (self.invoice(amount, scid, delta), terms)
    }

    fn invoice(&self, amount: Option<u64>, scid: u64, delta: u32) -> Bolt11Invoice {
        let hop = RouteHintHop {
            src_node_id: self.lsp,
            short_channel_id: scid,
            fees: RoutingFees { base_msat: 0, proportional_millionths: 0 },
            cltv_expiry_delta: u16::try_from(delta).unwrap(),
            htlc_minimum_msat: None,
            htlc_maximum_msat: None,
        };
        self.node.invoice_over(RouteHint(vec![hop]), amount, None).expect("an invoice")
    }

    async fn hears<T>(&self, pick: impl Fn(&LiquidityEvent) -> Option<T>) -> T {
        let heard = || self.told.lock().unwrap().iter().find_map(&pick);
        assert!(within(|| heard().is_some()).await, "no answer, but {:?}", self.told.lock().unwrap());
        heard().expect("it was there")
    }
}

fn hears_node(node: &Node<Liquidity>, lsp: PublicKey, event: &Event) {
    let manager = node.channel_manager();
    match event {
        Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. }
            if *counterparty_node_id == lsp =>
        {
            let handshake = ChannelHandshakeConfigUpdate {
                max_inbound_htlc_value_in_flight_percent_of_channel: Some(100),
                ..ChannelHandshakeConfigUpdate::default()
            };
            let update = ChannelConfigUpdate { accept_underpaying_htlcs: Some(true), ..ChannelConfigUpdate::default() };
            let overrides =
                ChannelConfigOverrides { handshake_overrides: Some(handshake), update_overrides: Some(update) };
            let accepted = manager.accept_inbound_channel_from_trusted_peer_0conf(
                temporary_channel_id,
                counterparty_node_id,
                7,
                Some(overrides),
            );
            accepted.expect("it waits to be accepted");
        }
        Event::PaymentClaimable { payment_hash, counterparty_skimmed_fee_msat: kept, purpose, .. } => {
            match purpose.preimage().filter(|_| *kept <= FEE_LIMIT.0) {
                Some(preimage) => manager.claim_funds(preimage),
                None => manager.fail_htlc_backwards(payment_hash),
            }
        }
        _ => finish(node, event).expect("chores are not told again"),
    }
}
