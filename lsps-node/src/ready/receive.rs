//! Receiving: over channels that have the capacity, else over one that is bought.

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use lsps_transport_ldk::types::Ppm;
use lsps_transport_ldk::wallet::{CannotReceive as CannotBuy, JitInvoice};
use lsps_transport_ldk::{Msat, Wallet};

use super::history::{Payment, PaymentKind, PaymentStatus, now};
use super::{Host, Node};

/// An invoice of this node, and how its payment arrives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Invoice {
    /// The invoice for the payer.
    pub invoice: Bolt11Invoice,
    /// Fee that is kept of the payment: zero unless a channel is opened for it.
    pub fee: Msat,
    /// Way of the payment.
    pub way: Way,
}

/// Way of a payment to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Over the node's channels.
    Channels,
    /// Over a channel that an LSP opens when the payment arrives.
    NewChannel {
        /// The LSP.
        lsp: PublicKey,
        /// Whether the payment is claimed before the channel's funding transaction is seen.
        on_trust: bool,
    },
}

/// Reason for which there is no invoice. Nothing was paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReceive {
    /// The amount is zero.
    #[error("an amount of 0 cannot be received: ask for at least 1 sat, or for a payment of any amount")]
    Nothing,
    /// The description does not fit.
    #[error("the description has {0} bytes, and at most 639 fit into an invoice")]
    DescriptionTooLong(usize),
    /// The channels have too little inbound capacity, and no LSP is known.
    #[error("the channels can take {} sat, asked for {} sat, and no LSP is known to buy a channel from: add one", capacity.0 / 1_000, asked.0 / 1_000)]
    NoLsp {
        /// Inbound capacity.
        capacity: Msat,
        /// Amount that was asked for.
        asked: Msat,
    },
    /// The channels have too little inbound capacity, and a channel cannot be bought.
    #[error("the channels can take {} sat, asked for {} sat, and no channel was bought: {why}", capacity.0 / 1_000, asked.0 / 1_000)]
    NotBought {
        /// Inbound capacity.
        capacity: Msat,
        /// Amount that was asked for.
        asked: Msat,
        /// Reason, with that of each LSP.
        why: Box<CannotBuy>,
    },
    /// LDK made no invoice.
    #[error("the node cannot make the invoice: {0}")]
    Invoice(String),
    /// The invoice could not be put on record.
    #[error("the invoice could not be stored: {0}")]
    NotStored(#[from] bitcoin::io::Error),
}

impl Node {
    /// Makes an invoice over `amount`. It is paid over the node's channels where they have the capacity. Otherwise a
    /// channel is bought from the LSP with the lowest fee, which keeps the fee of the payment when it arrives.
    ///
    /// # Errors
    ///
    /// There is too little capacity, and no LSP sells a channel within the fee limit; the error has the reason of each.
    pub async fn receive(&self, amount: Msat, description: &str) -> Result<Invoice, CannotReceive> {
        if amount == Msat::ZERO {
            return Err(CannotReceive::Nothing);
        }
        let checked = check(description)?;
        let capacity = self.can_receive();
        if amount <= capacity {
            return self.over_channels(Some(amount), checked);
        }
        let wallet = self.buys(capacity, amount)?;
        let limit = self.inner.fee_limit.of(amount);
        let bought = wallet.receive_via_jit_channel(amount, description, EXPIRY, limit).await;
        self.bought(bought, Some(amount), description, capacity, amount)
    }

    /// Makes an invoice without an amount, which its payer chooses. It is paid over the node's channels if they can take
    /// `expected`; a larger payment fails. Otherwise a channel is bought, as by [`Self::receive`].
    ///
    /// # Errors
    ///
    /// As for [`Self::receive`].
    pub async fn receive_variable(&self, expected: Msat, description: &str) -> Result<Invoice, CannotReceive> {
        let checked = check(description)?;
        let capacity = self.can_receive();
        if expected <= capacity && capacity > Msat::ZERO {
            return self.over_channels(None, checked);
        }
        let wallet = self.buys(capacity, expected)?;
        let limit = self.inner.fee_limit.of(expected);
        let share = u128::from(limit.0) * 1_000_000 / u128::from(expected.0.max(1));
        let share = Ppm(u32::try_from(share).unwrap_or(MILLION).min(MILLION));
        let bought = wallet.receive_variable_via_jit_channel(expected, description, EXPIRY, share).await;
        self.bought(bought, None, description, capacity, expected)
    }

