//! One call that receives: ask, choose, buy, write the invoice, put it on record, hand it out.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning_invoice::{Bolt11Invoice, Description};
use tokio::sync::oneshot;

use lsps_client::jit_receive::{
    CannotInvoice, Choice, FeeLimits, Payment, Prepared, RefusePurchase, Want, Wish, prepare,
};
use lsps_client::select::Offer;
use lsps_client::session::{Failed, NobodySells, WhyNot};
use lsps_types::codes::BuyError;
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Timestamp};

use super::Wallet;
use super::news::WalletEvent;
use super::pump::{Draft, Told};
use crate::config::SettingMissing;
use crate::peers::{peer_id, public_key};

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
    /// Whether that is sooner than was asked for: no LSP's terms within the limits last as long.
    pub ends_early: bool,
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
    /// No LSP makes an offer within the limits and sells on it; why not, for each.
    #[error(transparent)]
    NobodySells(#[from] NobodySells),
    /// The only LSP that was asked did not sell.
    #[error("buying the channel: {0}")]
    Buy(#[source] Failed<BuyError>),
    /// The only LSP that was asked sold a channel on terms that are not acceptable.
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
        let limits = FeeLimits::total(max_total_fee);
        self.receive(Want { payment: Payment::Fixed(amount), limits, expiry: Some(expiry) }, None, description, expiry)
            .await
    }

    /// As [`Self::receive_via_jit_channel`], for a payment hash whose preimage the application has, or will have.
    ///
    /// A payment that is as promised reaches the application as `Event::PaymentClaimable`, to be claimed or failed by it;
    /// where it has to wait for confirmations first, as [`WalletEvent::Claimable`] when they are there. Any other is failed
    /// back before. `Event::PaymentClaimed` reaches the application too, as often as the node tells it: that is what lasts,
    /// while [`Wallet::events`] does not.
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
        let limits = FeeLimits::total(max_total_fee);
        self.receive(
            Want { payment: Payment::Fixed(amount), limits, expiry: Some(expiry) },
            Some(payment_hash),
            description,
            expiry,
        )
        .await
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
        let limits = FeeLimits::share(max_proportional_fee);
        self.receive(
            Want { payment: Payment::Variable { expected }, limits, expiry: Some(expiry) },
            None,
            description,
            expiry,
        )
        .await
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
        let mut shopped = self.session.shop(&self.lsps.asks(&self.rules), &want, self.patience).await;
        self.lsps.learn(&shopped);
        let sold = loop {
            let Some(offer) = shopped.take_next(&*self.select) else { return Err(not_sold(shopped.failures)) };
            let (lsp, is_last) = (offer.lsp, shopped.offers.is_empty());
            match self.buy(offer, &want, expiry, is_last).await? {
                Ok(sold) => break sold,
                Err(why) => {
                    self.lsps.has_broken_its_word(lsp);
                    shopped.failures.insert(lsp, why);
                }
            }
        };
        let Sold { choice, prepared, client_trusts_lsp, lsp } = sold;
        self.lsps.has_sold(peer_id(&lsp));
        let (made, lasts) = (prepared.invoice.timestamp, Duration::from_secs(prepared.invoice.expiry_secs));
        let ends_early = made + lasts < made + expiry;
        let (done, answer) = oneshot::channel();
        let draft = Told::Draft(Box::new(Draft { prepared, hash, description }), done);
        self.told.send(draft).map_err(|_| CannotReceive::Stopped)?;
        let invoice = answer.await.map_err(|_| CannotReceive::Stopped)??;
        let (fee, expires_at, others) = (choice.fee, made + lasts, shopped.failures);
        Ok(JitInvoice { invoice, fee, lsp, expires_at, ends_early, client_trusts_lsp, others })
    }

    /// Buys on the terms of one offer. An inner error is this LSP's; then the next offer is tried.
    async fn buy(
        &self,
        Offer { lsp: id, choice, .. }: Offer,
        want: &Want,
        expiry: Duration,
        is_last: bool,
    ) -> Result<Result<Sold, WhyNot>, CannotReceive> {
        let lsp = public_key(id).ok_or(CannotReceive::Stopped)?;
        self.tell(WalletEvent::Offered { lsp, fee: choice.fee });
        let (buy, session) = (choice.buy(), self.session.lsp(id));
        // Others wait to be asked; the last one may take its time.
        let bought = if is_last { session.buy(&buy).await } else { session.call_within(&buy, self.patience).await };
        let bought = match bought {
            Ok(bought) => bought,
            Err(why) => return Ok(Err(WhyNot::Buy(why))),
        };
        let confirmations_to_wait = self.rules.confirmations_to_wait;
        let slack = if confirmations_to_wait > 0 { BLOCKS_UNTIL_MINED } else { 0 };
        let wish = Wish {
            normal_min_final_cltv_expiry_delta: MIN_FINAL_CLTV_EXPIRY_DELTA + slack,
            confirmations_to_wait,
            expiry: Some(expiry),
            max_proportional_fee: want.limits.max_proportional_fee,
        };
        let client_trusts_lsp = bought.client_trusts_lsp;
        let prepared = prepare(id, &buy, &bought, &wish, &self.lsps.rules_for(id, &self.rules), self.now());
        Ok(prepared.map(|prepared| Sold { choice, prepared, client_trusts_lsp, lsp }).map_err(WhyNot::Terms))
    }

    fn now(&self) -> Timestamp {
        self.session.with(|_, now| now)
    }
}

/// A purchase that is good, and not on record yet.
struct Sold {
    choice: Choice,
    prepared: Prepared,
    client_trusts_lsp: bool,
    lsp: PublicKey,
}

/// Where one LSP was asked, the application hears from it what went wrong.
fn not_sold(mut failures: BTreeMap<PeerId, WhyNot>) -> CannotReceive {
    match failures.pop_first() {
        Some((_, WhyNot::Buy(why))) if failures.is_empty() => CannotReceive::Buy(why),
        Some((_, WhyNot::Terms(why))) if failures.is_empty() => CannotReceive::Terms(why),
        first => {
            failures.extend(first);
            NobodySells { failures }.into()
        }
    }
}

/// A funding that confirmations are waited for may take so long to get into its first block.
const BLOCKS_UNTIL_MINED: u16 = 12;
