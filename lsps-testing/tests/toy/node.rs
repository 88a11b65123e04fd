//! A toy: the node of an LSP and that of a wallet share a table, which is what both have saved. The ports of `lsps-host`
//! read and change that table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{OutPoint, Transaction};
use lsps_client::{AcceptTerms, ChannelKey as WalletKey, jit_receive::InvoiceTerms};
use lsps_host::{Budget, Inbox, PeerEvent, ports::*};
use lsps_service::{ChannelId, ChannelKey, FundingOutput, Input, OpenTerms, PartId, WhichPart};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Blocks, Msat, Network, PaymentHash, PeerId, Preimage, Sat, Scid, Timestamp};
use tokio::sync::Notify;

pub const LSP: PeerId = PeerId([2; 33]);
pub const WALLET: PeerId = PeerId([3; 33]);
pub const HEIGHT: u32 = 800_000;
type MadeInvoice = Result<(PaymentHash, String), NoInvoice>;

#[derive(Default)]
pub struct World {
    pub lsp_events: VecDeque<NodeEvent>,
    pub wallet_events: VecDeque<WalletNodeEvent>,
    pub channels: BTreeMap<ChannelKey, Channel>,
    pub htlcs: BTreeMap<PartId, Htlc>,
    /// Preimages and terms of the wallet's invoices.
    pub invoices: BTreeMap<PaymentHash, (Preimage, InvoiceTerms)>,
    invoices_begun: BTreeSet<Scid>,
    /// HTLCs that ended, each with whether its payer has the preimage.
    pub ended: BTreeMap<PartId, bool>,
    /// Messages that wait at each node, while the nodes are connected.
    pub inboxes: BTreeMap<PeerId, Inbox<PeerId, ()>>,
    drawn: u64,
}

pub struct Channel {
    id: ChannelId,
    capacity: Sat,
    /// Key of the wallet, once it has accepted the channel.
    accepted: Option<WalletKey>,
    pub funding: Option<OutPoint>,
}

#[derive(Clone, Copy)]
pub struct Htlc {
    pub payment_hash: PaymentHash,
    pub amount_in: Msat,
    /// Channel over which the LSP forwarded it; `None` while it holds the HTLC.
    pub over: Option<ChannelKey>,
    /// Fee that was kept.
    pub kept: Msat,
}

/// One of the two nodes, with all its ports.
#[derive(Clone)]
pub struct Node {
    pub me: PeerId,
    world: Arc<Mutex<World>>,
    pub arrived: Arc<BTreeMap<PeerId, Notify>>,
}

impl Node {
    pub fn both() -> [Self; 2] {
        let (world, arrived) = (Arc::default(), Arc::new([LSP, WALLET].map(|node| (node, Notify::new())).into()));
        [LSP, WALLET].map(|me| Self { me, world: Arc::clone(&world), arrived: Arc::clone(&arrived) })
    }
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no call panics while it holds the lock")
    }
    /// HTLCs at the wallet, each with the amount that the wallet gets.
    fn forwarded(&self) -> Vec<(PartId, Htlc, ChannelKey, Msat)> {
        let sent = |htlc: &Htlc| Some((*htlc, htlc.over?, Msat(htlc.amount_in.0 - htlc.kept.0)));
        let one = |(part, htlc): (&PartId, &Htlc)| sent(htlc).map(|(htlc, over, amount)| (*part, htlc, over, amount));
        self.world().htlcs.iter().filter_map(one).collect()
    }
    /// HTLCs of a payment at the wallet, together.
    fn at_wallet(&self, payment_hash: PaymentHash) -> HeldPayment {
        let (preimage, mut received, mut kept, mut over) = (self.world().invoices[&payment_hash].0, 0, 0, vec![]);
        for (_, htlc, key, amount) in self.forwarded().iter().filter(|(_, htlc, ..)| htlc.payment_hash == payment_hash)
        {
            (received, kept) = (received + amount.0, kept + htlc.kept.0);
            let channel = &self.world().channels[key];
            over = vec![(channel.id, channel.accepted)];
        }
        HeldPayment { payment_hash, received: Msat(received), kept: Msat(kept), preimage: Some(preimage), over }
    }
    /// The wallet claims or fails a payment. Both nodes save that, and the payer learns it.
    fn end(&self, hash: PaymentHash, is_claimed: bool) {
        for (part, _, key, _) in self.forwarded().into_iter().filter(|(_, htlc, ..)| htlc.payment_hash == hash) {
            let claimed = Input::PartForwarded { part: WhichPart::Id(part), over: Some(key) };
            let input = if is_claimed { claimed } else { Input::PartFailed { part } };
            self.world().lsp_events.push_back(NodeEvent::Input(input));
            self.world().htlcs.remove(&part);
            self.world().ended.insert(part, is_claimed);
        }
    }
}

