//! Requests that wait for a decision taken elsewhere. In memory only: after a restart the client asks again.

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
use crate::ids::QuestionId;
use crate::limits::Limits;
use crate::policy::{BuyRefusal, MenuRefusal, OfferTerms, OrderRefusal, OrderTerms, Sale};

/// What somebody else is to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its name; who asks is in there.
    pub id: QuestionId,
    /// What is asked for.
    pub about: Asked,
    /// When the client will be told that there is no answer.
    pub until: Timestamp,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// A menu.
    Menu {
        /// For this token.
        token: Option<String>,
    },
    /// To buy.
    Buy {
        /// On terms that were offered for this token.
        token: Option<String>,
        /// The payment to come, if its size is fixed.
        payment_size: Option<Msat>,
    },
    /// To order a channel.
    Order(CreateOrder),
}

/// What was decided; as a [`Policy`](crate::Policy) would have. `Later` is no answer and counts as a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Of a menu.
    Menu(Result<Vec<OfferTerms>, MenuRefusal>),
    /// Of a buy.
    Buy(Result<Sale, BuyRefusal>),
    /// Of an order.
    Order(Result<OrderTerms, OrderRefusal>),
}

/// A request as it waits.
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

/// All requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: BTreeMap<QuestionId, Waiting>,
    deadlines: BTreeSet<(Timestamp, QuestionId)>,
    last: u64,
}

impl Questions {
    /// Whether a request of this client and id waits.
    pub fn has(&self, client: PeerId, request: &RequestId) -> bool {
        self.of(client).any(|(_, waiting)| waiting.request == *request)
    }

    /// `None` where a limit is hit.
    pub fn add(
        &mut self,
        client: PeerId,
        is_known: bool,
        waiting: Waiting,
        now: Timestamp,
        limits: &Limits,
    ) -> Option<QuestionId> {
        let most = if is_known { limits.questions } else { limits.questions.div_ceil(2) };
        if self.waiting.len() >= most || self.of(client).count() >= limits.questions_per_client {
            return None;
        }
        self.last = self.last.saturating_add(1).max(now.unix_millis());
        let id = QuestionId { client, number: self.last };
        self.deadlines.insert((waiting.until, id));
        self.waiting.insert(id, waiting);
        Some(id)
    }

    pub fn take(&mut self, id: QuestionId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.until, id));
        Some(waiting)
    }

    /// The client is gone, and its requests with it.
    pub fn forget(&mut self, client: PeerId) {
        for id in self.of(client).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.take(id);
        }
    }

    /// The clock was set; none waits for longer than `timeout`.
    pub fn clock_set(&mut self, shift: &Shift, timeout: Duration) {
        for waiting in self.waiting.values_mut() {
            waiting.until = shift.end(waiting.until, timeout);
        }
        self.deadlines = self.waiting.iter().map(|(id, waiting)| (waiting.until, *id)).collect();
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub fn due(&self, now: Timestamp) -> Vec<QuestionId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    fn of(&self, client: PeerId) -> impl Iterator<Item = (&QuestionId, &Waiting)> {
        let first = QuestionId { client, number: 0 };
        let last = QuestionId { client, number: u64::MAX };
        self.waiting.range(first..=last)
    }
}
