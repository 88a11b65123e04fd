//! The world's own ledger: terms that the user agreed to, and checks of the wallet's acts against them. The wallet's
//! records are not read.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{ScriptBuf, Transaction, Txid};
use lsps_client::AcceptTerms;
use lsps_host::ports::{ChannelRequest, PaymentEnd, PaymentId, WalletNodeEvent};
use lsps_types::lsps1::{CreateOrder, Order as Reply};
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Sat};

use super::invoice;
use super::model::Model;
use super::node::{Htlc, HtlcStage, Pays};

/// The ledger.
#[derive(Default)]
pub struct Truth {
    /// Confirmations that the wallet waits for before it claims.
    pub wait: u16,
    /// Whether the wallet sees unconfirmed transactions.
    pub sees_mempool: bool,
    /// LSPs that the user trusts to publish fundings.
    pub trusted: BTreeSet<PeerId>,
    /// Invoices of purchases that the user received.
    pub sold: Vec<Sold>,
    /// Orders that LSPs made.
    pub orders: Vec<Ordered>,
    /// Number of purchases and orders that the user asked for. Each may lead to a channel.
    pub asked: usize,
    /// Numbers of the funded channels, by LSP.
    pub funded: BTreeMap<PeerId, BTreeSet<u64>>,
    /// Channel capacities by number of the funding.
    pub capacities: BTreeMap<u64, Sat>,
    /// Number of accepted channels, by LSP.
    pub accepted: BTreeMap<PeerId, usize>,
    /// Invoice or offer of each outbound payment that the node began.
    pub begun: BTreeMap<PaymentId, String>,
    /// Hashes of held payments that were left to the application, which has the preimages, with the height before which
    /// each has to be claimed.
    pub app_may_claim: BTreeMap<PaymentHash, u32>,
    /// No fee may be kept, whatever was agreed.
    pub fees_are_losses: bool,
    /// All faults have ended.
    pub is_resting: bool,
}

/// Invoice of a purchase and the terms that the user agreed to.
#[derive(Clone, Copy, Debug)]
pub struct Sold {
    pub hash: PaymentHash,
    pub lsp: PeerId,
    /// Amount of the invoice; `None` for an invoice without one.
    pub amount: Option<Msat>,
    /// Opening fee that was reported to the user.
    pub fee: Msat,
    pub is_hold: bool,
    pub is_abandoned: bool,
}