impl Messages for Node {
    fn attach(&self) {
        self.world().inboxes.entry(self.me).and_modify(Inbox::attach);
    }
    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>) {
        for (to, payload) in messages {
            self.world().inboxes.entry(to).and_modify(|inbox| inbox.receive(self.me, payload));
            self.arrived[&to].notify_one();
        }
    }
    fn take(&self, budget: Budget) -> Vec<PeerEvent<PeerId>> {
        self.world().inboxes.get_mut(&self.me).map(|inbox| inbox.take(budget)).unwrap_or_default()
    }
    fn has_news(&self) -> bool {
        self.world().inboxes.get(&self.me).is_some_and(Inbox::has_news)
    }
    fn arrived(&self) -> Arrived<'_> {
        Box::pin(self.arrived[&self.me].notified())
    }
    fn is_connected(&self, peer: PeerId) -> bool {
        self.world().inboxes.contains_key(&peer)
    }
}

impl LspNode for Node {
    fn network(&self) -> Option<Network> {
        Some(Network::Regtest)
    }
    fn height(&self) -> BlockHeight {
        BlockHeight(HEIGHT)
    }
    fn draw_scid(&self) -> Scid {
        Scid(u64::from(self.draw_bytes()[0]) << 40 | 1) // a real node draws all bits
    }
    fn makes_anchors(&self) -> bool {
        true
    }
    fn inbound(&self) -> Msat {
        Msat(100_000_000_000)
    }
    fn channels(&self) -> Vec<NodeChannel> {
        let shown = |(key, channel): (&ChannelKey, &Channel)| {
            let (key, id, is_funded) = (*key, channel.id, channel.funding.is_some());
            NodeChannel { key, peer: WALLET, id, is_funded, is_ready: is_funded, confirmations: 0 }
        };
        self.world().channels.iter().map(shown).collect()
    }
    fn outbound_capacity(&self, _: PeerId, key: ChannelKey, _: usize) -> Option<Msat> {
        self.world().channels.get(&key)?.capacity.to_msat()
    }
    fn is_used(&self, _: PeerId, key: ChannelKey) -> bool {
        self.forwarded().iter().any(|(_, _, over, _)| *over == key)
    }
    fn is_usable(&self, peer: PeerId) -> bool {
        self.is_connected(peer) && LspNode::channels(self).iter().any(|channel| channel.is_ready)
    }
    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>> {
        self.world().channels.keys().map(|_| (WALLET, None)).collect()
    }
    fn open(&self, _: PeerId, key: ChannelKey, terms: &OpenTerms, _: usize, _: u32) -> Result<(), String> {
        let (id, funding) = (self.draw_bytes(), Sat(terms.capacity_sat));
        let (announced, zero_conf, pushed) = (terms.announce, terms.confirmations == 0, terms.push);
        let request = ChannelRequest { id, peer: LSP, announced, scid_alias: true, zero_conf, funding, pushed };
        let channel = Channel { id: ChannelId(id), capacity: funding, accepted: None, funding: None };
        self.world().channels.insert(key, channel);
        self.world().wallet_events.push_back(WalletNodeEvent::ChannelRequested(request));
        Ok(())
    }
    /// Both nodes sign and save at once, and use the channel without confirmations.
    fn fund(&self, _: PeerId, key: ChannelKey, tx: Transaction) -> Result<(), String> {
        let (mut world, funding) = (self.world(), Some(OutPoint::new(tx.compute_txid(), 0)));
        let channel = world.channels.get_mut(&key).ok_or("there is no such channel")?;
        let (channel_id, accepted) = (channel.id, channel.accepted.ok_or("the wallet has not accepted it")?);
        channel.funding = funding;
        world.wallet_events.push_back(WalletNodeEvent::ChannelFunded { key: accepted, peer: LSP, funding });
        let told = [Input::ChannelPending { key }, Input::ChannelReady { key, channel_id }];
        world.lsp_events.extend(told.map(NodeEvent::Input));
        Ok(())
    }
    fn close(&self, _: PeerId, key: ChannelKey) {
        self.world().channels.remove(&key);
    }
    fn allow_forwards(&self, _: PeerId, _: ChannelKey) {}
    fn held(&self, part: PartId) -> Option<Msat> {
        self.world().htlcs.get(&part).filter(|htlc| htlc.over.is_none()).map(|htlc| htlc.amount_in)
    }
    fn incoming(&self) -> Vec<IncomingHtlc> {
        let (world, state) = (self.world(), IncomingState::Committed);
        let shown = |htlc: &Htlc| IncomingHtlc { payment_hash: htlc.payment_hash, amount: htlc.amount_in, state };
        world.htlcs.values().map(shown).collect()
    }
    fn outgoing(&self, _: PeerId) -> Vec<OutgoingHtlc> {
        let shown = |(_, htlc, _, amount): (_, Htlc, _, _)| OutgoingHtlc {
            payment_hash: htlc.payment_hash,
            amount,
            skim: Some(htlc.kept),
            is_resolved: false,
        };
        self.forwarded().into_iter().map(shown).collect()
    }
    /// The wallet's node reports the payment when all of it is there.
    fn forward(&self, part: PartId, _: PeerId, key: ChannelKey, _: ChannelId, amount: Msat) -> Resolution {
        let Some(amount_in) = self.held(part) else { return Resolution::NotHeld };
        let Some(mut htlc) = self.world().htlcs.get(&part).copied() else { return Resolution::NotHeld };
        (htlc.over, htlc.kept) = (Some(key), Msat(amount_in.0 - amount.0));
        self.world().htlcs.insert(part, htlc);
        let held = self.at_wallet(htlc.payment_hash);
        let due = self.world().invoices[&htlc.payment_hash].1.amount;
        if due.is_some_and(|due| held.received.0 + held.kept.0 >= due.0) {
            self.world().wallet_events.push_back(WalletNodeEvent::PaymentHeld(held));
        }
        Resolution::Done
    }
    fn fail(&self, part: PartId, _: FailureCode) -> Resolution {
        if self.held(part).is_none() {
            return Resolution::NotHeld;
        }
        self.world().htlcs.remove(&part);
        self.world().ended.insert(part, false);
        Resolution::Done
    }
    fn send_marker(&self, marker: Marker, _: Timestamp) -> bool {
        self.world().lsp_events.push_back(NodeEvent::Marker(marker));
        true
    }
}

