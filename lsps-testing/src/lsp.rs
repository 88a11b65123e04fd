//! An LSP on a model node: every effect is executed and reported at once, unless the script reports it.

use std::collections::{BTreeMap, BTreeSet};

use lsps_service::{
    BookEntry, BookKey, ChannelEnd, ChannelId, ChannelKey, Effect, FlowId, FundingOutput, HeldHtlc, Input, Introduced,
    NodeFacts, OpenTerms, Outcome, PartId, PendingDecision, PostKey, Prepared, Record, RefundKey, Refusal, Service,
    WhichPart,
};
use lsps_types::bolt4::FailureCode;
use lsps_types::jsonrpc::{ErrorReply, FromLsp, encode_request};
use lsps_types::lsps2::{Bought, Buy, GetInfo, PromiseKey};
use lsps_types::{BlockHeight, Msat, OutPoint, PaymentHash, PeerId, Request, Sat, Scid, Timestamp};

use crate::setup::{LspSetup, MINING_SAT, address_of, offer_id, outpoint};

/// Visible action of the LSP. Writes, replies and actions of the node itself are not included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Asked the client to open a channel.
    Open {
        /// Key of the channel.
        key: ChannelKey,
        /// Terms of the channel.
        terms: OpenTerms,
    },
    /// Broadcast the funding transaction.
    Broadcast(ChannelKey),
    /// Broadcast the funding transaction again, as it is stuck.
    BroadcastAgain(ChannelKey),
    /// Called an absent client.
    Wake {
        /// The client.
        peer: PeerId,
        /// Number of the call.
        call: u32,
    },
    /// Abandoned a channel, and released its inputs.
    Abandon(ChannelKey),
    /// Forwarded a part.
    Forward {
        /// The part.
        part: PartId,
        /// Amount that the client receives.
        amount: Msat,
        /// Fee that is kept.
        extra_fee: Msat,
    },
    /// Failed a part.
    Fail {
        /// The part.
        part: PartId,
        /// Failure that the payer receives.
        code: FailureCode,
    },
    /// Posted to a webhook.
    Post {
        /// Key of the post.
        key: PostKey,
        /// URL.
        url: String,
        /// Body.
        body: String,
        /// Time at which the notification was raised.
        timestamp: String,
    },
    /// Reported to the operator that this peer sent a payload that is not a request.
    ReportBadMessage(PeerId),
    /// Left a part that belongs to no flow.
    NotMine(PartId),
    /// Claimed a payment for an order.
    Claim(PaymentHash),
    /// Failed a payment for an order.
    FailPayment(PaymentHash),
    /// Refunded deposits.
    Refund {
        /// Address of the refund.
        to: String,
        /// Deposits that it spends.
        deposits: Vec<(OutPoint, Sat)>,
    },
    /// Raised the fee of a refund.
    BumpRefund(RefundKey),
    /// Kept a deposit.
    Keep(OutPoint, Sat),
}

/// The LSP, its store and its node.
pub struct Lsp {
    setup: LspSetup,
    service: Service,
    store: BTreeMap<String, Vec<u8>>,
    now: Timestamp,
    connected: BTreeSet<PeerId>,
    sent: Vec<(PeerId, Vec<u8>)>,
    acts: Vec<Act>,
    asked: BTreeSet<ChannelKey>,
    closed_to_others: BTreeSet<ChannelKey>,
    /// Whether the node creates no invoices, offers and addresses.
    pub makes_nothing: bool,
    /// Whether the script reports these later.
    pub is_slow: bool,
    /// Whether the node does not report a claim at once.
    pub is_slow_to_claim: bool,
    /// Whether the node does not report a failed part at once.
    pub is_slow_to_fail: bool,
    /// Outpoint with which the wallet funds the next channel, instead of one derived from the channel's key.
    pub funding_outpoint: Option<OutPoint>,
    /// Whether the node does not report that it closed an abandoned channel, as an HTLC may be on it.
    pub keeps_abandoned: bool,
    book: BTreeMap<BookKey, BookEntry>,
    pending_decisions: Vec<PendingDecision>,
    introduced: Vec<Introduced>,
    facts: NodeFacts,
}

impl Lsp {
    /// Creates an LSP at an instant.
    #[must_use]
    pub fn at(now: Timestamp, setup: LspSetup) -> Self {
        let facts = setup.facts();
        let service = service(&setup, facts);
        let (store, connected, asked, closed_to_others, book) = Default::default();
        let (sent, acts, pending_decisions, introduced) = Default::default();
        let (makes_nothing, is_slow, is_slow_to_claim, keeps_abandoned) = Default::default();
        Self {
            setup,
            service,
            store,
            now,
            connected,
            sent,
            acts,
            asked,
            closed_to_others,
            makes_nothing,
            is_slow,
            is_slow_to_claim,
            is_slow_to_fail: false,
            funding_outpoint: None,
            keeps_abandoned,
            book,
            pending_decisions,
            introduced,
            facts,
        }
    }

