//! Open calls: their ids, their deadlines, and everything that can come instead of an answer.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, marker::PhantomData, task::Waker, time::Duration};

use bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use hex_conservative::DisplayHex;
use lsps_types::jsonrpc::{ErrorObject, Raw, RequestData, RequestId};
use lsps_types::{ClockShift, PeerId, Request, Timestamp};

use crate::batch::Changes;
use crate::client::CallError;
use crate::input::CallId;
use crate::outcome::{Heard, NotSent};
use crate::tape::Draws;
use crate::wake::Wake;

/// Reference to the answer to a request of type `R`.
pub struct Ticket<R> {
    call: CallId,
    of: PhantomData<fn() -> R>,
}

impl<R> Ticket<R> {
    pub(crate) fn of(call: CallId) -> Self {
        Self { call, of: PhantomData }
    }

    /// The call of the ticket.
    #[must_use]
    pub fn call(&self) -> &CallId {
        &self.call
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.call.id)
    }
}

/// Source of request ids: 32 random bytes, fresh at every start.
pub struct RequestIds(Source);

enum Source {
    Entropy {
        entropy: [u8; 32],
        drawn: u64,
    },
    /// Ids that were drawn when a tape was recorded.
    Tape(Draws),
}

impl From<Draws> for RequestIds {
    fn from(ids: Draws) -> Self {
        Self(Source::Tape(ids))
    }
}

impl From<[u8; 32]> for RequestIds {
    fn from(entropy: [u8; 32]) -> Self {
        Self(Source::Entropy { entropy, drawn: 0 })
    }
}

/// Hides the source, as ids are derived from it.
impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestIds")
    }
}

