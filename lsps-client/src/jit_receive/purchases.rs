//! All purchases of a wallet, and the loop that steps them.

use alloc::vec::Vec;

use lsps_flow::{Flows, Record, Unreadable, record};
use lsps_types::{Blocks, Msat, PaymentHash, PeerId, Preimage, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Arrival, Channel, Command, Event, Fault, Prepared, Purchase, Received, Reject, State, Verdict, Via, judge, v1,
};
use crate::{
    batch::{Changes, FlowId, Notice},
    effect::{ChannelKey, Effect},
    wake::Wake,
};

/// Request of an LSP to open a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// LSP that asks.
    pub lsp: PeerId,
    /// Key that the host gave to the channel; the same if the request is repeated.
    pub key: ChannelKey,
    /// Whether the channel would be announced to the network.
    pub announced: bool,
    /// Whether `option_scid_alias` is negotiated, as part of the channel type or between the nodes.
    pub scid_alias: bool,
    /// Whether the channel type allows use before the funding is confirmed.
    pub zero_conf: bool,
    /// Capacity.
    pub funding: Sat,
    /// Initial balance of the wallet.
    pub pushed: Msat,
}

/// The purchases, by payment hash. Their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Purchases {
    purchases: Flows<Purchase>,
}

impl Purchases {
    pub(crate) fn load(&mut self, hash: PaymentHash, record: &Record, out: &mut Changes) -> Result<(), Unreadable> {
        if self.purchases.contains_key(&hash) {
            return Err(Unreadable::Twice { name: record.name.clone() });
        }
        let purchase = match record::version(record, VERSION)? {
            (v1::VERSION, fields) => record::decode::<v1::OldPurchase>(record, fields)?.into(),
            (_, fields) => record::decode::<Purchase>(record, fields)?,
        };
        if purchase.payment_hash != hash {
            return Err(record::damaged(record));
        }
        let before = self.outstanding(purchase.lsp);
        let lsp = purchase.lsp;
        self.purchases.insert(purchase, &());
        self.release(lsp, &before, out);
        Ok(())
    }