    /// Lets time pass.
    pub fn wait_until(&mut self, now: Timestamp) {
        self.now = now;
        self.feed(Input::Tick);
    }

    /// Sets the clock, which the host reports.
    pub fn sets_clock(&mut self, to: Timestamp) {
        let from = std::mem::replace(&mut self.now, to);
        self.feed(Input::ClockSet { from, to });
    }

    /// Sets the clock without a report, as if the LSP were down or had no steady clock.
    pub fn sets_clock_unseen(&mut self, to: Timestamp) {
        self.now = to;
    }

    /// The core.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Delivers a message, and returns the replies to its sender.
    pub fn receives(&mut self, peer: PeerId, payload: &[u8]) -> Vec<Vec<u8>> {
        self.sent.clear();
        self.feed(Input::Message { peer, payload: payload.to_vec() });
        self.sent_to(peer)
    }

    /// Connects a peer, whose channels are usable at once.
    pub fn connects(&mut self, peer: PeerId) {
        self.connected.insert(peer);
        self.feed(Input::PeerConnected { peer });
        self.feed(Input::ChannelsUsable { peer });
    }

    /// Connects a peer whose channels are not usable yet.
    pub fn connects_without_channels(&mut self, peer: PeerId) {
        self.connected.insert(peer);
        self.feed(Input::PeerConnected { peer });
    }

    /// Disconnects a peer.
    pub fn disconnects(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
        self.feed(Input::PeerDisconnected { peer });
    }

    /// Delivers an HTLC.
    pub fn htlc(&mut self, htlc: HeldHtlc) {
        self.feed(Input::HtlcHeld(htlc));
    }

    /// Delivers an HTLC of exactly the amount to forward.
    pub fn part(&mut self, part: u8, scid: Scid, hash: u8, amount: Msat) {
        self.htlc(HeldHtlc {
            part: PartId([part; 32]),
            scid,
            payment_hash: PaymentHash([hash; 32]),
            amount_in: amount,
            onion_amount: amount,
            cltv_expiry: None,
        });
    }

    /// Lets the client accept the channel that was asked for last, with this delay if the node reports it.
    pub fn accepts_channel(&mut self, key: ChannelKey, to_self_delay: Option<u16>) {
        let output = FundingOutput { script: vec![0x51], value_sat: 1 };
        self.feed(Input::ChannelNegotiated { key, to_self_delay, output });
        self.asked.remove(&key);
    }

    /// Reports that both sides signed the funding transaction.
    pub fn funding_signed(&mut self, key: ChannelKey) {
        if self.asked.contains(&key) {
            self.accepts_channel(key, None);
        }
        self.feed(Input::ChannelPending { key });
    }

    /// Reports `channel_ready`.
    pub fn channel_ready(&mut self, key: ChannelKey) {
        self.feed(Input::ChannelReady { key, channel_id: ChannelId([7; 32]) });
    }

    /// Reports that an open, or a channel, ended.
    pub fn channel_ends(&mut self, key: ChannelKey, why: ChannelEnd) {
        self.asked.remove(&key);
        self.feed(Input::ChannelEnded { key, why });
    }

    /// Reports that the client claimed a part.
    pub fn claimed(&mut self, part: PartId) {
        self.feed(Input::PartForwarded { part: WhichPart::Id(part), over: None });
    }

    /// Reports that the client failed a part.
    pub fn failed_by_client(&mut self, part: PartId) {
        self.feed(Input::PartFailed { part });
    }

    /// Reports a block.
    pub fn block(&mut self, height: u32) {
        self.facts.height = BlockHeight(height);
        self.feed(Input::NodeFacts(self.facts));
    }

    /// Changes the feerate, which the next block reports.
    pub fn feerate(&mut self, sat_per_kw: u32) {
        self.facts.feerate_sat_per_kw = sat_per_kw;
    }

    /// Reports new facts of the node.
    pub fn knows(&mut self, facts: NodeFacts) {
        self.facts = facts;
        self.feed(Input::NodeFacts(facts));
    }

    /// Crashes the process after its last write and starts it again. The node and the peers are unchanged, and the node
    /// has no unreported event.
    pub fn restarts(&mut self) {
        self.restarts_before_its_node();
        self.feed(Input::NodeCaughtUp);
    }