    /// Largest payment that the node's channels can take now, in parts where there are several.
    #[must_use]
    pub fn can_receive(&self) -> Msat {
        let channels = self.inner.ldk.channel_manager().list_usable_channels();
        let mut each: Vec<u64> = channels.iter().map(inbound_msat).collect();
        each.sort_unstable();
        // LDK names this many channels in an invoice.
        Msat(each.iter().rev().take(HINTS).fold(0, |sum, each| sum.saturating_add(*each)))
    }

    fn buys(&self, capacity: Msat, asked: Msat) -> Result<&Wallet, CannotReceive> {
        match &self.inner.host {
            Host::Wallet(wallet) if !self.inner.lsps.is_empty() => Ok(wallet),
            Host::Wallet(_) | Host::Lsp(_) => Err(CannotReceive::NoLsp { capacity, asked }),
        }
    }

    fn over_channels(&self, amount: Option<Msat>, description: Description) -> Result<Invoice, CannotReceive> {
        let text = description.to_string();
        let parameters = Bolt11InvoiceParameters {
            amount_msats: amount.map(|amount| amount.0),
            description: Bolt11InvoiceDescription::Direct(description),
            invoice_expiry_delta_secs: u32::try_from(EXPIRY.as_secs()).ok(),
            ..Bolt11InvoiceParameters::default()
        };
        let invoice = self.inner.ldk.channel_manager().create_bolt11_invoice(parameters);
        let invoice = invoice.map_err(|why| CannotReceive::Invoice(format!("{why:?}")))?;
        self.expect(&invoice, amount, &text)?;
        Ok(Invoice { invoice, fee: Msat::ZERO, way: Way::Channels })
    }

    fn bought(
        &self,
        bought: Result<JitInvoice, CannotBuy>,
        amount: Option<Msat>,
        description: &str,
        capacity: Msat,
        asked: Msat,
    ) -> Result<Invoice, CannotReceive> {
        let jit = bought.map_err(|why| CannotReceive::NotBought { capacity, asked, why: Box::new(why) })?;
        self.expect(&jit.invoice, amount, description)?;
        let way = Way::NewChannel { lsp: jit.lsp, on_trust: jit.client_trusts_lsp };
        Ok(Invoice { invoice: jit.invoice, fee: jit.fee, way })
    }

    /// Puts the invoice on record before anybody has it.
    fn expect(&self, invoice: &Bolt11Invoice, amount: Option<Msat>, description: &str) -> bitcoin::io::Result<()> {
        self.inner.state.history.put(Payment {
            id: invoice.payment_hash().to_string(),
            kind: PaymentKind::Received,
            status: PaymentStatus::Pending,
            amount_msat: amount.map(|amount| amount.0),
            fee_msat: None,
            description: description.into(),
            created_at: now(),
            expires_at: invoice.expires_at().map(|end| end.as_secs()),
        })
    }
}

fn check(description: &str) -> Result<Description, CannotReceive> {
    Description::new(description.into()).map_err(|_| CannotReceive::DescriptionTooLong(description.len()))
}

/// Amount that a peer can send over the channel. Where the peer pays for the commitment transaction, it has to afford that
/// with the new HTLC and another, at twice the feerate (BOLT 2), and with its anchors.
fn inbound_msat(channel: &ChannelDetails) -> u64 {
    let capacity = channel.inbound_capacity_msat;
    let per_kw = u64::from(channel.feerate_sat_per_1000_weight.unwrap_or(0));
    let has_anchors = channel.channel_type.as_ref().is_some_and(|kind| kind.supports_anchors_zero_fee_htlc_tx());
    let (weight, anchors_sat) = if has_anchors { (1_124, 660) } else { (724, 0) };
    let fee_sat = 2 * per_kw * (weight + 2 * 172) / 1_000 + anchors_sat;
    let spare = if channel.is_outbound { 0 } else { fee_sat * 1_000 };
    let spendable = capacity.saturating_sub(spare);
    if spendable < channel.inbound_htlc_minimum_msat.unwrap_or(0) {
        return 0;
    }
    spendable.min(channel.inbound_htlc_maximum_msat.unwrap_or(u64::MAX))
}

/// Life of an invoice.
const EXPIRY: Duration = Duration::from_secs(60 * 60);
const HINTS: usize = 3;
const MILLION: u32 = 1_000_000;
