//! Model of the wallet's node: a crash undoes all changes since its last save, events are reported late and again, and
//! incoming HTLCs are checked by the rules of LDK only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};
use lsps_client::ChannelKey;
use lsps_host::ports::{
    ChannelRequest, HeldPayment, IncomingState, PaymentEnd, PaymentId, PaymentProgress, WalletChannel, WalletHtlc,
    WalletNodeEvent,
};
use lsps_service::ChannelId;
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Preimage};

use super::chain::Chain;

/// The node's current state, its saved state, and facts that a crash does not undo.
#[derive(Default)]
pub struct Node {
    pub now: State,
    saved: State,
    /// Ends of outbound payments at their recipients.
    pub ends: BTreeMap<PaymentId, PaymentEnd>,
    /// Outbound payments whose HTLCs may have left the node.
    pub sent: BTreeSet<PaymentId>,
    /// Claims whose preimages may have left the node.
    pub claimed: Vec<Claimed>,
    /// Invoices that can be paid: the preimage, unless only the application has it, and the amount. A crash does not
    /// remove them, as LDK derives both from its keys.
    pub invoices: BTreeMap<PaymentHash, (Option<Preimage>, Option<Msat>)>,
}

/// A claim whose preimage may have left the node.
#[derive(Clone, Copy, Debug)]
pub struct Claimed {
    pub hash: PaymentHash,
    /// Amount that its LSPs kept of it.
    pub kept: Msat,
}

/// State that a crash sets back to the last save.
#[derive(Clone, Default)]
pub struct State {
    pub events: VecDeque<WalletNodeEvent>,
    pub channels: BTreeMap<u64, Channel>,
    pub htlcs: Vec<Htlc>,
    pub payments: BTreeMap<PaymentId, Payment>,
    pub requests: Vec<ChannelRequest>,
}

/// A channel; its number is that of its funding.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    pub key: ChannelKey,
    pub lsp: PeerId,
    pub stage: Stage,
    /// Confirmations that the funding needs before the channel is usable.
    pub confirmations: u16,
    pub underpaying: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Accepted,
    Funded,
    Ready,
}