    /// Crashes and starts the process, with the node's events still to come.
    pub fn restarts_before_its_node(&mut self) {
        self.service = service(&self.setup, self.facts);
        for (name, bytes) in &self.store {
            let record = Record { name: name.clone(), bytes: bytes.clone() };
            self.service.load(&record).expect("we wrote it");
        }
        self.settle();
        for peer in self.connected.clone() {
            self.connects(peer);
        }
    }

    /// Puts an earlier record into the store, and starts the LSP.
    pub fn finds(&mut self, record: Record) {
        self.store.insert(record.name, record.bytes);
        self.restarts();
    }

    /// Takes the actions since the last call.
    pub fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Whether a channel forwards other payments to its client.
    #[must_use]
    pub fn carries_others(&self, key: ChannelKey) -> bool {
        !self.closed_to_others.contains(&key)
    }

    /// Takes the pending decisions since the last call.
    pub fn pending_decisions(&mut self) -> Vec<PendingDecision> {
        std::mem::take(&mut self.pending_decisions)
    }

    /// Takes what clients told of their programs since the last call.
    pub fn introduced(&mut self) -> Vec<Introduced> {
        std::mem::take(&mut self.introduced)
    }

    /// Messages to a peer since the last message was received.
    #[must_use]
    pub fn sent_to(&self, peer: PeerId) -> Vec<Vec<u8>> {
        self.sent.iter().filter(|(receiver, _)| *receiver == peer).map(|(_, payload)| payload.clone()).collect()
    }

    /// The operator's book.
    pub fn book(&self) -> impl Iterator<Item = &BookEntry> {
        self.book.values()
    }

