//! The one task that writes for the client: news in, records written, then messages and acts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentPreimage;
use lightning_invoice::{Bolt11Invoice, Description};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use lsps_client::jit_receive::{Arrival, Event, Handled, OpenRequest, Prepared, Purchase, Received, State};
use lsps_client::order::{self, OrderKey};
use lsps_client::session::Session;
use lsps_client::{Batch, ChannelKey, Effect, Notice, Unreadable};
use lsps_types::{Msat, PaymentHash, PeerId, Preimage};

use super::news::{Claimable, News, WalletEvent};
use super::node::Node;
use super::pay::Payments;
use super::receive::CannotReceive;
use crate::handler::PeerEvent;
use crate::peers::{Manager, Peers, peer_id, public_key};
use lsps_host::ports::{Mempool, OnchainPayer, StoreError, to_lsps_outpoint};
use lsps_host::{RETRY, Records};

/// What reaches the pump, and who waits for it to be dealt with and written.
pub(super) enum Told {
    /// An event of the node. Answer: whether it was ours; `None` if it is to be told again.
    News(News, oneshot::Sender<Option<bool>>),
    /// Nothing but a turn, after which it is known who is connected.
    Turn(oneshot::Sender<()>),
    /// Asks for the amount that the node's channels could pay.
    Outbound(oneshot::Sender<Msat>),
    /// A purchase that needs its invoice.
    Draft(Box<Draft>, oneshot::Sender<Result<Bolt11Invoice, CannotReceive>>),
}

pub(super) struct Draft {
    pub prepared: Prepared,
    /// Of a payment that the application claims.
    pub hash: Option<PaymentHash>,
    pub description: Description,
}

pub(super) struct Pump<M> {
    pub(super) session: Session,
    pub(super) node: Node<M>,
    pub(super) peers: Peers,
    store: Records,
    queue: mpsc::UnboundedReceiver<Told>,
    /// Rung when the client has something to drain.
    wake: Arc<Notify>,
    events: broadcast::Sender<WalletEvent>,
    /// A batch that the store refused; written before anything else happens.
    unwritten: Option<Batch>,
    /// Another process owns the records.
    is_lost: bool,
    /// Requests of LSPs that the client took and the node still waits on.
    pub(super) requests: BTreeMap<ChannelKey, (PublicKey, ChannelId)>,
    /// Requests for a channel in the place of one that the LSP may have forgotten; it shows when that is re-established.
    pub(super) postponed: BTreeMap<ChannelKey, (OpenRequest, PublicKey, ChannelId)>,
    /// Payments that are claimed when their channels are confirmed.
    held: BTreeMap<PaymentHash, Claim>,
    /// Confirmations that are waited for before a payment over a channel counts.
    confirmations_to_wait: u16,
    mempool: Option<Arc<dyn Mempool>>,
    pub(super) payments: Payments,
}

struct Claim {
    /// `None`: the application has it.
    preimage: Option<Preimage>,
    confirmations: u16,
    /// The application knows that it may claim.
    is_told: bool,
    /// The channels that it came over. An HTLC that comes later over one of them does not stand in for another of them.
    over: Vec<ChannelId>,
}

