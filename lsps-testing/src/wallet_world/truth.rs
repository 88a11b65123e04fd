//! The world's own ledger: what the user agreed to, and acts of the wallet that it must not do. None of it is read from the
//! wallet's records.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{ScriptBuf, Transaction, Txid};
use lsps_client::AcceptTerms;
use lsps_host::ports::{ChannelRequest, PaymentEnd, PaymentId, WalletNodeEvent};
use lsps_types::lsps1::{CreateOrder, Order as Reply};
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Sat};

use super::invoice;
use super::model::Model;
use super::node::{Htlc, Pays};

/// The ledger.
#[derive(Default)]
pub struct Truth {
    /// Confirmations that the wallet waits for.
    pub wait: u16,
    /// Whether the wallet can see transactions that are not confirmed.
    pub sees_mempool: bool,
    /// LSPs that the user trusts with fundings.
    pub trusted: BTreeSet<PeerId>,
    /// JIT invoices that were handed out.
    pub sold: Vec<Sold>,
    /// Orders that LSPs made.
    pub orders: Vec<Ordered>,
    /// Purchases and orders that the user asked each LSP, or all of them, for; each may lead to a channel.
    pub asked: usize,
    /// Fundings that became known to the node, by LSP.
    pub funded: BTreeMap<PeerId, BTreeSet<u64>>,
    /// Capacities of channels, by funding.
    pub capacities: BTreeMap<u64, Sat>,
    /// Channels accepted, by LSP.
    pub accepted: BTreeMap<PeerId, usize>,
    /// Payments that were begun, and the invoice or offer of each.
    pub begun: BTreeMap<PaymentId, String>,
    /// Claims of which a fee was kept, by LSP.
    pub fees: BTreeMap<PeerId, BTreeSet<PaymentHash>>,
    /// Payments to hashes of the application's that it was told it may claim.
    pub app_may_claim: BTreeSet<PaymentHash>,
    /// Nothing is hostile any more.
    pub is_resting: bool,
}

/// An invoice of a purchase.
#[derive(Clone, Copy, Debug)]
pub struct Sold {
    pub hash: PaymentHash,
    pub lsp: PeerId,
    /// `None`: any.
    pub amount: Option<Msat>,
    /// The fee that the user was told.
    pub fee: Msat,
    pub is_hold: bool,
    pub is_abandoned: bool,
}

/// An order as its LSP made it.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub lsp: PeerId,
    pub ordered: CreateOrder,
    /// As it was answered first.
    pub made: Reply,
    /// As the LSP tells it now, where it lies.
    pub told: Reply,
    pub script: ScriptBuf,
}

impl Ordered {
    pub fn is_paid_by(&self, text: &str) -> bool {
        let payment = &self.made.payment;
        payment.bolt11.as_ref().is_some_and(|way| way.invoice == text)
            || payment.bolt12.as_ref().is_some_and(|way| way.offer == text)
    }
}

impl Model {
    /// A channel is accepted: somebody has asked for one, and it is not to be announced.
    pub fn check_accepts(&mut self, request: &ChannelRequest, _: &AcceptTerms) {
        let is_ordered = self.truth.orders.iter().any(|it| it.lsp == request.peer && it.ordered.announce_channel);
        assert!(!request.announced || is_ordered, "an announced channel is accepted");
        let accepted = self.truth.accepted.entry(request.peer).or_default();
        *accepted += 1;
        assert!(self.truth.asked > 0, "a channel is accepted that nobody asked for");
    }

    /// The host claims, or the application does where it was told that it may.
    pub fn claims(&mut self, hash: PaymentHash) {
        let parts = self.node.held(hash);
        if parts.is_empty() {
            return;
        }
        if let Err(why) = self.may_claim(hash, &parts) {
            panic!("a payment is claimed that must not be: {why}; {hash} {parts:?}");
        }
        if let Some(sold) = self.sold(hash).filter(|_| parts.iter().any(|part| part.skim > Msat::ZERO)) {
            self.truth.fees.entry(sold.lsp).or_default().insert(hash);
        }
        self.node.claims(hash);
    }

    pub fn sold(&self, hash: PaymentHash) -> Option<Sold> {
        self.truth.sold.iter().find(|sold| sold.hash == hash).copied()
    }

    /// Whether a payment is one that the wallet may claim.
    pub fn may_claim(&self, hash: PaymentHash, parts: &[Htlc]) -> Result<(), String> {
        let received: u64 = parts.iter().map(|part| part.amount.0).sum();
        let kept: u64 = parts.iter().map(|part| part.skim.0).sum();
        for part in parts {
            let Some(channel) = self.node.now.channels.get(&part.channel) else {
                return Err("a channel of it is gone".into());
            };
            let confirmations = self.chain.confirmations(part.channel);
            let is_trusted = self.truth.trusted.contains(&channel.lsp);
            if confirmations < u32::from(self.truth.wait) {
                return Err(format!("{confirmations} confirmations"));
            }
            if self.truth.sees_mempool && confirmations == 0 && !is_trusted && !self.chain.has_seen(part.channel) {
                return Err("its funding is not published".into());
            }
        }
        if kept == 0 {
            return Ok(());
        }
        let Some(sold) = self.sold(hash) else { return Err("a fee is kept of what was not bought".into()) };
        let gross = received + kept;
        let most = match sold.amount {
            Some(_) => sold.fee.0,
            None => gross * u64::from(SHARE.0) / 1_000_000,
        };
        if kept > most {
            return Err(format!("{kept} kept, at most {most} agreed"));
        }
        if sold.amount.is_some_and(|amount| gross < amount.0) {
            return Err("less than the invoice".into());
        }
        if sold.is_abandoned {
            return Err("the purchase was called off".into());
        }
        if parts.iter().any(|part| self.node.now.channels.get(&part.channel).is_none_or(|it| it.lsp != sold.lsp)) {
            return Err("another LSP keeps a fee".into());
        }
        let mut fees = self.truth.fees.get(&sold.lsp).cloned().unwrap_or_default();
        if self.node.claimed.iter().any(|claimed| claimed.hash == hash && claimed.skim > Msat::ZERO) {
            return Err("a fee was kept for it before".into());
        }
        fees.insert(hash);
        let channels = self.truth.funded.get(&sold.lsp).map_or(0, BTreeSet::len);
        if fees.len() > channels {
            return Err(format!("{} fees for {channels} channels", fees.len()));
        }
        Ok(())
    }