    pub(crate) fn register(
        &mut self,
        prepared: &Prepared,
        hash: PaymentHash,
        limit: usize,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<(), RefusePurchase> {
        if now >= prepared.terms.valid_until {
            return Err(RefusePurchase::Expired);
        }
        if self.purchases.contains_key(&hash) {
            return Err(RefusePurchase::KnownPaymentHash);
        }
        if self.purchases.len() >= limit && !self.make_room(out) {
            return Err(RefusePurchase::TooMany);
        }
        let before = self.outstanding(prepared.lsp);
        let purchase = Purchase::new(prepared, hash);
        out.records.insert(FlowId::Purchase(hash), Some(record::encode(VERSION, &purchase)));
        out.released.notices.push(Notice::Purchase(hash, Event::Registered));
        self.purchases.insert(purchase, &());
        self.release(prepared.lsp, &before, out);
        Ok(())
    }

    /// Assigns the channel to the unpaid purchase that expires first. Its true purchase shows when a payment arrives.
    pub(crate) fn open_requested(
        &mut self,
        request: &OpenRequest,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<(), RefuseChannel> {
        let lsp = request.lsp;
        let hoping = || self.of(lsp).filter(|purchase| purchase.is_unpaid() && now < purchase.terms.open_until);
        let Some(max_to_self_delay) = hoping().map(|purchase| purchase.terms.max_to_self_delay).min() else {
            return Err(RefuseChannel::NothingBought);
        };
        if request.announced {
            return Err(RefuseChannel::Announced);
        }
        if !request.scid_alias {
            return Err(RefuseChannel::NoScidAlias);
        }
        let same = hoping().find(|purchase| purchase.channel().is_some_and(|channel| channel.key == request.key));
        let free = || {
            let free = hoping().filter(|purchase| purchase.channel().is_none());
            free.min_by_key(|purchase| (purchase.terms.valid_until, purchase.payment_hash))
        };
        let Some(hash) = same.or_else(free).map(|purchase| purchase.payment_hash) else {
            return Err(RefuseChannel::AllHaveChannels);
        };
        let command = Command::OpenRequested { key: request.key, max_to_self_delay };
        self.step(hash, &command, now, out).map_err(|reject| match reject {
            Reject::HasChannel => RefuseChannel::AllHaveChannels,
            Reject::NotOpen | Reject::OtherChannel => RefuseChannel::NothingBought,
        })
    }

    /// The strictest `to_self_delay` limit of the purchases that wait for a channel of this LSP; `None` if none waits.
    pub(crate) fn hopes_for_channel(&self, lsp: PeerId, now: Timestamp) -> Option<Blocks> {
        let hoping = self.of(lsp).filter(|purchase| purchase.is_unpaid() && now < purchase.terms.open_until);
        hoping.map(|purchase| purchase.terms.max_to_self_delay).min()
    }

    /// Whether HTLCs on channels with this LSP may be below the amount in their onions.
    pub(crate) fn allows_underpaying(&self, lsp: PeerId) -> bool {
        self.outstanding(lsp).contains(&Effect::AllowUnderpaying { lsp })
    }

    pub(crate) fn channel_moved(
        &mut self,
        key: ChannelKey,
        command: &Command,
        now: Timestamp,
        out: &mut Changes,
    ) -> Handled {
        match self.holder_of(key) {
            Some(hash) => self.step(hash, command, now, out).into(),
            None => Handled::NotMine,
        }
    }

    /// Marks a purchase as paid, `over` these channels as far as the node reports them. One channel of the LSP is used
    /// up by that, regardless of its purchase.
    pub(crate) fn claimed(
        &mut self,
        hash: PaymentHash,
        (received, skimmed): (Msat, Msat),
        over: &[ChannelKey],
        now: Timestamp,
        out: &mut Changes,
    ) -> Handled {
        let Some(purchase) = self.purchases.get(&hash) else { return Handled::NotMine };
        if purchase.can_hold() {
            let _used = self.take_used_channel(hash, over, now, out);
        }
        self.step(hash, &Command::Claimed { received, skimmed }, now, out).into()
    }

    /// Returns the channel over which the payment arrived if that belongs to another purchase. The other purchase gets
    /// the channel of the paid one in exchange, if there is one.
    fn take_used_channel(
        &mut self,
        paid: PaymentHash,
        over: &[ChannelKey],
        now: Timestamp,
        out: &mut Changes,
    ) -> Option<Channel> {
        let purchase = self.purchases.get(&paid)?;
        let (own, lsp) = (purchase.channel(), purchase.lsp);
        let other = self.used_of_another(paid, own, lsp, over)?;
        let used = self.purchases.get(&other)?.channel();
        let passed = self.step(other, &Command::ChannelPassed(own), now, out);
        debug_assert!(passed.is_ok(), "only a purchase with a channel is asked to pass it");
        used
    }

    /// Gives the channel of an order, or of another purchase, to this purchase.
    pub(crate) fn passed(&mut self, hash: PaymentHash, channel: Channel, now: Timestamp, out: &mut Changes) {
        let passed = self.step(hash, &Command::ChannelPassed(Some(channel)), now, out);
        debug_assert!(passed.is_ok(), "its payment is here");
    }

    /// Takes the channel of a loaded purchase from others that have the same on record. Returns its key if a held payment
    /// arrived over it.
    ///
    /// A store need not write a batch in one transaction. A crash between the records of two purchases, one of which got
    /// the channel of the other, leaves both with it, and a fee would be kept twice for one channel.
    pub(crate) fn shares_no_channel(&mut self, loaded: PaymentHash, out: &mut Changes) -> Option<ChannelKey> {
        let key = self.purchases.get(&loaded)?.channel()?.key;
        let is_holding = |hash: &PaymentHash| {
            self.purchases.get(hash).is_some_and(|purchase| matches!(purchase.state, State::Holding(_)))
        };
        let holders: Vec<PaymentHash> = self.purchases.index().of_channel.of(&key).collect();
        let (holding, mut others): (Vec<_>, Vec<_>) = holders.into_iter().partition(is_holding);
        if holding.is_empty() {
            others.pop(); // one of them keeps it
        }
        for other in others {
            let passed = self.step(other, &Command::ChannelPassed(None), Timestamp::default(), out);
            debug_assert!(passed.is_ok(), "it has a channel");
        }
        (!holding.is_empty()).then_some(key)
    }

    /// Whether a held payment arrived over this channel.
    pub(crate) fn holds_over(&self, key: ChannelKey) -> bool {
        let mut holders = self.purchases.index().of_channel.of(&key).filter_map(|hash| self.purchases.get(&hash));
        holders.any(|purchase| matches!(purchase.state, State::Holding(_)))
    }

    /// Whether the purchase, or another one from its LSP, has a channel over which no held payment arrived.
    pub(crate) fn has_channel_to_spare(&self, purchase: &Purchase) -> bool {
        let is_free =
            |it: &Purchase| it.payment_hash == purchase.payment_hash || !matches!(it.state, State::Holding(_));
        self.of(purchase.lsp).any(|it| it.channel().is_some() && is_free(it))
    }

    /// The other purchase whose channel was used, by the node's report. If the report names no channel of a purchase
    /// and the paid purchase has none, any other purchase with a channel, as the LSP will have opened that for this
    /// payment.
    fn used_of_another(
        &self,
        paid: PaymentHash,
        own: Option<Channel>,
        lsp: PeerId,
        over: &[ChannelKey],
    ) -> Option<PaymentHash> {
        // A purchase that holds a payment owns the channel over which that arrived, also if another payment arrives there.
        let is_free = |hash: &PaymentHash| {
            let state = self.purchases.get(hash).map(|purchase| &purchase.state);
            *hash == paid || !matches!(state, Some(State::Holding(_)))
        };
        if let Some(holder) = over.iter().filter_map(|key| self.holder_of(*key)).find(is_free) {
            return (holder != paid).then_some(holder);
        }
        if own.is_some() {
            return None;
        }
        let spare = |purchase: &&Purchase| purchase.channel().is_some() && is_free(&purchase.payment_hash);
        self.of(lsp).find(spare).map(|purchase| purchase.payment_hash)
    }

    /// Holds a payment that arrived as promised until its channel is confirmed.
    pub(crate) fn held(
        &mut self,
        hash: PaymentHash,
        (received, skimmed): (Msat, Msat),
        preimage: Option<Preimage>,
        over: &[ChannelKey],
        now: Timestamp,
        out: &mut Changes,
    ) -> Handled {
        // The channel over which the payment arrived is this purchase's from now on, so that no other fee is kept for
        // it.
        let is_new = self.get(hash).is_some_and(|it| it.can_hold() && !matches!(it.state, State::Holding(_)));
        if let Some(used) = Some(()).filter(|()| is_new).and_then(|()| self.take_used_channel(hash, over, now, out)) {
            self.passed(hash, used, now, out);
        }
        self.step(hash, &Command::Held { received, skimmed, preimage }, now, out).into()
    }

    pub(crate) fn gave_up(&mut self, hash: PaymentHash, now: Timestamp, out: &mut Changes) -> Handled {
        self.step(hash, &Command::GaveUp, now, out).into()
    }

    pub(crate) fn abandon(&mut self, hash: PaymentHash, now: Timestamp, out: &mut Changes) -> Handled {
        self.step(hash, &Command::Abandon, now, out).into()
    }

    pub(crate) fn tick(&mut self, now: Timestamp, out: &mut Changes) {
        for hash in self.purchases.due(now) {
            let ticked = self.step(hash, &Command::Tick, now, out);
            debug_assert!(ticked.is_ok(), "time passes for every purchase");
        }
    }

    pub(crate) fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        self.purchases.next_wake()
    }

    pub(crate) fn judge(&self, hash: PaymentHash, received: &Received<'_>) -> Verdict {
        judge(self.purchases.get(&hash).and_then(Purchase::expected).as_ref(), received)
    }

    /// Decides on a complete payment by its amounts and by the channels over which it arrived. `ordered`: channels that
    /// were taken for orders' and may have been opened for a purchase.
    pub(crate) fn arrived(
        &self,
        hash: PaymentHash,
        received: &Received<'_>,
        over: &[Via],
        ordered: &[Channel],
        wait: u16,
    ) -> Arrival {
        match self.judge(hash, received) {
            Verdict::Claim => {}
            Verdict::WaitForMore => return Arrival::WaitForMore,
            Verdict::Reject(why) => return Arrival::Reject(why),
        }
        let (purchase, skimmed) = (self.purchases.get(&hash), received.skimmed());
        if let Some(purchase) = purchase.filter(|_| skimmed > Msat::ZERO) {
            if over.iter().any(|via| via.peer != Some(purchase.lsp)) {
                return Arrival::Reject(Fault::KeptByAnother { skimmed });
            }
            if !self.has_opened(purchase, over, ordered) {
                return Arrival::Reject(Fault::NoChannelOpened { skimmed });
            }
        }
        if over.iter().any(|via| via.peer.is_none()) {
            return Arrival::Reject(Fault::ChannelGone);
        }
        let wanted = purchase.map_or(wait, |purchase| purchase.terms.confirmations_to_wait);
        let unsafe_yet = over.iter().filter(|via| !via.bears(wanted, via.peer.is_some_and(|peer| self.trusts(peer))));
        match unsafe_yet.map(|via| via.confirmations).min() {
            None => Arrival::Claim,
            Some(_) if purchase.is_some_and(Purchase::can_hold) => Arrival::Hold,
            Some(confirmations) if confirmations >= u32::from(wanted) => Arrival::Reject(Fault::Unpublished),
            Some(confirmations) => Arrival::Reject(Fault::Unconfirmed { confirmations, wanted }),
        }
    }

    /// Whether a channel that may be the purchase's is funded, or the payment arrived over it. Which of several
    /// purchases a channel is for shows when a payment arrives; a channel over which a held payment arrived is not free
    /// for another.
    fn has_opened(&self, purchase: &Purchase, over: &[Via], ordered: &[Channel]) -> bool {
        let is_there = |channel: Channel| channel.pending || over.iter().any(|via| via.key == channel.key);
        let free = |other: &&Purchase| {
            other.payment_hash == purchase.payment_hash || !matches!(other.state, State::Holding(_))
        };
        let bought = self.of(purchase.lsp).filter(free).filter_map(Purchase::channel);
        bought.chain(ordered.iter().copied()).any(is_there)
    }

    /// Whether the wallet agreed to trust this LSP with the funding of a channel.
    fn trusts(&self, lsp: PeerId) -> bool {
        self.of(lsp).any(|purchase| purchase.terms.client_trusts_lsp)
    }

    pub(crate) fn get(&self, hash: PaymentHash) -> Option<&Purchase> {
        self.purchases.get(&hash)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Purchase> {
        self.purchases.values()
    }

    /// Executes a command: applies and records its events, adds notices, and releases the new effects. No other code
    /// steps a purchase.
    fn step(&mut self, hash: PaymentHash, command: &Command, now: Timestamp, out: &mut Changes) -> Result<(), Reject> {
        let lsp = self.purchases.get(&hash).ok_or(Reject::NotOpen)?.lsp;
        let before = self.outstanding(lsp);
        let seen = |event: &Event| out.released.notices.push(Notice::Purchase(hash, *event));
        let moved = self.purchases.step(hash, command, &now, &(), seen).unwrap_or(Err(Reject::NotOpen))?;
        if moved.stepped.owed.is_some() {
            let content = self.purchases.get(&hash).map(|purchase| record::encode(VERSION, purchase));
            out.records.insert(FlowId::Purchase(hash), content);
            // Purchases share settings of their LSP, so what is new is seen in all of them together.
            self.release(lsp, &before, out);
        }
        Ok(())
    }

    /// The effects of all purchases from one LSP. A setting that one of them needs takes precedence over its removal by
    /// the others.
    fn outstanding(&self, lsp: PeerId) -> Vec<Effect> {
        let mut effects: Vec<Effect> = Vec::new();
        for effect in self.of(lsp).flat_map(Purchase::outstanding) {
            if !effects.contains(&effect) {
                effects.push(effect);
            }
        }
        if effects.contains(&Effect::AllowUnderpaying { lsp }) {
            effects.retain(|effect| *effect != Effect::ForbidUnderpaying { lsp });
        }
        effects
    }

    fn release(&self, lsp: PeerId, before: &[Effect], out: &mut Changes) {
        for effect in self.outstanding(lsp) {
            if !before.iter().any(|earlier| effect.key() == earlier.key()) {
                out.released.effects.push(effect);
            }
        }
    }

    /// Removes the finished purchase that would be removed first, if there is one.
    fn make_room(&mut self, out: &mut Changes) -> bool {
        let over = self.purchases.values().filter(|purchase| purchase.is_over());
        let Some(hash) = over.min_by_key(|purchase| purchase.terms.keep_until).map(|purchase| purchase.payment_hash)
        else {
            return false;
        };
        self.step(hash, &Command::Tick, Timestamp::from_unix_millis(u64::MAX), out).is_ok()
    }

    fn of(&self, lsp: PeerId) -> impl Iterator<Item = &Purchase> {
        self.purchases.index().of_lsp.of(&lsp).filter_map(|hash| self.purchases.get(&hash))
    }

    fn holder_of(&self, key: ChannelKey) -> Option<PaymentHash> {
        self.purchases.index().of_channel.of(&key).next()
    }
}

impl From<Result<(), Reject>> for Handled {
    fn from(done: Result<(), Reject>) -> Self {
        match done {
            Ok(()) => Self::Taken,
            Err(Reject::NotOpen | Reject::HasChannel | Reject::OtherChannel) => Self::NotMine,
        }
    }
}

/// Result of a report about a channel or a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Handled {
    /// A purchase or an order handled it.
    Taken,
    /// No flow knows it: it is the application's own, or was reported before.
    NotMine,
}

/// Reason to refuse a channel as a bought or ordered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseChannel {
    /// No purchase from this peer waits for a payment, and no order for a channel.
    #[error("no channel was bought from this peer")]
    NothingBought,
    /// Each purchase or order from this peer has its channel.
    #[error("each channel bought from this peer is open or opening")]
    AllHaveChannels,
    /// The channel would be announced, which a bought channel never is.
    #[error("the channel would be announced")]
    Announced,
    /// A channel was ordered, but the requested one differs from it, or the order is not paid yet.
    #[error("the channel is not as ordered")]
    NotAsOrdered,
    /// The channel lacks `option_scid_alias`, which a bought channel has.
    #[error("the channel lacks option_scid_alias")]
    NoScidAlias,
}

/// Reason for which a purchase is not registered. Its invoice must not be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusePurchase {
    /// The purchase has expired.
    #[error("the offer has expired")]
    Expired,
    /// A purchase with this payment hash exists.
    #[error("there is a purchase of this payment hash already")]
    KnownPaymentHash,
    /// Too many purchases wait for their payments.
    #[error("too many purchases wait for their payments")]
    TooMany,
}

/// Version of a purchase's record.
const VERSION: u8 = 2;