    /// Content of the store, by record.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.store
    }

    /// Passes an input to the core, writes its records, then executes its effects.
    pub fn feed(&mut self, input: Input) {
        let part = match &input {
            Input::HtlcHeld(htlc) => Some(htlc.part),
            Input::PartStillHeld { part, .. } => Some(*part),
            _ => None,
        };
        let payment = if let Input::PaymentHeld(held) = &input { Some(held.payment_hash) } else { None };
        let sender = if let Input::Message { peer, .. } = &input { Some(*peer) } else { None };
        let outcome = self.service.handle(&input, self.now);
        if let (Some(peer), Outcome::Refused(Refusal::BadMessage)) = (sender, outcome) {
            self.acts.push(Act::ReportBadMessage(peer));
        }
        if let (Some(hash), Outcome::Refused(Refusal::FailPayment)) = (payment, outcome) {
            self.acts.push(Act::FailPayment(hash));
        }
        match (part, outcome) {
            (Some(part), Outcome::Refused(Refusal::FailPart(code))) => self.acts.push(Act::Fail { part, code }),
            (Some(part), Outcome::NotMine) => self.acts.push(Act::NotMine(part)),
            _ => {}
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let batch = self.service.drain();
            if batch.is_empty() {
                return;
            }
            for (id, content) in batch.records() {
                assert_eq!(id.to_string().parse::<FlowId>().as_ref(), Ok(&id), "a record's name reads back");
                match content {
                    Some(bytes) => self.store.insert(id.to_string(), bytes.to_vec()),
                    None => self.store.remove(&id.to_string()),
                };
            }
            let released = batch.written();
            self.sent.extend(released.messages);
            self.pending_decisions.extend(released.pending_decisions);
            self.introduced.extend(released.introduced);
            for answer in released.effects.into_iter().filter_map(|effect| self.perform(effect)).collect::<Vec<_>>() {
                let _ = self.service.handle(&answer, self.now);
            }
        }
    }

    /// Executes an effect, and returns its report unless the script reports it.
    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::OpenChannel { key, terms, .. } => {
                if !terms.carries_others {
                    self.closed_to_others.insert(key);
                }
                if self.asked.insert(key) {
                    self.acts.push(Act::Open { key, terms });
                }
                None
            }
            Effect::FundChannel { key, .. } => {
                let (tx, mining_sat) = (key.to_u128().to_be_bytes().into(), MINING_SAT);
                let outpoint = self.funding_outpoint.take().unwrap_or_else(|| outpoint(key));
                Some(Input::FundingBuilt { key, tx, mining_sat, outpoint })
            }
            Effect::HandFunding { .. } => None,
            Effect::BroadcastFunding { key, ask, .. } => {
                self.acts.push(if ask == 1 { Act::Broadcast(key) } else { Act::BroadcastAgain(key) });
                None
            }
            Effect::AbandonChannel { key, .. } => {
                self.asked.remove(&key);
                self.acts.push(Act::Abandon(key));
                (!self.keeps_abandoned).then_some(Input::ChannelAbandoned { key })
            }
            Effect::CarryOthers { key, .. } => {
                self.closed_to_others.remove(&key);
                None
            }
            Effect::ForwardPart { part, amount, extra_fee, .. } => {
                self.acts.push(Act::Forward { part, amount, extra_fee });
                None
            }
            Effect::FailPart { part, code, .. } => {
                self.acts.push(Act::Fail { part, code });
                (!self.is_slow_to_fail).then_some(Input::PartFailed { part })
            }
            Effect::WakeClient { peer, call, .. } => {
                self.acts.push(Act::Wake { peer, call });
                None
            }
            Effect::PrepareOrder { order, invoice, offer, address } => {
                let prepared = Prepared {
                    invoice: invoice.map(|(hash, _)| format!("invoice {hash}")),
                    offer: offer.map(|_| (format!("offer {order}"), offer_id(order))),
                    address: address.then(|| address_of(order)),
                };
                let prepared = if self.makes_nothing { Prepared::default() } else { prepared };
                (!self.is_slow).then_some(Input::OrderPrepared { order, prepared })
            }
            Effect::ClaimPayment { payment_hash, .. } => {
                self.acts.push(Act::Claim(payment_hash));
                let held = self.service.known_payments().find(|known| known.payment_hash == payment_hash);
                let amount = held.map_or(Msat::ZERO, |held| held.amount);
                let id = held.and_then(|held| held.id);
                (!self.is_slow_to_claim).then_some(Input::PaymentClaimed { payment_hash, id, amount })
            }
            Effect::FailPayment { payment_hash, .. } => {
                self.acts.push(Act::FailPayment(payment_hash));
                Some(Input::PaymentGone { payment_hash })
            }
            Effect::KeepDeposit { order, outpoint, amount } => {
                self.acts.push(Act::Keep(outpoint, amount));
                Some(Input::DepositKept { order, outpoint })
            }
            Effect::BuildRefund { key, to, deposits } => {
                let worth: u64 = deposits.iter().map(|(_, amount)| amount.0).sum();
                self.acts.push(Act::Refund { to, deposits });
                Some(if worth > MINING_SAT {
                    Input::RefundBuilt { key, tx: format!("{key:?}").into(), mining_sat: MINING_SAT }
                } else {
                    Input::RefundImpossible { key }
                })
            }
            Effect::BroadcastRefund { key, ask, .. } => {
                if ask > 1 {
                    self.acts.push(Act::BumpRefund(key));
                }
                None
            }
            Effect::Book { key, entry } => {
                self.book.insert(key, entry);
                Some(Input::Booked { key })
            }
            Effect::PostWebhook { key, url, body, timestamp, .. } => {
                let (url, timestamp) = (url.into(), timestamp.as_str().into());
                self.acts.push(Act::Post { key, url, body, timestamp });
                (!self.setup.hooks_are_silent).then_some(Input::WebhookDelivered { key })
            }
        }
    }
}

/// Sends a request to the LSP and parses the reply, as a client without a core would.
///
/// # Errors
///
/// The error that the LSP answered.
pub fn call<R: Request>(lsp: &mut Lsp, client: PeerId, request: &R) -> Result<R::Reply, ErrorReply<R::Error>> {
    let payload = encode_request("the only one", request).expect("a short request");
    let replies = lsp.receives(client, &payload);
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    match FromLsp::decode(reply).expect("a reply") {
        FromLsp::Response { outcome: Ok(raw), .. } => Ok(raw.reply::<R>().expect("a reply of its type")),
        FromLsp::Response { outcome: Err(error), .. } => Err(error.typed()),
        FromLsp::Notification { .. } => panic!("not a reply"),
    }
}

/// Buys on the first entry of the menu.
pub fn buys(lsp: &mut Lsp, client: PeerId, payment_size_msat: Option<Msat>) -> Bought {
    let menu = call(lsp, client, &GetInfo { token: None }).expect("a menu");
    let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
    call(lsp, client, &Buy { opening_fee_params, payment_size_msat }).expect("a SCID")
}

fn service(setup: &LspSetup, facts: NodeFacts) -> Service {
    let mut scids = setup.scids.clone().into_iter();
    let mut last = Scid(0);
    let source = move || {
        last = scids.next().unwrap_or(last);
        last
    };
    let key = PromiseKey::new([42; 32]);
    let mut service =
        Service::new(setup.config_of_service(), setup.clone(), source, key).expect("a valid configuration");
    let _ = service.handle(&Input::NodeFacts(facts), Timestamp::default());
    service
}
