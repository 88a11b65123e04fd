//! A purchase as a flow: its commands, its index.

use alloc::vec::Vec;
use core::convert::Infallible;

use lsps_flow::{Due, Flow, Groups, Indexed};
use lsps_types::{Blocks, Msat, PaymentHash, PeerId, Preimage, Timestamp};

use super::{Channel, Event, Purchase, State};
use crate::effect::{ChannelKey, Effect};
use crate::wake::Wake;

/// Command to a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The LSP asks to open this channel.
    OpenRequested { key: ChannelKey, max_to_self_delay: Blocks },
    /// The funding of a channel is negotiated.
    ChannelPending(ChannelKey),
    /// A channel could not be opened, or was closed.
    ChannelEnded(ChannelKey),
    /// The channel of this purchase was used for another one, whose own channel this one gets in exchange, if there is
    /// one; or this purchase gets the channel over which its payment arrived.
    ChannelPassed(Option<Channel>),
    /// The payment arrived as promised, and is to be claimed later.
    Held { received: Msat, skimmed: Msat, preimage: Option<Preimage> },
    /// The held payment was failed, as its HTLCs were about to expire.
    GaveUp,
    /// The payment was claimed.
    Claimed { received: Msat, skimmed: Msat },
    /// The wallet abandons the purchase.
    Abandon,
    /// Time passed.
    Tick,
}

/// Reason for which a command to a purchase is rejected. The state has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The purchase accepts no channel or payment any more.
    NotOpen,
    /// The purchase has a channel already.
    HasChannel,
    /// The channel belongs to another flow.
    OtherChannel,
}

impl Flow for Purchase {
    type Id = PaymentHash;
    type Command<'a> = Command;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Timestamp;

    fn id(&self) -> PaymentHash {
        self.payment_hash
    }

    fn decide(&self, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Reject> {
        self.decide(command, *now)
    }

    fn apply(&mut self, event: Event) {
        self.apply(&event);
    }

    fn outstanding(&self) -> Vec<Effect> {
        self.outstanding()
    }

    fn is_over(&self, _: &Timestamp) -> bool {
        self.state == State::Gone
    }
}

/// Purchases by LSP and by channel.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) of_lsp: Groups<PeerId, PaymentHash>,
    pub(super) of_channel: Groups<ChannelKey, PaymentHash>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    is_there: bool,
    channel: Option<ChannelKey>,
}

impl Indexed for Purchase {
    type Shared = ();
    type Keys = Keys;
    type Index = Index;
    type Wake = Wake;
    type Signal = Infallible;

    fn keys(&self, (): &()) -> Keys {
        Keys { is_there: true, channel: self.channel().map(|channel| channel.key) }
    }

    fn due(&self, _: &Keys, (): &()) -> Due<Wake> {
        Due::at(self.deadline())
    }

    fn reindex(&self, index: &mut Index, old: &Keys, new: &Keys) {
        index.of_lsp.shift(&self.lsp, self.payment_hash, old.is_there, new.is_there);
        if old.channel != new.channel {
            old.channel.iter().for_each(|key| index.of_channel.shift(key, self.payment_hash, true, false));
            new.channel.iter().for_each(|key| index.of_channel.shift(key, self.payment_hash, false, true));
        }
    }
}
