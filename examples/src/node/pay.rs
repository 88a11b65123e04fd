//! Paying an invoice, in one piece or over each of several channels.

use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields, Retry};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::routing::router::{Path, Route, RouteHop, RouteParametersConfig};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::PaymentHash;
use lightning_invoice::Bolt11Invoice;

use super::Node;
use bitcoin::hashes::Hash;

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Pays once, on a route that LDK finds; `amount_msat` where the invoice names none. Its events tell the outcome.
    ///
    /// # Errors
    ///
    /// In LDK's words, when nothing was sent.
    pub fn pay(&self, invoice: &Bolt11Invoice, amount_msat: u64) -> Result<(), String> {
        let (id, config) = (payment_id(invoice), RouteParametersConfig::default());
        let amount = invoice.amount_milli_satoshis().is_none().then_some(amount_msat);
        let sent = self.manager.pay_for_bolt11_invoice(invoice, id, amount, config, Retry::Attempts(0));
        sent.map_err(|e| format!("{e:?}"))
    }

    /// Pays in as many parts as there are channels, one HTLC on each, by the one hop of the invoice's route hint.
    ///
    /// # Errors
    ///
    /// In words, when the invoice has no such hint or nothing was sent.
    pub fn pay_split(&self, invoice: &Bolt11Invoice, amount_msat: u64) -> Result<(), String> {
        let hints = invoice.route_hints();
        let [hint] = hints.first().map(|hint| &hint.0[..]).unwrap_or_default() else {
            return Err("the invoice has no route hint of one hop".into());
        };
        let channels = self.manager.list_usable_channels();
        let channels: Vec<_> = channels.iter().filter(|c| c.counterparty.node_id == hint.src_node_id).collect();
        let parts = u64::try_from(channels.len()).map_err(|e| e.to_string())?;
        let share = amount_msat.checked_div(parts).ok_or("there is no channel to the hop of the hint")?;
        let paths = channels.iter().enumerate().map(|(n, channel)| {
            let amount = if n == 0 { share + amount_msat % parts } else { share };
            let first = hop(hint.src_node_id, channel.get_outbound_payment_scid()?, 0, hint.cltv_expiry_delta.into());
            let delta = u32::try_from(invoice.min_final_cltv_expiry_delta()).ok()?;
            let last = hop(invoice.get_payee_pub_key(), hint.short_channel_id, amount, delta);
            Some(Path { hops: vec![first, last], blinded_tail: None })
        });
        let paths = paths.collect::<Option<Vec<_>>>().ok_or("a channel has no SCID")?;
        let hash = PaymentHash(invoice.payment_hash().to_byte_array());
        let onion = RecipientOnionFields::secret_only(*invoice.payment_secret());
        let route = Route { paths, route_params: None };
        let sent = self.manager.send_payment_with_route(route, hash, onion, payment_id(invoice));
        sent.map_err(|e| format!("{e:?}"))
    }
}

fn payment_id(invoice: &Bolt11Invoice) -> PaymentId {
    PaymentId(invoice.payment_hash().to_byte_array())
}

fn hop(node: bitcoin::secp256k1::PublicKey, scid: u64, fee_msat: u64, cltv_expiry_delta: u32) -> RouteHop {
    RouteHop {
        pubkey: node,
        node_features: NodeFeatures::empty(),
        short_channel_id: scid,
        channel_features: ChannelFeatures::empty(),
        fee_msat,
        cltv_expiry_delta,
        maybe_announced_channel: false,
    }
}
