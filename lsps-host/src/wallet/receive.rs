//! Calls that receive over a JIT channel: ask, choose, buy, make the invoice, put the purchase on record, return the
//! invoice.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_client::jit_receive::{
    CannotInvoice, Choice, FeeLimits, InvoiceParams, InvoiceTerms, Payment, Prepared, ReceiveRequest, RefusePurchase,
    prepare,
};
use lsps_client::select::Offer;
use lsps_client::session::{Failed, NobodySells, Session, WhyNot};
use lsps_types::codes::BuyError;
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Timestamp};

use super::events::WalletEvent;
use super::{NotDone, Wallet};
use crate::ports::{NoInvoice, SettingMissing, WalletNode};

/// An invoice whose payment opens a channel, with the agreed terms.
#[derive(Clone, Debug)]
pub struct JitInvoice {
    /// BOLT 11 invoice for the payer.
    pub invoice: String,
    /// Opening fee for the requested amount, in millisatoshis, which the LSP skims from the payment.
    pub fee: Msat,
    /// LSP that opens the channel.
    pub lsp: PeerId,
    /// Expiry time of the invoice.
    pub expires_at: Timestamp,
    /// Whether the invoice expires sooner than requested, as no LSP's terms within the limits are valid as long.
    pub ends_early: bool,
    /// Whether the payment is claimed before the channel's funding is published.
    pub client_trusts_lsp: bool,
    /// Reason of each other LSP that made no offer.
    pub others: BTreeMap<PeerId, WhyNot>,
}

