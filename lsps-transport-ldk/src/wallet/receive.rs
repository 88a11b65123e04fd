//! One call that receives: ask, choose, buy, write the invoice, put it on record, hand it out.

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning_invoice::{Bolt11Invoice, Description};
use tokio::sync::oneshot;

use lsps_client::jit_receive::{
    CannotInvoice, FeeLimits, NoOffer, Payment, RefusePurchase, Want, Wish, choose, prepare,
};
use lsps_client::session::Failed;
use lsps_types::codes::{BuyError, GetInfoError};
use lsps_types::{Msat, Ppm, Timestamp};

use super::Wallet;
use super::news::WalletEvent;
use super::pump::{Draft, Told};
use crate::peers::peer_id;

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
}

/// Why there is no invoice. Nothing is owed to anybody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReceive {
    /// BOLT 11 takes 639 bytes at the most.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// The LSP did not tell its terms.
    #[error("asking for the terms: {0}")]
    GetInfo(#[source] Failed<GetInfoError>),
    /// None of its terms is within the limits.
    #[error(transparent)]
    NoOffer(#[from] NoOffer),
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
        self.receive(Want { payment: Payment::Fixed(amount), limits }, description, expiry).await
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
        self.receive(Want { payment: Payment::Variable { expected }, limits }, description, expiry).await
    }

    async fn receive(&self, want: Want, description: &str, expiry: Duration) -> Result<JitInvoice, CannotReceive> {
        let description = Description::new(description.into()).map_err(|_| CannotReceive::DescriptionTooLong)?;
        let lsp = self.lsp();
        self.tell(WalletEvent::Asked { lsp: self.lsp });
        let menu = lsp.get_info(self.token.clone()).await.map_err(CannotReceive::GetInfo)?;
        let choice = choose(&menu, &want, &self.rules, self.now())?;
        self.tell(WalletEvent::Offered { lsp: self.lsp, fee: choice.fee });
        let buy = choice.buy();
        let bought = lsp.buy(&buy).await.map_err(CannotReceive::Buy)?;
        let wish = Wish {
            normal_min_final_cltv_expiry_delta: MIN_FINAL_CLTV_EXPIRY_DELTA,
            confirmations_to_wait: 0,
            expiry: Some(expiry),
            max_proportional_fee: want.limits.max_proportional_fee,
        };
        let prepared = prepare(peer_id(&self.lsp), &buy, &bought, &wish, &self.rules, self.now())?;
        let expires_at = prepared.invoice.timestamp + Duration::from_secs(prepared.invoice.expiry_secs);
        let (done, answer) = oneshot::channel();
        let draft = Told::Draft(Box::new(Draft { prepared, description }), done);
        self.told.send(draft).map_err(|_| CannotReceive::Stopped)?;
        let invoice = answer.await.map_err(|_| CannotReceive::Stopped)??;
        let client_trusts_lsp = bought.client_trusts_lsp;
        Ok(JitInvoice { invoice, fee: choice.fee, lsp: self.lsp, expires_at, client_trusts_lsp })
    }

    fn now(&self) -> Timestamp {
        self.session.with(|_, now| now)
    }
}
