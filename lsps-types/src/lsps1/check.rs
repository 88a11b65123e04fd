//! Whether an order is what was ordered, and which of its ways to pay can be used.

use serde::{Deserialize, Serialize};

use super::payment::{MOST_CHARACTERS, OnchainPayment};
use super::{CreateOrder, LightningState, OnchainState, Order};
use crate::units::{Address, DateTime, Msat, Network, PaymentHash, PeerId, Sat, Timestamp};

/// What the client knows besides its order.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// The network of the connection (reading R-09).
    pub network: Network,
    /// Who has to be paid by an invoice; `None` leaves that open, as an LSP may be paid through another node.
    pub payee: Option<PeerId>,
    /// What has ended by then is of no use; `None` does not look.
    pub now: Option<Timestamp>,
}

impl Expect {
    /// What was paid does not expire any more.
    fn if_open(self, is_open: bool) -> Self {
        Self { now: self.now.filter(|_| is_open), ..self }
    }
}

/// Reads invoices and offers. Feature `invoices` has one; nodes bring their own.
pub trait ReadInvoices {
    /// Reads a BOLT 11 invoice and checks its signature. `None`: it is none.
    fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts>;

    /// Reads a BOLT 12 offer. `None`: it is none.
    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts>;
}

/// What matters of an invoice or an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentFacts {
    /// What it asks for, if that is an amount in bitcoin.
    pub amount: Option<Msat>,
    /// Whether it can be paid on the network asked about.
    pub is_on_network: bool,
    /// Who is paid, where it says so.
    pub payee: Option<PeerId>,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// What an invoice is paid with.
    pub payment_hash: Option<PaymentHash>,
}

/// The LSP's order is not the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the order differs from what was ordered in `{field}`")]
pub struct MirrorMismatch {
    /// Where.
    pub field: &'static str,
}

/// What can be done with each way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The invoice.
    pub bolt11: Status,
    /// The offer.
    pub bolt12: Status,
    /// The address.
    pub onchain: Status,
}

/// What can be done with one way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not offered.
    Absent,
    /// It can be paid.
    Usable,
    /// It was paid, and waits for the channel or for its confirmation.
    Held,
    /// It was paid, for good.
    Paid,
    /// It cannot be paid any more; what was paid went back.
    Refunded,
    /// It must not be paid.
    Unusable(Unusable),
}

/// Why a way to pay must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Fee and client balance are not the total.
    #[error("the fee and the balance are not the total")]
    WrongSum,
    /// More than 2048 characters.
    #[error("it is too long")]
    TooLong,
    /// No invoice, offer or address.
    #[error("it cannot be read")]
    Unreadable,
    /// Not over the total.
    #[error("it is not over the total")]
    WrongAmount,
    /// Of another network.
    #[error("it is of another network")]
    WrongNetwork,
    /// Pays somebody else.
    #[error("it pays somebody else")]
    WrongPayee,
    /// It ended.
    #[error("it has expired")]
    Expired,
    /// A transaction cannot carry so little.
    #[error("the amount is dust")]
    Dust,
    /// Money would go back to an address that the client did not give.
    #[error("its refund address is not the one that was given")]
    WrongRefundAddress,
}