/// Error of a call that creates a JIT invoice. No cost arises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReceive {
    /// The node would not accept the channel.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// The description exceeds the 639 bytes of BOLT 11.
    #[error("the description is too long")]
    DescriptionTooLong,
    /// No LSP makes an offer within the limits and sells on it. The error has the reason of each LSP.
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
    /// The node could not make the invoice; its error text.
    #[error("the node cannot make the invoice: {0}")]
    Invoice(String),
    /// The store failed, and an invoice must not be handed out without its record. The purchase is abandoned.
    #[error("the purchase could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl Wallet {
    /// Creates an invoice over `amount`, payable in parts, from which the LSP skims at most `max_total_fee`.
    ///
    /// The invoice is valid for `expiry`, or less if the LSP's offer ends sooner. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// No LSP sells on acceptable terms, or the wallet or its node cannot make the invoice.
    pub async fn receive_via_jit_channel(
        &self,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits::total(max_total_fee);
        self.receive(Payment::Fixed(amount), limits, None, description, expiry).await
    }

    /// Like [`Self::receive_via_jit_channel`], for a payment hash whose preimage the application has, or will have.
    ///
    /// A payment as promised is reported to the application, which claims or fails it: as `Event::PaymentClaimable`,
    /// or as [`WalletEvent::Claimable`] if it has to wait for confirmations first. Any other payment is failed before
    /// that. `Event::PaymentClaimed` reaches the application too, as often as the node reports it. These events of the
    /// node are durable, while those of [`Wallet::events`] are not.
    /// # Errors
    ///
    /// No LSP sells on acceptable terms, or the wallet or its node cannot make the invoice.
    pub async fn receive_via_jit_channel_for_hash(
        &self,
        payment_hash: PaymentHash,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits::total(max_total_fee);
        self.receive(Payment::Fixed(amount), limits, Some(payment_hash), description, expiry).await
    }

    /// Creates an invoice without amount, payable in one part, from which the LSP skims at most the share
    /// `max_proportional_fee`. A payment is failed if the LSP's minimum fee is a larger share of it.
    ///
    /// Terms are compared at a payment of `expected`. Otherwise like [`Self::receive_via_jit_channel`].
    ///
    /// # Errors
    ///
    /// No LSP sells on acceptable terms, or the wallet or its node cannot make the invoice.
    pub async fn receive_variable_via_jit_channel(
        &self,
        expected: Msat,
        description: &str,
        expiry: Duration,
        max_proportional_fee: Ppm,
    ) -> Result<JitInvoice, CannotReceive> {
        let limits = FeeLimits::share(max_proportional_fee);
        self.receive(Payment::Variable { expected }, limits, None, description, expiry).await
    }

    async fn receive(
        &self,
        payment: Payment,
        limits: FeeLimits,
        hash: Option<PaymentHash>,
        description: &str,
        expiry: Duration,
    ) -> Result<JitInvoice, CannotReceive> {
        let request = ReceiveRequest { payment, limits, expiry: Some(expiry) };
        if description.len() > LONGEST_DESCRIPTION {
            return Err(CannotReceive::DescriptionTooLong);
        }
        self.look(|node| node.takes_channel(false, None)).await.ok_or(CannotReceive::Stopped)??;
        self.tell(WalletEvent::Asked);
        self.know_who_is_connected().await.ok_or(CannotReceive::Stopped)?;
        let delta = self.look(WalletNode::min_final_cltv_expiry_delta).await.ok_or(CannotReceive::Stopped)?;
        let mut shopped = self.session.shop(&self.lsps.asks(&self.rules), &request, self.patience).await;
        self.lsps.learn(&shopped);
        let sold = loop {
            let Some(offer) = shopped.take_next(&*self.select) else { return Err(not_sold(shopped.failures)) };
            let (lsp, is_last) = (offer.lsp, shopped.offers.is_empty());
            match self.buy(offer, &request, (expiry, delta), is_last).await {
                Ok(sold) => break sold,
                Err(why) => {
                    self.lsps.has_broken_its_word(lsp);
                    shopped.failures.insert(lsp, why);
                }
            }
        };
        let Sold { choice, prepared, client_trusts_lsp, lsp } = sold;
        self.lsps.has_sold(lsp);
        let (made, lasts) = (prepared.invoice.timestamp, Duration::from_secs(prepared.invoice.expiry_secs));
        let ends_early = made + lasts < made + expiry;
        let (invoice, _) = self.purchase(prepared, hash, description.to_owned()).await?;
        let (fee, expires_at, others) = (choice.fee, made + lasts, shopped.failures);
        Ok(JitInvoice { invoice, fee, lsp, expires_at, ends_early, client_trusts_lsp, others })
    }

    /// Creates the invoice of a purchase and puts the purchase on record.
    async fn purchase(
        &self,
        prepared: Prepared,
        hash: Option<PaymentHash>,
        description: String,
    ) -> Result<(String, PaymentHash), CannotReceive> {
        let (hash, invoice) = self.invoice(prepared.invoice, hash, description).await?;
        let purchase = move |session: &Session, _: &dyn WalletNode| {
            session.with(|client, now| client.register(&prepared, hash, now))?;
            Ok((invoice, hash))
        };
        let call_off = |session: &Session, (_, hash): &(String, PaymentHash)| {
            let _ = session.with(|client, now| client.abandon(*hash, now));
        };
        self.change(purchase, call_off).await
    }

    /// Has the node make the invoice. No record of it is needed before the purchase's.
    async fn invoice(
        &self,
        terms: InvoiceTerms,
        hash: Option<PaymentHash>,
        description: String,
    ) -> Result<(PaymentHash, String), CannotReceive> {
        loop {
            let text = description.clone();
            let made = self.look(move |node| node.invoice(&terms, hash, &text)).await;
            match made.ok_or(CannotReceive::Stopped)? {
                Ok(made) => return Ok(made),
                Err(NoInvoice::Refused(why)) => return Err(CannotReceive::Invoice(why)),
                Err(NoInvoice::NotYet) => self.lsps.clock.sleep(ASKED_AGAIN).await,
            }
        }
    }

    /// Buys on the terms of one offer. An error concerns this LSP only, and the next offer is tried.
    async fn buy(
        &self,
        Offer { lsp, choice, .. }: Offer,
        request: &ReceiveRequest,
        (expiry, delta): (Duration, u16),
        is_last: bool,
    ) -> Result<Sold, WhyNot> {
        self.tell(WalletEvent::Offered { lsp, fee: choice.fee });
        let (buy, session) = (choice.buy(), self.session.lsp(lsp));
        // Only the last offer is waited for without this limit, as no other LSP is left to ask.
        let bought = if is_last { session.buy(&buy).await } else { session.call_within(&buy, self.patience).await };
        let bought = bought.map_err(WhyNot::Buy)?;
        let confirmations_to_wait = self.rules.confirmations_to_wait;
        let slack = if confirmations_to_wait > 0 { BLOCKS_UNTIL_MINED } else { 0 };
        let params = InvoiceParams {
            normal_min_final_cltv_expiry_delta: delta.saturating_add(slack),
            confirmations_to_wait,
            expiry: Some(expiry),
            max_proportional_fee: request.limits.max_proportional_fee,
        };
        let client_trusts_lsp = bought.client_trusts_lsp;
        let prepared = prepare(lsp, &buy, &bought, &params, &self.lsps.rules_for(lsp, &self.rules), self.now())?;
        Ok(Sold { choice, prepared, client_trusts_lsp, lsp })
    }

    fn now(&self) -> Timestamp {
        self.session.with(|_, now| now)
    }
}

/// A purchase that passed the checks and is not on record yet.
struct Sold {
    choice: Choice,
    prepared: Prepared,
    client_trusts_lsp: bool,
    lsp: PeerId,
}

/// Error for the application. If only one LSP was asked, its reason is returned directly.
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

impl From<NotDone> for CannotReceive {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotStored => Self::NotStored,
            NotDone::Stopped => Self::Stopped,
        }
    }
}

/// Interval of the calls to a node that has not finished an invoice.
const ASKED_AGAIN: Duration = Duration::from_millis(50);
/// Longest description that BOLT 11 allows, in bytes.
const LONGEST_DESCRIPTION: usize = 639;
/// Number of blocks that a funding transaction may take until its first confirmation.
const BLOCKS_UNTIL_MINED: u16 = 12;
