//! Checks of an LSP's order against the client's request, and of each of its payment methods.

use serde::{Deserialize, Serialize};

use super::payment::{MOST_CHARACTERS, OnchainPayment};
use super::{CreateOrder, LightningState, OnchainState, Order};
use crate::units::{Address, DateTime, Msat, Network, PaymentHash, PeerId, Sat, Timestamp};

/// Facts besides the order that a client checks an LSP's order against.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Network of the connection (reading R-09).
    pub network: Network,
    /// Node that an invoice has to pay; `None` skips the check, as an LSP may be paid through another node.
    pub payee: Option<PeerId>,
    /// Current time, by which payment methods expire; `None` skips the check.
    pub now: Option<Timestamp>,
}

impl Expect {
    /// Skips the expiry check unless the method still expects a payment (`is_open`).
    fn if_open(self, is_open: bool) -> Self {
        Self { now: self.now.filter(|_| is_open), ..self }
    }
}

/// Parser of invoices and offers. Feature `invoices` provides one; a node can bring its own.
pub trait ReadInvoices {
    /// Parses a BOLT 11 invoice and checks its signature; `None` if the text is not a valid invoice.
    fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts>;

    /// Parses a BOLT 12 offer; `None` if the text is not a valid offer.
    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts>;
}

/// The facts of an invoice or an offer that the checks need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentFacts {
    /// Requested amount, if there is one in bitcoin.
    pub amount: Option<Msat>,
    /// Whether the invoice or offer can be paid on the network in question.
    pub is_on_network: bool,
    /// Node id of the payee, if the invoice or offer names it.
    pub payee: Option<PeerId>,
    /// Expiry time, if there is one.
    pub expires_at: Option<Timestamp>,
    /// Payment hash of an invoice; `None` for an offer.
    pub payment_hash: Option<PaymentHash>,
}

/// Error for an order of the LSP that differs from the client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the order differs from what was ordered in `{field}`")]
pub struct MirrorMismatch {
    /// Name of the field that differs.
    pub field: &'static str,
}

/// Status of each payment method of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// Status of the BOLT 11 invoice.
    pub bolt11: Status,
    /// Status of the BOLT 12 offer.
    pub bolt12: Status,
    /// Status of the on-chain address.
    pub onchain: Status,
}

/// Status of one payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The order does not offer this method.
    Absent,
    /// The client can pay with this method.
    Usable,
    /// A payment arrived, and waits for the channel or for its confirmation.
    Held,
    /// The payment is complete.
    Paid,
    /// The payment was refunded, and the method can no longer be used.
    Refunded,
    /// The client must not pay with this method.
    Unusable(Unusable),
}

/// Reason why a payment method must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The fee and the client balance do not add up to the total.
    #[error("the fee and the balance are not the total")]
    WrongSum,
    /// The invoice or offer is longer than 2048 characters.
    #[error("it is too long")]
    TooLong,
    /// The text is not a valid invoice, offer or address.
    #[error("it cannot be read")]
    Unreadable,
    /// The amount of the invoice or offer is not the order's total.
    #[error("it is not over the total")]
    WrongAmount,
    /// The invoice, offer or address is of another network.
    #[error("it is of another network")]
    WrongNetwork,
    /// The invoice or offer pays another node.
    #[error("it pays somebody else")]
    WrongPayee,
    /// The payment method has expired.
    #[error("it has expired")]
    Expired,
    /// The total is below the dust limit.
    #[error("the amount is dust")]
    Dust,
    /// The refund address is not the one that the client gave.
    #[error("its refund address is not the one that was given")]
    WrongRefundAddress,
}

impl Order {
    /// Compares the order with the client's request, and checks each payment method. Spec: LSPS1 §2, §4; reading R-11.
    ///
    /// # Errors
    ///
    /// The order differs from the request; the client must not pay it.
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

    /// Compares the order with the client's request. Spec: LSPS1 §2.
    ///
    /// # Errors
    ///
    /// The order differs from the request.
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

/// Terms that all payment methods have.
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

/// Dust limit in satoshis, for every kind of address: nodes do not relay outputs below it.
const DUST: Sat = Sat(546);