impl Order {
    /// Compares with what was ordered, and looks at each way to pay. Spec: LSPS1 §2, §4; reading R-11.
    ///
    /// # Errors
    ///
    /// When it is not the order that was made: pay nothing.
    pub fn judge(
        &self,
        ordered: &CreateOrder,
        expect: &Expect,
        read: &impl ReadInvoices,
    ) -> Result<Statuses, MirrorMismatch> {
        self.mirrors(ordered)?;
        let lightning = |state, terms: &Terms<'_>, text: &str, facts: &dyn Fn() -> Option<PaymentFacts>| {
            let expect = &expect.if_open(state == LightningState::ExpectPayment);
            let checked = terms.check(ordered, expect).and_then(|()| invoice(text, facts, terms.total, expect));
            match (checked, state) {
                (Err(why), _) => Status::Unusable(why),
                (Ok(()), LightningState::ExpectPayment) => Status::Usable,
                (Ok(()), LightningState::Hold) => Status::Held,
                (Ok(()), LightningState::Paid) => Status::Paid,
                (Ok(()), LightningState::Refunded) => Status::Refunded,
            }
        };
        let bolt11 = self.payment.bolt11.as_ref().map_or(Status::Absent, |way| {
            let terms = Terms { fee: way.fee_total_sat, total: way.order_total_sat, expires_at: &way.expires_at };
            lightning(way.state, &terms, &way.invoice, &|| read.bolt11(&way.invoice, expect.network))
        });
        let bolt12 = self.payment.bolt12.as_ref().map_or(Status::Absent, |way| {
            let terms = Terms { fee: way.fee_total_sat, total: way.order_total_sat, expires_at: &way.expires_at };
            lightning(way.state, &terms, &way.offer, &|| read.bolt12(&way.offer, expect.network))
        });
        let onchain = self.payment.onchain.as_ref().map_or(Status::Absent, |way| onchain(way, ordered, expect));
        Ok(Statuses { bolt11, bolt12, onchain })
    }

    /// Compares with what was ordered. Spec: LSPS1 §2.
    ///
    /// # Errors
    ///
    /// When it is not the order that was made.
    pub fn mirrors(&self, ordered: &CreateOrder) -> Result<(), MirrorMismatch> {
        let same = [
            (self.lsp_balance_sat == ordered.lsp_balance_sat, "lsp_balance_sat"),
            (self.client_balance_sat == ordered.client_balance_sat, "client_balance_sat"),
            (
                self.required_channel_confirmations == ordered.required_channel_confirmations,
                "required_channel_confirmations",
            ),
            (
                self.funding_confirms_within_blocks == ordered.funding_confirms_within_blocks,
                "funding_confirms_within_blocks",
            ),
            (self.channel_expiry_blocks == ordered.channel_expiry_blocks, "channel_expiry_blocks"),
            (self.token == ordered.token.as_deref().unwrap_or_default(), "token"),
            (self.announce_channel == ordered.announce_channel, "announce_channel"),
        ];
        same.into_iter().find(|(same, _)| !same).map_or(Ok(()), |(_, field)| Err(MirrorMismatch { field }))
    }
}

/// What all ways to pay have in common.
struct Terms<'a> {
    fee: Sat,
    total: Sat,
    expires_at: &'a DateTime,
}

impl Terms<'_> {
    fn check(&self, ordered: &CreateOrder, expect: &Expect) -> Result<(), Unusable> {
        if self.fee.checked_add(ordered.client_balance_sat) != Some(self.total) {
            return Err(Unusable::WrongSum);
        }
        if expect.now.is_some_and(|now| now >= self.expires_at.instant()) { Err(Unusable::Expired) } else { Ok(()) }
    }
}

fn invoice(text: &str, facts: &dyn Fn() -> Option<PaymentFacts>, total: Sat, expect: &Expect) -> Result<(), Unusable> {
    if text.chars().count() > MOST_CHARACTERS {
        return Err(Unusable::TooLong);
    }
    let facts = facts().ok_or(Unusable::Unreadable)?;
    if !facts.is_on_network {
        return Err(Unusable::WrongNetwork);
    }
    if facts.amount.is_none() || facts.amount != total.to_msat() {
        return Err(Unusable::WrongAmount);
    }
    if expect.payee.is_some_and(|payee| facts.payee.is_some_and(|paid| paid != payee)) {
        return Err(Unusable::WrongPayee);
    }
    let ended = |now: Timestamp| facts.expires_at.is_some_and(|end| now >= end);
    if expect.now.is_some_and(ended) { Err(Unusable::Expired) } else { Ok(()) }
}

fn onchain(way: &OnchainPayment, ordered: &CreateOrder, expect: &Expect) -> Status {
    let expect = &expect.if_open(way.state == OnchainState::ExpectPayment);
    let terms = Terms { fee: way.fee_total_sat, total: way.order_total_sat, expires_at: &way.expires_at };
    let address = |text: &str| text.parse::<Address>().map_err(|_| Unusable::Unreadable);
    let checked = terms.check(ordered, expect).and_then(|()| {
        if !address(&way.address)?.is_on(expect.network) {
            return Err(Unusable::WrongNetwork);
        }
        if way.order_total_sat < DUST {
            return Err(Unusable::Dust);
        }
        match &way.refund_onchain_address {
            Some(refund) if Some(address(refund)?) != ordered.refund_onchain_address => {
                Err(Unusable::WrongRefundAddress)
            }
            Some(_) | None => Ok(()),
        }
    });
    match (checked, way.state) {
        (Err(why), _) => Status::Unusable(why),
        (Ok(()), OnchainState::ExpectPayment) => Status::Usable,
        (Ok(()), OnchainState::Seen) => Status::Held,
        (Ok(()), OnchainState::Paid) => Status::Paid,
        (Ok(()), OnchainState::Refunded) => Status::Refunded,
    }
}

/// Outputs of less are not relayed, whatever kind of address they are to.
const DUST: Sat = Sat(546);