/// An order, with the request for it and the LSP's answers.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub lsp: PeerId,
    pub ordered: CreateOrder,
    /// Answer of the LSP to `lsps1.create_order`.
    pub made: Reply,
    /// Answer of the LSP to `lsps1.get_order` at present, true or false.
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
    /// Checks that an accepted channel was asked for, and is announced only if an order says so.
    pub fn check_accepts(&mut self, request: &ChannelRequest, _: &AcceptTerms) {
        let is_ordered = self.truth.orders.iter().any(|it| it.lsp == request.peer && it.ordered.announce_channel);
        assert!(!request.announced || is_ordered, "an announced channel is accepted");
        let accepted = self.truth.accepted.entry(request.peer).or_default();
        *accepted += 1;
        assert!(self.truth.asked > 0, "a channel is accepted that nobody asked for");
    }

    /// The host or the application claims a held payment. The claim must be allowed.
    pub fn claims(&mut self, hash: PaymentHash) {
        let parts = self.node.held(hash);
        if parts.is_empty() {
            return;
        }
        if let Err(why) = self.may_claim(hash, &parts) {
            panic!("a payment is claimed that must not be: {why}; {hash} {parts:?}");
        }
        self.node.claims(hash);
    }

    /// Payments of which this LSP kept a fee. A claim that a crash undid before it reached the peer is none.
    pub fn fees(&self, lsp: PeerId) -> BTreeSet<PaymentHash> {
        let done = self.node.claimed.iter().filter(|claimed| claimed.kept > Msat::ZERO).map(|claimed| claimed.hash);
        let begun = self.node.now.htlcs.iter().filter(|it| it.stage == HtlcStage::Claiming && it.kept() > Msat::ZERO);
        let all = done.chain(begun.map(|htlc| htlc.hash));
        all.filter(|hash| self.sold(*hash).is_some_and(|sold| sold.lsp == lsp)).collect()
    }

    pub fn sold(&self, hash: PaymentHash) -> Option<Sold> {
        self.truth.sold.iter().find(|sold| sold.hash == hash).copied()
    }

    /// Whether the wallet may claim a payment, or the reason against it.
    pub fn may_claim(&self, hash: PaymentHash, parts: &[Htlc]) -> Result<(), String> {
        let received: u64 = parts.iter().map(|part| part.amount.0).sum();
        let kept: u64 = parts.iter().map(|part| part.kept().0).sum();
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
        if self.truth.fees_are_losses {
            return Err("a fee is kept".into());
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
        let mut fees = self.fees(sold.lsp);
        if self.node.claimed.iter().any(|claimed| claimed.hash == hash && claimed.kept > Msat::ZERO) {
            return Err("a fee was kept for it before".into());
        }
        fees.insert(hash);
        let channels = self.truth.funded.get(&sold.lsp).map_or(0, BTreeSet::len);
        if fees.len() > channels {
            return Err(format!("{} fees for {channels} channels", fees.len()));
        }
        Ok(())
    }

    /// Checks that the host fails no payment without a skim that it could claim at once.
    pub fn check_fails(&self, hash: PaymentHash) {
        let parts = self.node.held(hash);
        let Some(sold) = self.sold(hash).filter(|sold| !sold.is_hold && !sold.is_abandoned) else { return };
        let received: u64 = parts.iter().map(|part| part.amount.0).sum();
        let kept: u64 = parts.iter().map(|part| part.skim.0).sum();
        let is_late = parts.iter().any(|part| part.expiry <= self.chain.height + u32::from(super::node::DELTA));
        let is_worth_it = kept == 0 || received >= LEAST_NET.0;
        let is_due =
            !parts.is_empty() && !is_late && is_worth_it && sold.amount.is_none_or(|it| received + kept >= it.0);
        // If two payments of one hash were reported as held, the host cannot distinguish them.
        let told =
            |event: &&WalletNodeEvent| matches!(event, WalletNodeEvent::PaymentHeld(held) if held.payment_hash == hash);
        let is_alone = self.node.now.events.iter().filter(told).count() < 2;
        if is_due && is_alone && kept == 0 && self.may_claim(hash, &parts).is_ok() {
            panic!("a payment is failed that could be claimed: {hash} {parts:?}");
        }
    }

    /// Checks a Lightning payment that the host begins, with `fee` as its limit for routing fees.
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

    /// Checks that a transaction to sign pays an order, within the user's limits.
    pub fn check_signs(&self, amount: Sat, script: &ScriptBuf, max_fee: Sat) {
        let of = self.truth.orders.iter().position(|order| order.script == *script);
        let Some(of) = of else { panic!("something is signed that nobody ordered") };
        self.check_limits(of, amount.to_msat().expect("few"), max_fee);
    }

    /// Checks that no other payment of the order is pending or claimed when its transaction is first broadcast.
    pub fn check_broadcasts(&self, tx: &Transaction) {
        let txid = tx.compute_txid();
        if self.chain.broadcast.contains_key(&txid) {
            return;
        }
        let script = &tx.output[0].script_pubkey;
        let of = self.truth.orders.iter().position(|order| order.script == *script).expect("it was signed");
        assert_eq!(self.out(of), 0, "it is paid twice: {:?}", self.truth.orders[of].made.order_id);
    }

    /// Number of payments of an order that are pending or were claimed, transactions included.
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

/// Largest opening fee that the user accepts for a purchase of variable amount, as a share of the payment.
pub const SHARE: Ppm = Ppm(50_000);
/// Largest opening fee that the user accepts for a purchase of fixed amount.
pub const MOST_JIT_FEE: Msat = Msat(5_000_000);
/// Largest cost that the user accepts for an order beyond the ordered client balance, mining and routing fees included.
pub const MOST_FEE: Sat = Sat(20_000);
/// Smallest amount after the skim that the wallet claims, by its default rules.
const LEAST_NET: Msat = Msat(546_000);