impl<M: Manager> Pump<M> {
    pub fn new(
        session: Session,
        node: Node<M>,
        peers: Peers,
        store: Records,
        queue: mpsc::UnboundedReceiver<Told>,
        wake: Arc<Notify>,
        events: broadcast::Sender<WalletEvent>,
    ) -> Self {
        let (unwritten, requests, postponed, held) = (None, BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let payments = Payments::default();
        let (confirmations_to_wait, mempool) = (0, None);
        Self {
            session,
            node,
            peers,
            store,
            queue,
            wake,
            events,
            unwritten,
            is_lost: false,
            requests,
            postponed,
            held,
            confirmations_to_wait,
            mempool,
            payments,
        }
    }

    /// Of a wallet that waits for so many confirmations, and may see what is not confirmed yet.
    pub fn waiting_for(self, confirmations_to_wait: u16, mempool: Option<Arc<dyn Mempool>>) -> Self {
        Self { confirmations_to_wait, mempool, ..self }
    }

    /// With a wallet that pays for orders on-chain.
    pub fn paying_onchain(self, wallet: Option<Arc<dyn OnchainPayer>>) -> Self {
        Self { payments: Payments::new(wallet), ..self }
    }

    /// Takes the records, then compares them with what the node knows by now.
    pub fn load(&mut self, records: Vec<(String, Vec<u8>)>) -> Vec<Unreadable> {
        self.session.with(|client, now| {
            let unreadable = records.iter().filter_map(|(name, bytes)| client.load(name, bytes).err()).collect();
            let bought = client.purchases().filter_map(|it| Some((public_key(it.lsp())?, it.channel()?.key)));
            let ordered = client.orders().filter_map(|it| Some((public_key(it.lsp())?, it.channels())));
            let ordered = ordered.flat_map(|(lsp, channels)| channels.map(move |channel| (lsp, channel.key)));
            for (lsp, key) in bought.chain(ordered).collect::<Vec<_>>() {
                // One that is not funded yet is asked for again, which shows whether it is still there.
                let _ = match self.node.channel(&lsp, key) {
                    Some(details) => {
                        match details.funding_txo.and_then(|funding| to_lsps_outpoint(funding.into_bitcoin_outpoint()))
                        {
                            Some(funding) => client.channel_funded(key, funding, now),
                            None => Handled::Taken,
                        }
                    }
                    None => client.channel_ended(key, now),
                };
            }
            unreadable
        })
    }

    /// Until the wallet is dropped, or the records are another process's.
    pub async fn run(mut self) {
        let mut told = vec![];
        loop {
            if !self.is_lost() {
                self.turn(std::mem::take(&mut told)).await;
            }
            if self.is_lost() {
                return self.tell(WalletEvent::LostOwnership);
            }
            let pause = self.pause();
            tokio::select! {
                first = self.queue.recv() => match first {
                    Some(first) => told.push(first),
                    None => return,
                },
                () = self.peers.arrived() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(more) = self.queue.try_recv() {
                told.push(more);
            }
        }
    }

    async fn turn(&mut self, told: Vec<Told>) {
        self.hear_peers();
        let (mut heard, mut invoices) = (vec![], vec![]);
        for told in told {
            match told {
                Told::Turn(done) => drop(done.send(())), // peers were heard before
                Told::Outbound(done) => drop(done.send(self.node.outbound())),
                Told::News(news, done) => heard.push((self.hear_node(news), done)),
                Told::Draft(draft, done) => invoices.push((self.purchase(*draft), done)),
            }
        }
        self.look_at_postponed();
        self.look_at_held();
        self.look_at_payments();
        self.broadcast_again();
        self.look_for_confirmations();
        self.session.with(|client, now| client.tick(now));
        let written = self.commit().await;
        if !written && !self.is_lost {
            tokio::time::sleep(RETRY).await;
        }
        for (ours, done) in heard {
            let _ = done.send(written.then_some(ours));
        }
        for (invoice, done) in invoices {
            let _ = done.send(if written { invoice } else { Err(CannotReceive::NotStored) });
        }
    }

    fn hear_peers(&mut self) {
        for event in self.peers.take() {
            if let PeerEvent::Disconnected(peer) = event {
                // The node forgets what a peer asked for and did not get; it asks again when it is back.
                self.requests.retain(|_, (lsp, _)| *lsp != peer);
                self.postponed.retain(|_, (_, lsp, _)| *lsp != peer);
            }
            self.session.with(|client, _| match event {
                PeerEvent::Connected(peer) => client.peer_connected(peer_id(&peer)),
                PeerEvent::Disconnected(peer) => client.peer_disconnected(peer_id(&peer)),
                PeerEvent::Message(peer, payload) => {
                    client.receive(peer_id(&peer), &payload);
                }
            });
        }
    }

    /// Whether it was ours.
    fn hear_node(&mut self, news: News) -> bool {
        let handled = match news {
            News::OpenRequested { lsp, temporary, request } => return self.open_requested(lsp, temporary, request),
            News::PaymentEnded(id, end) => return self.payment_ended(id, end),
            News::Claimable(payment) => return self.claimable(payment),
            News::ChannelPending(peer, key, funding) => self.session.with(|client, now| {
                client.channel_with(peer_id(&peer));
                match funding {
                    Some(funding) => client.channel_funded(key, funding, now),
                    None => client.channel_pending(key, now),
                }
            }),
            News::ChannelEnded(key) => {
                self.requests.remove(&key);
                self.postponed.remove(&key);
                self.session.with(|client, now| client.channel_ended(key, now))
            }
            News::Claimed { hash, received, kept, over, by_application } => {
                let handled = self.session.with(|client, now| client.claimed(hash, received, kept, &over, now));
                if by_application {
                    return false; // it is on record, and the application has to hear of it too
                }
                handled
            }
        };
        handled == Handled::Taken
    }

    /// Claims what is as promised, fails what is not, and leaves to the application what nobody bought.
    fn claimable(&mut self, Claimable { hash, received, kept, preimage, over }: Claimable) -> bool {
        let totals = Received::Totals { received, skimmed: kept };
        let (vias, wait) = (self.node.vias(&over, self.mempool.as_deref()), self.confirmations_to_wait);
        let (arrival, confirmations) = self.session.with(|client, _| {
            let purchase = client.purchase(hash);
            let confirmations = purchase.map(|purchase| purchase.terms().confirmations_to_wait);
            (client.arrived(hash, &totals, &vias, wait), confirmations)
        });
        if let (Arrival::Claim | Arrival::Hold, Some(_)) = (arrival, confirmations) {
            self.tell(WalletEvent::PaymentArriving { payment_hash: hash, received, kept });
        }
        match (arrival, confirmations, preimage) {
            (Arrival::Claim, Some(_), Some(preimage)) => {
                self.node.claim(preimage);
                true
            }
            // Nobody bought it, or it is the application that has the preimage.
            (Arrival::Claim, _, _) => false,
            (Arrival::Hold, confirmations, preimage) => {
                let confirmations = confirmations.unwrap_or(wait);
                self.tell(WalletEvent::Holding { payment_hash: hash, confirmations });
                let preimage = preimage.map(|preimage| Preimage(preimage.0));
                let keys: Vec<_> = vias.iter().map(|via| via.key).collect();
                let held = self.session.with(|client, now| client.held(hash, (received, kept), preimage, &keys, now));
                held == Handled::Taken
            }
            (Arrival::Reject(why), _, _) => {
                self.node.fail(hash);
                self.tell(WalletEvent::Refused { payment_hash: hash, why });
                true
            }
            // LDK tells of complete payments only; one of nothing waits for more in vain.
            (Arrival::WaitForMore, _, _) => {
                self.node.fail(hash);
                true
            }
        }
    }

    /// Claims what its channels bear now, or says that it may be claimed, and gives up what has no blocks left, or of which a
    /// channel is gone: LDK claims a payment in parts without those, and gives their peer the preimage.
    fn look_at_held(&mut self) {
        let (mut over, mut told) = (vec![], vec![]);
        for (hash, claim) in &mut self.held {
            let state = self.session.with(|client, _| client.purchase(*hash).map(Purchase::state).cloned());
            let holding = match state {
                Some(State::Holding(holding)) => Some(holding),
                Some(State::Paid { .. }) | None => {
                    over.push((*hash, true));
                    continue;
                }
                // Its channel ended, and whatever it holds goes back.
                Some(_) => None,
            };
            let held = self.node.held(*hash, self.mempool.as_deref()).unwrap_or_default();
            let is_whole = holding.is_some_and(|holding| held.received >= holding.received)
                && claim.over.iter().all(|channel| held.over.contains(channel));
            let is_good = held.confirmations >= u32::from(claim.confirmations) && held.is_seen;
            match (claim.preimage, holding) {
                _ if held.is_claimed => {} // the node will say so
                (Some(preimage), _) if is_whole && is_good => {
                    self.node.claim(PaymentPreimage(preimage.0));
                    over.push((*hash, true));
                }
                // To be claimed or failed by the application, or in time by the node.
                _ if is_whole && claim.is_told => {}
                (None, Some(holding)) if is_whole && is_good => {
                    claim.is_told = true;
                    told.push((*hash, holding.received, holding.skimmed));
                }
                _ if is_whole && held.blocks_left > u32::from(LEAST_BLOCKS) => {}
                _ => {
                    self.node.fail(*hash);
                    over.push((*hash, false));
                }
            }
        }
        for (payment_hash, received, kept) in told {
            self.tell(WalletEvent::Claimable { payment_hash, received, kept });
        }
        for (hash, claimed) in over {
            self.held.remove(&hash);
            let taken = claimed || self.session.with(|client, now| client.gave_up(hash, now)) == Handled::Taken;
            if !taken {
                self.tell(WalletEvent::GaveUp { payment_hash: hash }); // the client let go of it with its channel
            }
        }
    }

    /// LDK tells of no confirmation where a channel is used without one.
    fn look_for_confirmations(&mut self) {
        let waiting = |order: &order::Order| Some((public_key(order.lsp())?, order.unconfirmed_channel()?.key));
        let waiting: Vec<_> = self.session.with(|client, _| client.orders().filter_map(waiting).collect());
        for (lsp, key) in waiting {
            let confirmations = self.node.channel(&lsp, key).map(|channel| channel.confirmations.unwrap_or(0));
            let _ = match confirmations {
                Some(0) => continue,
                Some(_) => self.session.with(|client, now| client.channel_confirmed(key, now)),
                None => self.session.with(|client, now| client.channel_ended(key, now)),
            };
        }
    }

    fn purchase(&mut self, Draft { prepared, hash, description }: Draft) -> Result<Bolt11Invoice, CannotReceive> {
        let invoice = self.node.invoice(&prepared.invoice, hash, description);
        let (hash, invoice) = invoice.map_err(CannotReceive::Invoice)?;
        self.session.with(|client, now| client.register(&prepared, hash, now))?;
        Ok(invoice)
    }

    /// Writes all that changed, then lets out what that allows, until nothing more follows. `false`: the store failed.
    async fn commit(&mut self) -> bool {
        loop {
            let batch = self.unwritten.take().unwrap_or_else(|| self.session.with(|client, _| client.drain()));
            if batch.is_empty() {
                return true;
            }
            if let Err(error) = self.store.write(batch.records()).await {
                self.unwritten = Some(batch);
                self.is_lost |= error == StoreError::LostOwnership;
                return false;
            }
            if self.is_lost() {
                return false;
            }
            let released = batch.written();
            self.peers.send(released.messages);
            for effect in released.effects {
                if self.is_lost() {
                    return false;
                }
                self.perform(effect);
            }
            for notice in released.notices {
                self.pass_on(notice);
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.is_lost |= !self.store.owns();
        self.is_lost
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::AcceptChannel { key, lsp, terms, .. } => {
                let Some(peer) = public_key(lsp) else { return };
                if self.node.channel(&peer, key).is_some() {
                    return;
                }
                let accepted = self
                    .requests
                    .remove(&key)
                    .is_some_and(|(peer, temporary)| self.node.accept(&temporary, &peer, key, &terms).is_ok());
                if !accepted {
                    let _ = self.session.with(|client, now| client.channel_ended(key, now));
                }
            }
            Effect::ClaimAfter { purchase, preimage, confirmations, .. } => {
                let over = self.node.held(purchase, self.mempool.as_deref()).map(|held| held.over).unwrap_or_default();
                self.held.insert(purchase, Claim { preimage, confirmations, is_told: false, over });
            }
            Effect::AllowUnderpaying { lsp } => self.set_underpaying(lsp, true),
            Effect::ForbidUnderpaying { lsp } => self.set_underpaying(lsp, false),
            Effect::PayOrder { order, way, .. } => self.has_to_pay(order, way),
            Effect::StopPaying { order, way } => self.pays_no_more(order, &way),
            Effect::BroadcastPayment { order, transaction } => self.broadcast(order, &transaction),
            Effect::ReservePayment { transaction, .. } => self.reserve(&transaction),
            Effect::ForgetPayment { order, transaction } => self.forget(order, &transaction),
        }
    }

    fn set_underpaying(&self, lsp: PeerId, allowed: bool) {
        if let Some(peer) = public_key(lsp) {
            self.node.set_underpaying(&peer, allowed);
        }
    }

    fn pass_on(&self, notice: Notice) {
        let (payment_hash, event) = match notice {
            Notice::Purchase(payment_hash, event) => (payment_hash, event),
            Notice::Order(order, event) => return self.pass_on_of_order(order, event),
            _ => return,
        };
        match event {
            Event::Registered => self.tell(WalletEvent::Bought { payment_hash }),
            Event::ChannelAsked(_) => self.tell(WalletEvent::ChannelOpening { payment_hash }),
            Event::Paid { received, skimmed } => {
                self.tell(WalletEvent::Received { payment_hash, received, fee: skimmed });
            }
            Event::Expired => self.tell(WalletEvent::Expired { payment_hash }),
            Event::GaveUp => self.tell(WalletEvent::GaveUp { payment_hash }),
            Event::ChannelPending
            | Event::Held(_)
            | Event::ChannelEnded
            | Event::ChannelPassed(_)
            | Event::Abandoned
            | Event::Dropped => {}
        }
    }

    fn pass_on_of_order(&self, order: OrderKey, event: order::Event) {
        use order::Event as E;
        match event {
            E::Chosen { way, .. } => self.tell(WalletEvent::Ordered { order, way }),
            E::Held => self.tell(WalletEvent::OrderPaid { order }),
            E::ChannelAsked(_) => self.tell(WalletEvent::OrderOpening { order }),
            E::Refunding => self.tell(WalletEvent::OrderFailed { order }),
            E::Troubled(why) => self.tell(WalletEvent::OrderStuck { order, why }),
            E::Ended { end, .. } => self.tell(WalletEvent::OrderOver { order, end }),
            E::Placed
            | E::Signed(_)
            | E::Late
            | E::Unsent
            | E::InputsFree
            | E::Forgotten
            | E::Stands { .. }
            | E::CalledOff
            | E::Settled
            | E::Returned { .. }
            | E::ChannelPending { .. }
            | E::ChannelEnded(_)
            | E::ChannelPassed(_)
            | E::OtherChannel(_)
            | E::Unseen(_)
            | E::Unanswered(_)
            | E::Heard
            | E::Unconfirmed { .. }
            | E::ClockSet { .. }
            | E::Confirmed
            | E::Dropped => {}
        }
    }

    pub(super) fn tell(&self, event: WalletEvent) {
        let _ = self.events.send(event); // fails when nobody listens
    }

    fn pause(&self) -> Duration {
        if self.unwritten.is_some() {
            return RETRY;
        }
        let due = self.session.with(|client, now| client.next_wake().map(|(at, _)| at.since(now)));
        let watches = !self.held.is_empty() || !self.postponed.is_empty() || !self.payments.is_idle();
        let idle = if watches { WATCH } else { IDLE };
        due.unwrap_or(idle).clamp(Duration::from_millis(1), idle)
    }
}

/// How long the pump sleeps when it knows of nothing: the clock may jump.
const IDLE: Duration = Duration::from_secs(60);
/// While confirmations are waited for, which LDK does not tell, or a payment is to be tried again.
const WATCH: Duration = Duration::from_millis(250);
/// A payment that has no more than this is failed: LDK does so itself three blocks later.
const LEAST_BLOCKS: u16 = MIN_FINAL_CLTV_EXPIRY_DELTA;