    /// The host fails a payment: not one that is as promised and could be claimed at once.
    pub fn check_fails(&self, hash: PaymentHash) {
        let parts = self.node.held(hash);
        let Some(sold) = self.sold(hash).filter(|sold| !sold.is_hold && !sold.is_abandoned) else { return };
        let received: u64 = parts.iter().map(|part| part.amount.0).sum();
        let kept: u64 = parts.iter().map(|part| part.skim.0).sum();
        let is_late = parts.iter().any(|part| part.expiry <= self.chain.height + u32::from(super::node::DELTA));
        let is_worth_it = kept == 0 || received >= LEAST_NET.0;
        let is_due =
            !parts.is_empty() && !is_late && is_worth_it && sold.amount.is_none_or(|it| received + kept >= it.0);
        // Where an event of an earlier payment of this hash is told late, nobody can tell which of them is to be failed.
        let told =
            |event: &&WalletNodeEvent| matches!(event, WalletNodeEvent::PaymentHeld(held) if held.payment_hash == hash);
        let is_alone = self.node.now.events.iter().filter(told).count() < 2;
        if is_due && is_alone && kept == 0 && self.may_claim(hash, &parts).is_ok() {
            panic!("a payment is failed that could be claimed: {hash} {parts:?}");
        }
    }

    /// The host begins with a payment over Lightning, with so much for routing fees.
    pub fn check_pays(&mut self, pays: &Pays, fee: Sat) {
        let (Pays::Invoice { text, .. } | Pays::Offer { text, .. }) = pays;
        let of = self.truth.orders.iter().position(|order| order.is_paid_by(text));
        let Some(of) = of else { panic!("something is paid that nobody ordered: {text}") };
        let facts = invoice::read(text).expect("it is paid");
        let amount = facts.amount.expect("it has one");
        assert_eq!(facts.payee, Some(self.truth.orders[of].lsp), "somebody else is paid");
        self.check_limits(of, amount, fee);
        assert_eq!(self.out(of), 0, "it is paid twice: {:?}", self.truth.orders[of].made.order_id);
        if let Pays::Invoice { hash, .. } = pays {
            assert!(!self.node.pays_hash(*hash), "a hash is paid that is being paid");
        }
    }

    fn check_limits(&self, of: usize, amount: Msat, fee: Sat) {
        let ordered = &self.truth.orders[of].ordered;
        let most = ordered.client_balance_sat.0 + MOST_FEE.0;
        let costs = amount.to_sat_ceil() + fee.0;
        assert!(costs <= most, "{costs} sat for an order that may cost {most}");
    }

    /// The wallet signs a transaction: within the limits.
    pub fn check_signs(&self, amount: Sat, script: &ScriptBuf, max_fee: Sat) {
        let of = self.truth.orders.iter().position(|order| order.script == *script);
        let Some(of) = of else { panic!("something is signed that nobody ordered") };
        self.check_limits(of, amount.to_msat().expect("few"), max_fee);
    }

    /// The wallet broadcasts a transaction: the only one of its order, and nothing else of that is out.
    pub fn check_broadcasts(&self, tx: &Transaction) {
        let txid = tx.compute_txid();
        if self.chain.broadcast.contains_key(&txid) {
            return;
        }
        let script = &tx.output[0].script_pubkey;
        let of = self.truth.orders.iter().position(|order| order.script == *script).expect("it was signed");
        assert_eq!(self.out(of), 0, "it is paid twice: {:?}", self.truth.orders[of].made.order_id);
    }

    /// Payments of an order that are out, or were taken.
    pub fn out(&self, of: usize) -> usize {
        let order = &self.truth.orders[of];
        let texts = self.truth.begun.iter().filter(|(_, text)| order.is_paid_by(text));
        let is_out = |id: &PaymentId| match self.node.ends.get(id) {
            Some(PaymentEnd::Paid) => true,
            _ => self.node.now.payments.contains_key(id),
        };
        let by_lightning = texts.filter(|(id, _)| is_out(id)).count();
        let key = |txid: &&Txid| self.chain.scripts.get(*txid).is_some_and(|script| *script == order.script);
        by_lightning + self.chain.broadcast.keys().filter(key).count()
    }
}

/// The share of a payment of any size that the user gives.
pub const SHARE: Ppm = Ppm(50_000);
/// The most that the user pays for a purchase of a known size.
pub const MOST_JIT_FEE: Msat = Msat(5_000_000);
/// The most that the user pays for an order, mining and routing fees included.
pub const MOST_FEE: Sat = Sat(20_000);
/// By the rules of the wallet.
const LEAST_NET: Msat = Msat(546_000);