/// An incoming HTLC.
#[derive(Clone, Copy, Debug)]
pub struct Htlc {
    pub hash: PaymentHash,
    /// Amount that the onion names for this part.
    pub onion: Msat,
    /// Total of all parts that the onion names.
    pub total: Msat,
    pub amount: Msat,
    /// Skim that the LSP reported in the TLV of `update_add_htlc`.
    pub skim: Msat,
    pub channel: u64,
    pub expiry: u32,
    pub stage: HtlcStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HtlcStage {
    /// Other parts of the payment are missing.
    Waits,
    /// The payment is complete and was reported as held.
    Held,
    Claiming,
    Failing,
}

/// An outbound payment.
#[derive(Clone, Debug)]
pub struct Payment {
    pub pays: Pays,
    pub stage: Paying,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pays {
    Invoice { text: String, hash: PaymentHash },
    Offer { text: String, hash: Option<PaymentHash> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paying {
    /// The node waits for the invoice of an offer.
    AwaitsInvoice,
    Out,
    /// The node makes no further attempts and waits for pending HTLCs.
    Stopped,
    Fulfilled,
}

impl Htlc {
    /// Amount that the LSP kept. LDK accepts an HTLC only if its amount and the skim that the LSP reports make up the amount in
    /// the onion (`accept_underpaying_htlcs`), so no more is kept than is reported. An LSP may report more than it keeps,
    /// which takes nothing from the wallet.
    pub fn kept(&self) -> Msat {
        self.onion.checked_sub(self.amount).unwrap_or(Msat::ZERO)
    }
}

impl Node {
    /// Saves the node. Claims, failures and payments of which it was asked take effect at its peers.
    pub fn save(&mut self) {
        let mut claimed: BTreeMap<PaymentHash, Vec<Htlc>> = BTreeMap::new();
        for htlc in self.now.htlcs.iter().filter(|htlc| htlc.stage == HtlcStage::Claiming) {
            claimed.entry(htlc.hash).or_default().push(*htlc);
        }
        for (hash, htlcs) in claimed {
            let sum = |amount: fn(&Htlc) -> Msat| Msat(htlcs.iter().map(|htlc| amount(htlc).0).sum());
            let over = htlcs.iter().filter_map(|htlc| Some(self.now.channels.get(&htlc.channel)?.key)).collect();
            self.claimed.push(Claimed { hash, kept: sum(Htlc::kept) });
            let (received, kept) = (sum(|htlc| htlc.amount), sum(|htlc| htlc.skim));
            let by_application = self.preimage(hash).is_none();
            let told = WalletNodeEvent::PaymentClaimed { payment_hash: hash, received, kept, over, by_application };
            self.now.events.push_back(told);
        }
        self.now.htlcs.retain(|htlc| matches!(htlc.stage, HtlcStage::Waits | HtlcStage::Held));
        let out = self.now.payments.iter().filter(|(_, payment)| payment.stage != Paying::AwaitsInvoice);
        self.sent.extend(out.map(|(id, _)| *id));
        self.saved = self.now.clone();
    }

    /// Applies a crash: the node has its saved state, without channels that were not funded, and reports again how sent
    /// payments ended.
    pub fn crash(&mut self) {
        self.now = self.saved.clone();
        self.now.requests.clear();
        self.now.channels.retain(|_, channel| channel.stage != Stage::Accepted);
        for id in self.now.payments.keys().copied().collect::<Vec<_>>() {
            if let Some(end) = self.ends.get(&id).copied().filter(|_| self.sent.contains(&id)) {
                self.hears_end(id, end);
            }
        }
        self.saved = self.now.clone();
    }

    /// Ends an outbound payment at its recipient.
    pub fn ends(&mut self, id: PaymentId, end: PaymentEnd) {
        self.ends.insert(id, end);
        self.hears_end(id, end);
    }

    fn hears_end(&mut self, id: PaymentId, end: PaymentEnd) {
        let Some(payment) = self.now.payments.get_mut(&id) else { return };
        if payment.stage == Paying::Fulfilled {
            return;
        }
        if end == PaymentEnd::Paid {
            payment.stage = Paying::Fulfilled;
        } else {
            self.now.payments.remove(&id);
        }
        self.now.events.push_back(WalletNodeEvent::PaymentEnded { id, end });
    }

    /// Adds an incoming HTLC, or fails it at once where LDK would.
    pub fn arrives(&mut self, mut htlc: Htlc, height: u32) {
        let Some((_, invoice_amount)) = self.invoices.get(&htlc.hash).copied() else { return };
        let Some(channel) = self.now.channels.get(&htlc.channel).filter(|it| it.stage == Stage::Ready) else { return };
        let is_short = htlc.amount < htlc.onion;
        let is_explained = channel.underpaying && htlc.amount.0.saturating_add(htlc.skim.0) >= htlc.onion.0;
        let same = |other: &&Htlc| other.hash == htlc.hash;
        let is_complete = self.now.htlcs.iter().filter(same).any(|other| other.stage != HtlcStage::Waits);
        let differs = self.now.htlcs.iter().filter(same).any(|other| other.total != htlc.total);
        if (is_short && !is_explained)
            || is_complete
            || differs
            || htlc.expiry < height + u32::from(DELTA)
            || invoice_amount.is_some_and(|amount| htlc.total < amount)
        {
            return;
        }
        htlc.stage = HtlcStage::Waits;
        self.now.htlcs.push(htlc);
        let parts: Vec<Htlc> = self.now.htlcs.iter().filter(|other| other.hash == htlc.hash).copied().collect();
        if parts.iter().map(|part| part.onion.0).sum::<u64>() < htlc.total.0 {
            return;
        }
        for part in self.now.htlcs.iter_mut().filter(|other| other.hash == htlc.hash) {
            part.stage = HtlcStage::Held;
        }
        let key = |number: &u64| self.now.channels.get(number).map(|channel| channel.key);
        let mut over: Vec<(ChannelId, Option<ChannelKey>)> =
            parts.iter().map(|part| (channel_id(part.channel), key(&part.channel))).collect();
        over.dedup();
        self.now.events.push_back(WalletNodeEvent::PaymentHeld(HeldPayment {
            payment_hash: htlc.hash,
            received: Msat(parts.iter().map(|part| part.amount.0).sum()),
            kept: Msat(parts.iter().map(|part| part.skim.0).sum()),
            preimage: self.preimage(htlc.hash),
            over,
        }));
    }

    pub fn preimage(&self, hash: PaymentHash) -> Option<Preimage> {
        self.invoices.get(&hash).and_then(|(preimage, _)| *preimage)
    }

    /// Fails the HTLCs that expire within [`BUFFER`] blocks of a new height.
    pub fn blocks(&mut self, height: u32) {
        for htlc in &mut self.now.htlcs {
            if matches!(htlc.stage, HtlcStage::Waits | HtlcStage::Held) && htlc.expiry <= height + BUFFER {
                htlc.stage = HtlcStage::Failing;
            }
        }
    }

    /// Fails the parts that wait for others.
    pub fn parts_time_out(&mut self) {
        for htlc in self.now.htlcs.iter_mut().filter(|htlc| htlc.stage == HtlcStage::Waits) {
            htlc.stage = HtlcStage::Failing;
        }
    }

    pub fn closes(&mut self, number: u64) {
        if let Some(channel) = self.now.channels.remove(&number) {
            self.saved.channels.remove(&number);
            self.saved.events.push_back(WalletNodeEvent::ChannelEnded { key: channel.key });
            self.now.events.push_back(WalletNodeEvent::ChannelEnded { key: channel.key });
        }
    }

    pub fn disconnected(&mut self, peer: PeerId) {
        self.now.requests.retain(|request| request.peer != peer);
        let lost = self.now.channels.iter().filter(|(_, it)| it.lsp == peer && it.stage == Stage::Accepted);
        for number in lost.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(channel) = self.now.channels.remove(&number) {
                self.now.events.push_back(WalletNodeEvent::ChannelEnded { key: channel.key });
            }
        }
    }

    pub fn channel(&self, number: u64, chain: &Chain, is_connected: bool) -> Option<WalletChannel> {
        let channel = self.now.channels.get(&number)?;
        let is_funded = channel.stage >= Stage::Funded;
        Some(WalletChannel {
            id: channel_id(number),
            key: channel.key,
            peer: channel.lsp,
            funding: is_funded.then(|| outpoint(number)),
            confirmations: chain.confirmations(number),
            is_ours: false,
            is_usable: channel.stage == Stage::Ready && is_connected,
        })
    }

    pub fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc> {
        let its = self.now.htlcs.iter().filter(|htlc| htlc.hash == hash && htlc.stage != HtlcStage::Failing);
        let open = its.filter(|htlc| self.now.channels.contains_key(&htlc.channel));
        open.map(|htlc| WalletHtlc {
            over: channel_id(htlc.channel),
            amount: htlc.amount,
            cltv_expiry: BlockHeight(htlc.expiry),
            state: if htlc.stage == HtlcStage::Claiming { IncomingState::Claiming } else { IncomingState::Committed },
        })
        .collect()
    }

    pub fn held(&self, hash: PaymentHash) -> Vec<Htlc> {
        self.now.htlcs.iter().filter(|htlc| htlc.hash == hash && htlc.stage == HtlcStage::Held).copied().collect()
    }

    pub fn claims(&mut self, hash: PaymentHash) {
        for htlc in self.now.htlcs.iter_mut().filter(|htlc| htlc.hash == hash && htlc.stage == HtlcStage::Held) {
            htlc.stage = HtlcStage::Claiming;
        }
    }

    pub fn fails(&mut self, hash: PaymentHash) {
        for htlc in self.now.htlcs.iter_mut().filter(|htlc| htlc.hash == hash) {
            if matches!(htlc.stage, HtlcStage::Waits | HtlcStage::Held) {
                htlc.stage = HtlcStage::Failing;
            }
        }
    }

    pub fn set_underpaying(&mut self, peer: PeerId, allowed: bool) {
        for channel in self.now.channels.values_mut().filter(|channel| channel.lsp == peer) {
            channel.underpaying = allowed;
        }
    }

    pub fn progress(&self, id: PaymentId) -> Option<PaymentProgress> {
        self.now.payments.get(&id).map(|payment| match payment.stage {
            Paying::AwaitsInvoice | Paying::Out => PaymentProgress::UnderWay,
            Paying::Stopped | Paying::Fulfilled => PaymentProgress::Over,
        })
    }

    pub fn stops_paying(&mut self, id: PaymentId) {
        let Some(payment) = self.now.payments.get_mut(&id) else { return };
        match payment.stage {
            Paying::AwaitsInvoice => {
                self.now.payments.remove(&id);
                self.now.events.push_back(WalletNodeEvent::PaymentEnded { id, end: PaymentEnd::NotSent });
            }
            Paying::Out => payment.stage = Paying::Stopped,
            Paying::Stopped | Paying::Fulfilled => {}
        }
    }

    pub fn pays_hash(&self, hash: PaymentHash) -> bool {
        let is_it = |payment: &Payment| match &payment.pays {
            Pays::Invoice { hash: its, .. } => *its == hash,
            Pays::Offer { hash: its, .. } => *its == Some(hash),
        };
        self.now.payments.values().any(is_it)
    }
}

pub fn channel_id(number: u64) -> ChannelId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ChannelId(id)
}

pub fn outpoint(number: u64) -> OutPoint {
    let mut txid = [9; 32];
    txid[..8].copy_from_slice(&number.to_be_bytes());
    OutPoint { txid: Txid::from_byte_array(txid), vout: 0 }
}

pub fn funding_number(txid: &Txid) -> u64 {
    let bytes = txid.to_byte_array();
    let (number, _) = bytes.split_first_chunk().expect("32 bytes");
    u64::from_be_bytes(*number)
}

/// Minimum final CLTV delta, in blocks.
pub const DELTA: u16 = 20;
/// The node fails HTLCs that have at most this number of blocks left.
pub const BUFFER: u32 = 3;
