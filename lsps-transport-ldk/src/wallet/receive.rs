//! One call that receives: ask, choose, buy, write the invoice, put it on record, hand it out.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning_invoice::{Bolt11Invoice, Description};
use tokio::sync::oneshot;

use lsps_client::jit_receive::{CannotInvoice, FeeLimits, Payment, RefusePurchase, Want, Wish, prepare};
use lsps_client::select::Offer;
use lsps_client::session::{Failed, NobodySells, WhyNot};
use lsps_types::codes::BuyError;
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Timestamp};

use super::Wallet;
use super::news::WalletEvent;
use super::pump::{Draft, Told};
use crate::config::SettingMissing;
use crate::peers::public_key;

/// An invoice whose payment opens a channel, and what was agreed for it.
#[derive(Clone, Debug)]
pub struct JitInvoice {
    /// To be handed to the payer.
    pub invoice: Bolt11Invoice,
    /// The opening fee on the amount that was asked for. The LSP keeps it of the payment.
    pub fee: Msat,
    /// Who opens the channel.
    pub lsp: PublicKey,
    /// When the invoice ends.
    pub expires_at: Timestamp,
    /// Whether the payment is claimed before the channel's funding is seen.
    pub client_trusts_lsp: bool,
    /// Why other LSPs made no offer.
    pub others: BTreeMap<PeerId, WhyNot>,
}

/// Why there is no invoice. Nothing is owed to anybody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReceive {
    /// The node would not take the channel.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// BOLT 11 takes 639 bytes at the most.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// No LSP makes an offer within the limits; why not, for each.
    #[error(transparent)]
    NobodySells(#[from] NobodySells),
    /// The LSP did not sell.
    #[error("buying the channel: {0}")]
    Buy(#[source] Failed<BuyError>),
    /// What it sold is not acceptable.
    #[error(transparent)]
    Terms(#[from] CannotInvoice),
    /// The purchase cannot be put on record.
    #[error(transparent)]
    Purchase(#[from] RefusePurchase),
    /// The node could not make the invoice; in its words.
    #[error("the node cannot make the invoice: {0}")]
    Invoice(String),
    /// The store failed, and an invoice must not be out without its record.
    #[error("the purchase could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl Wallet {
    /// An invoice over `amount`, payable in parts, of which the LSP keeps no more than `max_total_fee`.
    ///
    /// It stands for `expiry`, or less where the LSP's offer ends sooner. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer or sell, or not on acceptable terms.
    pub async fn receive_via_jit_channel(
        &self,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits { max_total_fee: Some(max_total_fee), max_proportional_fee: None };
        self.receive(Want { payment: Payment::Fixed(amount), limits }, None, description, expiry).await
    }

    /// As [`Self::receive_via_jit_channel`], for a payment hash whose preimage the application has, or will have.
    ///
    /// A payment that is as promised reaches the application as `Event::PaymentClaimable`, to be claimed or failed by it;
    /// any other is failed back before.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer or sell, or not on acceptable terms.
    pub async fn receive_via_jit_channel_for_hash(
        &self,
        payment_hash: PaymentHash,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits { max_total_fee: Some(max_total_fee), max_proportional_fee: None };
        self.receive(Want { payment: Payment::Fixed(amount), limits }, Some(payment_hash), description, expiry).await
    }

    /// An invoice without amount, payable in one piece, of which the LSP keeps no more than a share of
    /// `max_proportional_fee`: where its least fee is more than that of what the payer sends, the payment goes back.
    ///
    /// Terms are compared at a payment of `expected`. Else as [`Self::receive_via_jit_channel`].
    ///
    /// # Errors
    ///
    /// When the LSP does not answer or sell, or not on acceptable terms.
    pub async fn receive_variable_via_jit_channel(
        &self,
        expected: Msat,
        description: &str,
        expiry: Duration,
        max_proportional_fee: Ppm,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits { max_total_fee: None, max_proportional_fee: Some(max_proportional_fee) };
        self.receive(Want { payment: Payment::Variable { expected }, limits }, None, description, expiry).await
    }

    async fn receive(
        &self,
        want: Want,
        hash: Option<PaymentHash>,
        description: &str,
        expiry: Duration,
    ) -> Result<JitInvoice, CannotReceive> {
        let description = Description::new(description.into()).map_err(|_| CannotReceive::DescriptionTooLong)?;
        self.takes.require(false, None)?;
        self.tell(WalletEvent::Asked);
        self.know_who_is_connected().await.ok_or(CannotReceive::Stopped)?;
        let shopped = self.session.shop(&self.lsps.asks(&self.rules), &want, self.patience).await;
        self.lsps.learn(&shopped);
        let (Offer { lsp: id, choice }, others) = shopped.take(&*self.select)?;
        let lsp = public_key(id).ok_or(CannotReceive::Stopped)?;
        self.tell(WalletEvent::Offered { lsp, fee: choice.fee });
        let buy = choice.buy();
        let bought = self.session.lsp(id).buy(&buy).await.map_err(CannotReceive::Buy)?;
        let confirmations_to_wait = self.rules.confirmations_to_wait;
        let slack = if confirmations_to_wait > 0 { BLOCKS_UNTIL_MINED } else { 0 };
        let wish = Wish {
            normal_min_final_cltv_expiry_delta: MIN_FINAL_CLTV_EXPIRY_DELTA + slack,
            confirmations_to_wait,
            expiry: Some(expiry),
            max_proportional_fee: want.limits.max_proportional_fee,
        };
        let prepared = prepare(id, &buy, &bought, &wish, &self.lsps.rules_for(id, &self.rules), self.now())?;
        let expires_at = prepared.invoice.timestamp + Duration::from_secs(prepared.invoice.expiry_secs);
        let (done, answer) = oneshot::channel();
        let draft = Told::Draft(Box::new(Draft { prepared, hash, description }), done);
        self.told.send(draft).map_err(|_| CannotReceive::Stopped)?;
        let invoice = answer.await.map_err(|_| CannotReceive::Stopped)??;
        let client_trusts_lsp = bought.client_trusts_lsp;
        Ok(JitInvoice { invoice, fee: choice.fee, lsp, expires_at, client_trusts_lsp, others })
    }

    fn now(&self) -> Timestamp {
        self.session.with(|_, now| now)
    }
}

/// A funding that confirmations are waited for may take so long to get into its first block.
const BLOCKS_UNTIL_MINED: u16 = 12;