impl WalletNode for Node {
    fn network(&self) -> Option<Network> {
        Some(Network::Regtest)
    }
    fn height(&self) -> BlockHeight {
        BlockHeight(HEIGHT)
    }
    fn draw_bytes(&self) -> [u8; 32] {
        self.world().drawn += 1;
        sha256::Hash::hash(&self.world().drawn.to_be_bytes()).to_byte_array() // a real node draws random ones
    }
    fn to_self_delay(&self) -> Blocks {
        Blocks(144)
    }
    fn min_final_cltv_expiry_delta(&self) -> u16 {
        18
    }
    fn takes_channel(&self, _: bool, _: Option<Sat>) -> Result<(), SettingMissing> {
        Ok(())
    }
    fn has_scid_alias(&self, _: PeerId) -> bool {
        true
    }
    fn channels(&self) -> Vec<WalletChannel> {
        let is_connected = self.is_connected(LSP);
        let shown = |channel: &Channel| {
            let (id, key, funding) = (channel.id, channel.accepted?, channel.funding);
            let (confirmations, is_ours, is_usable) = (0, false, funding.is_some() && is_connected);
            Some(WalletChannel { id, key, peer: LSP, funding, confirmations, is_ours, is_usable })
        };
        self.world().channels.values().filter_map(shown).collect()
    }
    fn accept(&self, request: &ChannelRequest, wallets_key: WalletKey, _: &AcceptTerms) -> Result<(), String> {
        let mut world = self.world();
        let mut channels = world.channels.iter_mut();
        let (key, channel) = channels.find(|(_, channel)| channel.id.0 == request.id).ok_or("no such request")?;
        channel.accepted = Some(wallets_key);
        let output = FundingOutput { script: request.id.to_vec(), value_sat: request.funding.0 };
        let negotiated = Input::ChannelNegotiated { key: *key, to_self_delay: None, output };
        world.lsp_events.push_back(NodeEvent::Input(negotiated));
        Ok(())
    }
    fn refuse(&self, _: &ChannelRequest, _: &str) {}
    fn set_underpaying(&self, _: PeerId, _: bool) {}
    fn invoice(&self, terms: &InvoiceTerms, _: Option<PaymentHash>, _: &str) -> MadeInvoice {
        if self.world().invoices_begun.insert(terms.hint.scid) {
            return Err(NoInvoice::NotYet);
        }
        let preimage = Preimage(self.draw_bytes());
        let hash = PaymentHash::of(&preimage);
        self.world().invoices.insert(hash, (preimage, *terms));
        Ok((hash, hash.to_string()))
    }
    fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc> {
        let (cltv_expiry, state) = (BlockHeight(HEIGHT + 400), IncomingState::Committed);
        let its = self.forwarded().into_iter().filter(|(_, htlc, ..)| htlc.payment_hash == hash);
        let id = |over| self.world().channels[&over].id;
        its.map(|(_, _, over, amount)| WalletHtlc { over: id(over), amount, cltv_expiry, state }).collect()
    }
    fn claim_payment(&self, preimage: Preimage) {
        let HeldPayment { payment_hash, received, kept, over, .. } = self.at_wallet(PaymentHash::of(&preimage));
        self.end(payment_hash, true);
        let (over, by_application) = (over.into_iter().filter_map(|(_, key)| key).collect(), false);
        let claimed = WalletNodeEvent::PaymentClaimed { payment_hash, received, kept, over, by_application };
        self.world().wallet_events.push_back(claimed);
    }
    fn fail_payment(&self, hash: PaymentHash) {
        self.end(hash, false);
    }
    fn send_marker(&self, marker: Marker, _: Timestamp) -> bool {
        self.world().wallet_events.push_back(WalletNodeEvent::Marker(marker));
        true
    }
}
