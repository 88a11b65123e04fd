//! The channel of a flow, from the open to its end.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use lsps_types::{BlockHeight, Blocks, Msat, OutPoint, PeerId, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Shift;
use crate::config::Config;
use crate::effect::{Effect, OpenTerms};
use crate::flow::{Context, Reject};
use crate::ids::{ChannelId, ChannelKey};
use crate::input::{ChannelEnd, FundingOutput};

/// `None -> Opening -> Pending -> Ready -> Closed`. An open that ends early, or a channel whose funding will never be
/// broadcast, goes back to `None` through `Abandoning`, which releases the reserved inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Channel {
    None,
    Opening {
        /// Time at which the open, or its last step, began.
        since: Timestamp,
        capacity_sat: u64,
        deliver: Msat,
        client_reserve: Ppm,
        step: Step,
    },
    /// Both sides signed. `funding` is kept until it is confirmed.
    Pending {
        funding: Option<Funding>,
    },
    /// Both sides sent `channel_ready`.
    Ready {
        funding: Option<Funding>,
        channel_id: ChannelId,
    },
    /// The channel was closed after its funding was broadcast.
    Closed {
        funding: Option<Funding>,
    },
    Abandoning {
        funding: Option<Funding>,
    },
}

/// Step of an open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The node was asked to open the channel.
    Asked,
    /// The client accepted, and the wallet was asked for the funding transaction.
    Negotiated { output: FundingOutput },
    /// The funding transaction is on record and was given to the node.
    Funded(Funding),
}

/// A funding transaction that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Funding {
    pub tx: Vec<u8>,
    /// On-chain fee of the transaction, in satoshis.
    pub mining_sat: u64,
    /// Number of broadcasts that were asked for, and the height at the last of them.
    pub ask: u32,
    pub asked_at: BlockHeight,
}

/// Event of the channel of the current attempt.
#[derive(Debug)]
pub(crate) enum ChannelNews<'a> {
    /// The node was asked to open the channel.
    Asked,
    Negotiated {
        to_self_delay: Option<u16>,
        output: &'a FundingOutput,
    },
    FundingBuilt {
        tx: &'a [u8],
        mining_sat: u64,
        outpoint: OutPoint,
    },
    Pending,
    Ready(ChannelId),
    Ended(&'a ChannelEnd),
    Abandoned,
    Confirmed,
    /// The client claimed an HTLC over the channel that was not meant for it.
    Used,
    /// The channel is to be abandoned, but an HTLC of its client is on it.
    Carries,
}

/// Terms of the channel agreed with the client, besides its size.
pub(crate) struct Agreed {
    pub max_client_to_self_delay: Option<u32>,
    /// Initial balance of the client.
    pub push: Msat,
    pub announce: bool,
    pub confirmations: u16,
    pub confirm_within: Option<Blocks>,
    pub carries_others: bool,
}

/// State change of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChannelEvent {
    Opening {
        at: Timestamp,
        capacity_sat: u64,
        deliver: Msat,
        client_reserve: Ppm,
    },
    /// The node was asked to open the channel at this time or later.
    Asked(Timestamp),
    Negotiated(FundingOutput),
    Funded {
        funding: Funding,
        at: Timestamp,
    },
    /// The funding transaction is still unconfirmed at this height.
    Stuck(BlockHeight),
    Pending,
    Ready(ChannelId),
    /// The funding transaction will never be broadcast.
    Abandoned,
    /// There is no channel, and nothing is reserved for one.
    Gone,
    Closed,
    Confirmed {
        at: Timestamp,
        height: BlockHeight,
    },
}

