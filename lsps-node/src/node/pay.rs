//! Payment of invoices, in one part or over each of several channels.

use std::time::Duration;

use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{Bolt11PaymentError, PaymentId, RecipientOnionFields, Retry};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::routing::router::{Path, Route, RouteHintHop, RouteHop, RouteParametersConfig};
use lightning::sign::EntropySource as _;
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::PaymentHash;
use lightning_invoice::Bolt11Invoice;

use super::Node;
use bitcoin::hashes::Hash;

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Pays once, on a route that LDK finds; `amount_msat` is used if the invoice names none. Events report the
    /// outcome.
    ///
    /// # Errors
    ///
    /// Nothing was sent; LDK's error text.
    pub fn pay(&self, invoice: &Bolt11Invoice, amount_msat: u64) -> Result<(), String> {
        self.follow_chain();
        let (id, config) = (self.payment_id(), RouteParametersConfig::default());
        let amount = invoice.amount_milli_satoshis().is_none().then_some(amount_msat);
        let sent = self.manager.pay_for_bolt11_invoice(invoice, id, amount, config, Retry::Attempts(0));
        sent.map_err(|e| format!("{e:?}"))
    }

    /// Pays under this id, which is used once, and tries other routes for ten seconds where one fails; `amount_msat` is
    /// given if the invoice names no amount.
    ///
    /// # Errors
    ///
    /// Nothing was sent.
    pub(crate) fn pay_as(
        &self,
        id: PaymentId,
        invoice: &Bolt11Invoice,
        amount_msat: Option<u64>,
    ) -> Result<(), Bolt11PaymentError> {
        self.follow_chain();
        let (config, amount) = (RouteParametersConfig::default(), amount_msat);
        let amount = amount.filter(|_| invoice.amount_milli_satoshis().is_none());
        let retry = Retry::Timeout(Duration::from_secs(10));
        self.manager.pay_for_bolt11_invoice(invoice, id, amount, config, retry)
    }

    /// Pays in as many parts as there are channels, one HTLC on each, over the one hop of the invoice's route hint.
    ///
    /// # Errors
    ///
    /// The invoice has no such hint, or nothing was sent; the error is a text.
    pub fn pay_split(&self, invoice: &Bolt11Invoice, amount_msat: u64) -> Result<(), String> {
        let count = u64::try_from(self.channels_to_hint(invoice)?.len()).map_err(|e| e.to_string())?;
        self.pay_in_parts(invoice, &equal_parts(amount_msat, count))
    }

    /// Pays in these parts, one HTLC each, alternating between the channels to the one hop of the invoice's route hint.
    ///
    /// # Errors
    ///
    /// The invoice has no such hint, or nothing was sent; the error is a text.
    pub fn pay_in_parts(&self, invoice: &Bolt11Invoice, parts_msat: &[u64]) -> Result<(), String> {
        let channels = self.channels_to_hint(invoice)?;
        let delta = hint_of(invoice)?.cltv_expiry_delta.into();
        let paths = parts_msat.iter().zip(channels.iter().cycle()).map(|(amount, channel)| {
            let scid = channel.get_outbound_payment_scid().ok_or("a channel has no SCID")?;
            Ok([vec![hop(channel.counterparty.node_id, scid, 0, delta)], vec![last_hop(invoice, *amount)?]].concat())
        });
        self.pay_along(invoice, paths.collect::<Result<_, String>>()?)
    }

    /// Pays along these paths, one HTLC for each; together they are one payment.
    ///
    /// # Errors
    ///
    /// Nothing was sent; LDK's error text.
    pub fn pay_along(&self, invoice: &Bolt11Invoice, paths: Vec<Vec<RouteHop>>) -> Result<(), String> {
        let hash = PaymentHash(invoice.payment_hash().to_byte_array());
        self.pay_hash_along(hash, RecipientOnionFields::secret_only(*invoice.payment_secret()), paths)
    }

    /// Sends HTLCs of this hash along these paths, with any onion fields for the recipient.
    ///
    /// # Errors
    ///
    /// Nothing was sent; LDK's error text.
    pub fn pay_hash_along(
        &self,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        paths: Vec<Vec<RouteHop>>,
    ) -> Result<(), String> {
        self.follow_chain();
        let paths = paths.into_iter().map(|hops| Path { hops, blinded_tail: None }).collect();
        let route = Route { paths, route_params: None };
        let sent = self.manager.send_payment_with_route(route, hash, onion, self.payment_id());
        sent.map_err(|e| format!("{e:?}"))
    }

    /// Sends one HTLC to a peer over a channel with it, with any onion fields.
    ///
    /// # Errors
    ///
    /// There is no channel, or nothing was sent; the error is a text.
    pub fn pay_peer(
        &self,
        peer: bitcoin::secp256k1::PublicKey,
        hash: PaymentHash,
        onion: RecipientOnionFields,
        amount_msat: u64,
        final_cltv: u32,
    ) -> Result<(), String> {
        let channels = self.manager.list_usable_channels();
        let scid = channels.iter().find(|channel| channel.counterparty.node_id == peer);
        let scid = scid.and_then(ChannelDetails::get_outbound_payment_scid).ok_or("there is no channel to it")?;
        self.pay_hash_along(hash, onion, vec![vec![hop(peer, scid, amount_msat, final_cltv)]])
    }

    fn channels_to_hint(&self, invoice: &Bolt11Invoice) -> Result<Vec<ChannelDetails>, String> {
        let to = hint_of(invoice)?.src_node_id;
        let channels = self.manager.list_usable_channels().into_iter();
        let channels: Vec<_> = channels.filter(|channel| channel.counterparty.node_id == to).collect();
        if channels.is_empty() { Err("there is no channel to the hop of the hint".into()) } else { Ok(channels) }
    }

    /// A fresh payment id, also if an invoice is paid again.
    fn payment_id(&self) -> PaymentId {
        PaymentId(self.keys.get_secure_random_bytes())
    }
}

/// The last hop of a path, over the one hop of the invoice's route hint.
///
/// # Errors
///
/// The invoice has no such hint; the error is a text.
pub fn last_hop(invoice: &Bolt11Invoice, amount_msat: u64) -> Result<RouteHop, String> {
    let delta = u32::try_from(invoice.min_final_cltv_expiry_delta()).map_err(|e| e.to_string())?;
    Ok(hop(invoice.get_payee_pub_key(), hint_of(invoice)?.short_channel_id, amount_msat, delta))
}

/// Splits an amount into equal parts; the first contains the remainder.
#[must_use]
pub fn equal_parts(amount_msat: u64, count: u64) -> Vec<u64> {
    let share = amount_msat.checked_div(count).unwrap_or_default();
    (0..count).map(|n| if n == 0 { share + amount_msat % count } else { share }).collect()
}

fn hint_of(invoice: &Bolt11Invoice) -> Result<RouteHintHop, String> {
    match invoice.route_hints().first().map(|hint| &hint.0[..]) {
        Some([hint]) => Ok(hint.clone()),
        _ => Err("the invoice has no route hint of one hop".into()),
    }
}

/// A hop of a path: the node, the channel to it, and the fee that it keeps, or the amount that it receives as the last.
#[must_use]
pub fn hop(node: bitcoin::secp256k1::PublicKey, scid: u64, fee_msat: u64, cltv_expiry_delta: u32) -> RouteHop {
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