impl RequestIds {
    /// Derives 128 bits that look random. Spec: LSPS0: 80 bits at least, and no plain counter.
    fn draw(&mut self) -> String {
        match &mut self.0 {
            Source::Entropy { entropy, drawn } => {
                *drawn = drawn.wrapping_add(1);
                let mut engine = HmacEngine::<sha256::Hash>::new(entropy);
                engine.input(&drawn.to_be_bytes());
                let mac = Hmac::from_engine(engine).to_byte_array();
                mac.as_hex().to_string().chars().take(ID_LENGTH).collect()
            }
            // More ids are drawn than on the tape, so the replay will differ at the next batch.
            Source::Tape(ids) => ids.pop().unwrap_or_default(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pending {
    ids: RequestIds,
    /// Ids that were drawn since they were last put on the tape.
    drawn: Vec<String>,
    calls: BTreeMap<(PeerId, String), Call>,
    connected: BTreeSet<PeerId>,
    suspended: BTreeSet<PeerId>,
    ignored: u64,
}

#[derive(Debug)]
struct Call {
    /// Id of the latest request.
    id: String,
    state: State,
    /// The request without `client_info`, if it has that and was not repeated yet.
    plain: Option<RequestData>,
    /// The request whose fields an answer may leave out.
    asked: Option<RequestData>,
    /// Time at which an open call times out; after that, time at which its outcome is dropped even if nobody took it.
    deadline: Timestamp,
    /// Longest time that may be left until the deadline.
    wait: Duration,
    overdue: bool,
    waker: Option<Waker>,
}

/// State of a call. An outcome is kept as text until it is taken with its type.
#[derive(Debug)]
enum State {
    Open,
    Result(String),
    Error(ErrorObject),
    Disconnected,
    TimedOut,
}

impl Pending {
    pub fn new(ids: RequestIds) -> Self {
        let (drawn, calls, connected, suspended) = Default::default();
        Self { ids, drawn, calls, connected, suspended, ignored: 0 }
    }

    fn fresh_id(&mut self) -> String {
        let id = self.ids.draw();
        self.drawn.push(id.clone());
        id
    }

    /// Takes the ids that were drawn since the last call.
    pub fn take_drawn(&mut self) -> Vec<String> {
        core::mem::take(&mut self.drawn)
    }

    pub fn may_call(&self, lsp: PeerId, limit: usize) -> Result<(), NotSent> {
        if !self.connected.contains(&lsp) {
            return Err(NotSent::NotConnected);
        }
        if self.suspended.contains(&lsp) {
            return Err(NotSent::Suspended);
        }
        if self.of(lsp).count() >= limit { Err(NotSent::TooManyPending) } else { Ok(()) }
    }

    /// Sends a request, unless `limit` calls to this LSP are open. The answer has to arrive within `wait` of `now`.
    pub fn call(
        &mut self,
        lsp: PeerId,
        request: &RequestData,
        limit: usize,
        (now, wait): (Timestamp, Duration),
        out: &mut Changes,
    ) -> Result<CallId, NotSent> {
        self.may_call(lsp, limit)?;
        let id = self.fresh_id();
        let payload = request.encode(&id)?;
        out.released.messages.push((lsp, payload));
        let call = Call {
            id: id.clone(),
            state: State::Open,
            plain: request.without_client_info(),
            asked: None,
            deadline: now + wait,
            wait,
            overdue: false,
            waker: None,
        };
        self.calls.insert((lsp, id.clone()), call);
        Ok(CallId { lsp, id })
    }

    /// Sends a request of the client itself.
    pub fn ask<R: Request>(
        &mut self,
        lsp: PeerId,
        request: &R,
        limit: usize,
        within: (Timestamp, Duration),
        out: &mut Changes,
    ) -> Result<Ticket<R>, NotSent> {
        self.call(lsp, &RequestData::of(request), limit, within, out).map(Ticket::of)
    }

    /// An answer may leave out fields of this request.
    pub fn fills(&mut self, CallId { lsp, id }: &CallId, asked: &RequestData) {
        if let Some(call) = self.calls.get_mut(&(*lsp, id.clone())) {
            call.asked = Some(asked.clone());
        }
    }

    pub fn answer(
        &mut self,
        from: PeerId,
        id: RequestId,
        outcome: Result<Raw<'_>, ErrorObject>,
        out: &mut Changes,
    ) -> Heard {
        let of_lsp = self.calls.range((from, String::new())..).take_while(|((lsp, _), _)| *lsp == from);
        let call = of_lsp.map(|(key, call)| (key.clone(), call)).find(|(_, call)| match &id {
            RequestId::Text(text) => call.id == *text && call.is_open(),
            RequestId::Number(_) => false,
        });
        let Some((key, call)) = call else {
            self.ignored = self.ignored.saturating_add(1);
            return Heard::UnknownId;
        };
        let plain = call.plain.as_ref().filter(|_| outcome.as_ref().is_err_and(ErrorObject::refuses_client_info));
        let again = plain.cloned().and_then(|plain| {
            let id = self.fresh_id();
            Some((plain.encode(&id).ok()?, id))
        });
        let Some(call) = self.calls.get_mut(&key) else { return Heard::UnknownId };
        match again {
            // The LSP does not know `client_info`. The call goes on with the same ticket and the same deadline.
            Some((payload, id)) => {
                (call.id, call.plain) = (id, None);
                out.released.messages.push((from, payload));
            }
            None => {
                let asked = call.asked.take();
                let text = |raw: Raw<'_>| asked.map_or_else(|| raw.text().into(), |asked| raw.with_absent(&asked));
                call.end(outcome.map_or_else(State::Error, |raw| State::Result(text(raw))));
            }
        }
        Heard::Answer
    }

    /// Takes the outcome of a call, which is dropped with that; `None` while the call is open.
    pub fn take<R: Request>(&mut self, ticket: &Ticket<R>) -> Option<Result<R::Reply, CallError<R::Error>>> {
        let outcome = self.outcome(ticket)?;
        self.forget(ticket.call());
        Some(outcome)
    }

    /// The outcome of a call; `None` while it is open.
    pub fn outcome<R: Request>(&self, ticket: &Ticket<R>) -> Option<Result<R::Reply, CallError<R::Error>>> {
        let CallId { lsp, id } = ticket.call();
        let Some(call) = self.calls.get(&(*lsp, id.clone())) else { return Some(Err(CallError::Forgotten)) };
        Some(match &call.state {
            State::Open => return None,
            State::Result(text) => Raw::of(text).reply::<R>().map_err(CallError::InvalidReply),
            State::Error(error) => Err(CallError::Refused(error.clone().typed())),
            State::Disconnected => Err(CallError::Disconnected),
            State::TimedOut => Err(CallError::TimedOut),
        })
    }

    /// Whether [`take`](Self::take) would return an outcome.
    pub fn is_answered(&self, CallId { lsp, id }: &CallId) -> bool {
        self.calls.get(&(*lsp, id.clone())).is_none_or(|call| !call.is_open())
    }

    pub fn wake_later(&mut self, CallId { lsp, id }: &CallId, waker: &Waker) {
        if let Some(call) = self.calls.get_mut(&(*lsp, id.clone())) {
            call.waker = Some(waker.clone());
        }
    }

    pub fn forget(&mut self, CallId { lsp, id }: &CallId) {
        self.calls.remove(&(*lsp, id.clone()));
    }

    pub fn connected(&mut self, lsp: PeerId) {
        self.connected.insert(lsp);
        self.suspended.remove(&lsp);
    }

    pub fn disconnected(&mut self, lsp: PeerId) {
        self.connected.remove(&lsp);
        self.suspended.remove(&lsp);
        let calls = self.calls.range_mut((lsp, String::new())..).take_while(|((of, _), _)| *of == lsp);
        for (_, call) in calls.filter(|(_, call)| call.is_open()) {
            call.end(State::Disconnected);
        }
    }

    /// Suspends an LSP. Open calls stay, as their answers may still arrive.
    pub fn suspend(&mut self, lsp: PeerId) {
        if self.connected.contains(&lsp) {
            self.suspended.insert(lsp);
        }
    }

    /// Times out open calls, and drops outcomes that nobody took for `keep`, so that a lost ticket uses up no place.
    pub fn tick(&mut self, now: Timestamp, keep: Duration) {
        self.calls.retain(|_, call| {
            if now < call.deadline {
                return true;
            }
            if call.is_open() {
                call.end(State::TimedOut);
            }
            let still_wanted = !call.overdue;
            (call.deadline, call.wait, call.overdue) = (now + keep, keep, true);
            still_wanted
        });
    }

    /// Shifts the deadlines after the clock was set; calls wait as long as they were to.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        for call in self.calls.values_mut() {
            call.deadline = shift.end(call.deadline, call.wait);
        }
    }

    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        let why = |call: &Call| if call.is_open() { Wake::AnswerOverdue } else { Wake::OutcomeForgotten };
        self.calls.values().map(|call| (call.deadline, why(call))).min()
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn of(&self, lsp: PeerId) -> impl Iterator<Item = &Call> {
        self.calls.range((lsp, String::new())..).take_while(move |((of, _), _)| *of == lsp).map(|(_, call)| call)
    }
}

impl Call {
    fn is_open(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Result(_) | State::Error(_) | State::Disconnected | State::TimedOut => false,
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Length of an id in hex digits.
const ID_LENGTH: usize = 32;