impl Channel {
    /// The changes that an event causes in a channel of any flow. For some flows the end of a channel, or its use,
    /// means more; they handle those events first.
    pub fn decide(&self, news: &ChannelNews<'_>, ctx: &Context<'_>) -> Result<Vec<ChannelEvent>, Reject> {
        use ChannelNews as N;
        Ok(match (self, news) {
            (Self::Opening { step: Step::Asked, since, .. }, N::Asked) if ctx.now >= *since + LATE => {
                vec![ChannelEvent::Asked(ctx.now)]
            }
            (Self::Opening { .. }, N::Asked) => vec![],
            (Self::Opening { step: Step::Asked, .. }, N::Negotiated { output, .. }) => {
                vec![ChannelEvent::Negotiated((*output).clone())]
            }
            (Self::Opening { .. } | Self::Abandoning { .. }, N::Negotiated { .. }) => vec![],
            (Self::Opening { step: Step::Negotiated { .. }, .. }, N::FundingBuilt { tx, mining_sat, .. }) => {
                let (tx, mining_sat, asked_at) = (tx.to_vec(), *mining_sat, ctx.facts.height);
                vec![ChannelEvent::Funded { funding: Funding { tx, mining_sat, ask: 1, asked_at }, at: ctx.now }]
            }
            (Self::Opening { step: Step::Funded(_), .. }, N::FundingBuilt { .. }) => vec![],
            (Self::Opening { step: Step::Funded(_), .. }, N::Pending) => vec![ChannelEvent::Pending],
            (Self::Opening { step: Step::Funded(_), .. } | Self::Pending { .. }, N::Ready(id)) => {
                vec![ChannelEvent::Ready(*id)]
            }
            (Self::Opening { .. }, N::Ended(_)) => vec![self.open_ended()],
            (Self::Pending { .. } | Self::Ready { .. }, N::Ended(_)) => vec![ChannelEvent::Closed],
            (Self::Abandoning { .. }, N::Abandoned) => vec![ChannelEvent::Gone],
            // The forward may still come back.
            (_, N::Carries) => vec![],
            (Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. }, N::Confirmed)
                if self.funding().is_some() =>
            {
                vec![ChannelEvent::Confirmed { at: ctx.now, height: ctx.facts.height }]
            }
            // The event is a repetition, or later decisions made it void.
            (
                Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. } | Self::Abandoning { .. },
                N::Pending | N::Ready(_) | N::Ended(_) | N::Confirmed,
            )
            | (Self::None, N::Ended(_) | N::Abandoned)
            | (Self::Pending { .. } | Self::Ready { .. }, N::Negotiated { .. })
            | (Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. }, N::Used) => vec![],
            (
                Self::None | Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. } | Self::Abandoning { .. },
                N::Asked,
            )
            | (Self::None | Self::Opening { .. }, N::Pending | N::Ready(_) | N::Confirmed | N::FundingBuilt { .. })
            | (Self::None | Self::Opening { .. } | Self::Abandoning { .. }, N::Used)
            | (Self::None | Self::Closed { .. }, N::Negotiated { .. })
            | (
                Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. } | Self::Abandoning { .. },
                N::FundingBuilt { .. },
            )
            | (Self::Opening { .. } | Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. }, N::Abandoned) => {
                return Err(Reject::Stale);
            }
        })
    }

    /// The change by which an open ends: `Abandoned` if inputs are reserved, `Gone` otherwise.
    pub fn open_ended(&self) -> ChannelEvent {
        if self.funding().is_some() { ChannelEvent::Abandoned } else { ChannelEvent::Gone }
    }

    /// Applies a change. Nothing else assigns the state.
    pub fn apply(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Opening { at, capacity_sat, deliver, client_reserve } => {
                *self = Self::Opening { since: at, capacity_sat, deliver, client_reserve, step: Step::Asked };
            }
            ChannelEvent::Asked(at) => {
                if let Self::Opening { since, .. } = self {
                    *since = at;
                }
            }
            ChannelEvent::Negotiated(output) => self.set_step(Step::Negotiated { output }),
            ChannelEvent::Funded { funding, at } => {
                self.set_step(Step::Funded(funding));
                if let Self::Opening { since, .. } = self {
                    *since = at;
                }
            }
            ChannelEvent::Stuck(height) => {
                if let Some(funding) = self.funding_mut() {
                    (funding.ask, funding.asked_at) = (funding.ask.saturating_add(1), height);
                }
            }
            ChannelEvent::Pending => *self = Self::Pending { funding: self.funding().cloned() },
            ChannelEvent::Ready(channel_id) => *self = Self::Ready { funding: self.funding().cloned(), channel_id },
            ChannelEvent::Abandoned => *self = Self::Abandoning { funding: self.funding().cloned() },
            ChannelEvent::Gone => *self = Self::None,
            ChannelEvent::Closed => *self = Self::Closed { funding: self.funding().cloned() },
            ChannelEvent::Confirmed { .. } => self.confirmed(),
        }
    }

    /// The effect that the channel still needs from the host.
    pub fn owed(&self, key: ChannelKey, peer: PeerId, agreed: &Agreed, may_broadcast: bool) -> Option<Effect> {
        let &Agreed { max_client_to_self_delay, push, announce, confirmations, confirm_within, carries_others } =
            agreed;
        match self {
            Self::None => None,
            Self::Opening { step: Step::Asked, capacity_sat, deliver, client_reserve, .. } => {
                let (capacity_sat, deliver, client_reserve) = (*capacity_sat, *deliver, *client_reserve);
                let terms = OpenTerms {
                    capacity_sat,
                    deliver,
                    client_reserve,
                    max_client_to_self_delay,
                    push,
                    announce,
                    confirmations,
                    confirm_within,
                    carries_others,
                };
                Some(Effect::OpenChannel { key, peer, terms })
            }
            Self::Opening { step: Step::Negotiated { output }, .. } => {
                Some(Effect::FundChannel { key, peer, output: output.clone(), confirm_within })
            }
            Self::Opening { step: Step::Funded(Funding { tx, .. }), .. } => {
                Some(Effect::HandFunding { key, peer, tx: tx.clone() })
            }
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => {
                let Funding { tx, ask, .. } = funding.clone().filter(|_| may_broadcast)?;
                Some(Effect::BroadcastFunding { key, tx, ask })
            }
            Self::Abandoning { funding } => {
                let tx = funding.as_ref().map(|funding| funding.tx.clone());
                Some(Effect::AbandonChannel { key, peer, tx })
            }
        }
    }

    /// Shifts the start of an open after the clock was set.
    pub fn clock_set(&mut self, shift: &Shift) {
        if let Self::Opening { since, .. } = self {
            *since = shift.past(*since);
        }
    }

    /// Time at which an open that the client did not answer is abandoned.
    pub fn given_up_at(&self, config: &Config) -> Option<Timestamp> {
        match self {
            Self::Opening { since, step: Step::Funded(_), .. } => Some(*since + config.sign_timeout),
            Self::Opening { since, step: Step::Asked | Step::Negotiated { .. }, .. } => {
                Some(*since + config.open_timeout)
            }
            Self::None | Self::Pending { .. } | Self::Ready { .. } | Self::Closed { .. } | Self::Abandoning { .. } => {
                None
            }
        }
    }

    /// The change for a funding transaction that stays unconfirmed for many blocks.
    pub fn is_stuck(&self, ctx: &Context<'_>) -> Option<ChannelEvent> {
        let height = ctx.facts.height;
        self.stuck_at(ctx.config.stuck_after).filter(|at| *at <= height).map(|_| ChannelEvent::Stuck(height))
    }

    /// Height at which the funding transaction counts as stuck: `after` blocks after it was last asked for.
    pub fn stuck_at(&self, after: Blocks) -> Option<BlockHeight> {
        match self {
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => {
                let asked_at = funding.as_ref()?.asked_at;
                // A height beyond the maximum is never reached.
                asked_at.0.checked_add(after.0).map(BlockHeight)
            }
            Self::None | Self::Opening { .. } | Self::Abandoning { .. } => None,
        }
    }

    /// The funding transaction, while it may have to be broadcast or its inputs released.
    pub fn funding(&self) -> Option<&Funding> {
        match self {
            Self::Opening { step: Step::Funded(funding), .. } => Some(funding),
            Self::None | Self::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => None,
            Self::Pending { funding }
            | Self::Ready { funding, .. }
            | Self::Closed { funding }
            | Self::Abandoning { funding } => funding.as_ref(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opening { step: Step::Asked, .. } => "asked",
            Self::Opening { step: Step::Negotiated { .. }, .. } => "negotiated",
            Self::Opening { step: Step::Funded(_), .. } => "funded",
            Self::Pending { .. } => "pending",
            Self::Ready { .. } => "ready",
            Self::Closed { .. } => "closed",
            Self::Abandoning { .. } => "abandoning",
        }
    }

    /// Whether both sides signed the channel and it is not closed.
    pub fn is_signed(&self) -> bool {
        match self {
            Self::Pending { .. } | Self::Ready { .. } => true,
            Self::None | Self::Opening { .. } | Self::Closed { .. } | Self::Abandoning { .. } => false,
        }
    }

    /// Whether the channel needs nothing more from the host: no open, no broadcast, no abandonment.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::None => true,
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => funding.is_none(),
            Self::Opening { .. } | Self::Abandoning { .. } => false,
        }
    }

    fn set_step(&mut self, next: Step) {
        if let Self::Opening { step, .. } = self {
            *step = next;
        }
    }

    fn funding_mut(&mut self) -> Option<&mut Funding> {
        match self {
            Self::Opening { step: Step::Funded(funding), .. } => Some(funding),
            Self::None | Self::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => None,
            Self::Pending { funding }
            | Self::Ready { funding, .. }
            | Self::Closed { funding }
            | Self::Abandoning { funding } => funding.as_mut(),
        }
    }

    /// Drops the funding transaction, which is confirmed; the state stays the same.
    fn confirmed(&mut self) {
        match self {
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => *funding = None,
            Self::None | Self::Opening { .. } | Self::Abandoning { .. } => {}
        }
    }
}

/// Smallest delay of `ChannelAsked` after the decision that restarts the client's time. A smaller one is not worth a
/// write of the record.
const LATE: Duration = Duration::from_secs(1);
