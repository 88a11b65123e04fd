//! Requests that wait for a decision taken elsewhere. They are kept in memory only: after a restart the client asks
//! again.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use core::time::Duration;

use lsps_types::jsonrpc::RequestId;
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Msat, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Shift;
use crate::ids::DecisionId;
use crate::limits::Limits;
use crate::policy::{BuyRefusal, MenuRefusal, OfferTerms, OrderRefusal, OrderTerms, Sale};

/// A decision that the policy left to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDecision {
    /// Id of the decision, which names the client.
    pub id: DecisionId,
    /// The client's request.
    pub about: PendingRequest,
    /// Time at which the client receives an error if there is no decision.
    pub until: Timestamp,
}

/// Request of a client that waits for a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingRequest {
    /// Request for a menu.
    Menu {
        /// Token that the client gave.
        token: Option<String>,
    },
    /// Request to buy.
    Buy {
        /// Token for which the terms were offered.
        token: Option<String>,
        /// Size of the payment, if it is fixed.
        payment_size: Option<Msat>,
    },
    /// Order of a channel.
    Order(CreateOrder),
}

/// A decision, in the form in which a [`Policy`](crate::Policy) answers. `Later` counts as a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Decision on a menu.
    Menu(Result<Vec<OfferTerms>, MenuRefusal>),
    /// Decision on a buy.
    Buy(Result<Sale, BuyRefusal>),
    /// Decision on an order.
    Order(Result<OrderTerms, OrderRefusal>),
}

/// A waiting request.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub request: RequestId,
    pub about: Request,
    pub until: Timestamp,
}

#[derive(Debug)]
pub(crate) enum Request {
    Menu(GetInfo),
    Buy(Buy),
    Order(CreateOrder),
}

/// All waiting requests.
#[derive(Debug, Default)]
pub(crate) struct PendingDecisions {
    waiting: BTreeMap<DecisionId, Waiting>,
    deadlines: BTreeSet<(Timestamp, DecisionId)>,
    last: u64,
}

impl PendingDecisions {
    /// Whether a request of this client with this id waits.
    pub fn has(&self, client: PeerId, request: &RequestId) -> bool {
        self.of(client).any(|(_, waiting)| waiting.request == *request)
    }

    /// Adds a request; `None` if a limit is reached.
    pub fn add(
        &mut self,
        client: PeerId,
        is_known: bool,
        waiting: Waiting,
        now: Timestamp,
        limits: &Limits,
    ) -> Option<DecisionId> {
        let most = if is_known { limits.pending_decisions } else { limits.pending_decisions.div_ceil(2) };
        if self.waiting.len() >= most || self.of(client).count() >= limits.pending_decisions_per_client {
            return None;
        }
        self.last = self.last.saturating_add(1).max(now.unix_millis());
        let id = DecisionId { client, number: self.last };
        self.deadlines.insert((waiting.until, id));
        self.waiting.insert(id, waiting);
        Some(id)
    }

    pub fn take(&mut self, id: DecisionId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.until, id));
        Some(waiting)
    }

    /// Removes the requests of a client that disconnected.
    pub fn forget(&mut self, client: PeerId) {
        for id in self.of(client).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.take(id);
        }
    }

    /// Shifts the deadlines after the clock was set; none becomes later than `timeout` from now.
    pub fn clock_set(&mut self, shift: &Shift, timeout: Duration) {
        for waiting in self.waiting.values_mut() {
            waiting.until = shift.end(waiting.until, timeout);
        }
        self.deadlines = self.waiting.iter().map(|(id, waiting)| (waiting.until, *id)).collect();
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub fn due(&self, now: Timestamp) -> Vec<DecisionId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    fn of(&self, client: PeerId) -> impl Iterator<Item = (&DecisionId, &Waiting)> {
        let first = DecisionId { client, number: 0 };
        let last = DecisionId { client, number: u64::MAX };
        self.waiting.range(first..=last)
    }
}
