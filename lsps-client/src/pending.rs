//! Calls that wait for their answers: ids, deadlines, and everything that can come instead of an answer.

use alloc::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    string::{String, ToString},
};
use core::{fmt, marker::PhantomData, task::Waker, time::Duration};

use bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use hex_conservative::DisplayHex;
use lsps_types::jsonrpc::{ErrorObject, Raw, RequestId, encode_request};
use lsps_types::{ClockShift, PeerId, Request, Timestamp};

use crate::batch::Batch;
use crate::client::{CallError, Heard, NotSent};

/// Stands for the answer to a request of type `R`.
pub struct Ticket<R> {
    lsp: PeerId,
    id: String,
    of: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.id)
    }
}

#[derive(Debug)]
pub(crate) struct Pending {
    entropy: [u8; 32],
    drawn: u64,
    calls: BTreeMap<(PeerId, String), Call>,
    connected: BTreeSet<PeerId>,
    suspended: BTreeSet<PeerId>,
    ignored: u64,
}

#[derive(Debug)]
struct Call {
    state: State,
    /// When an open call times out; after that, when its outcome goes even if nobody took it.
    deadline: Timestamp,
    /// The most that may be left until then.
    wait: Duration,
    overdue: bool,
    waker: Option<Waker>,
}

/// An outcome is kept as text until it is asked for by its type.
#[derive(Debug)]
enum State {
    Open,
    Result(String),
    Error(ErrorObject),
    Disconnected,
    TimedOut,
}

impl Pending {
    pub fn new(entropy: [u8; 32]) -> Self {
        let (calls, connected, suspended) = Default::default();
        Self { entropy, drawn: 0, calls, connected, suspended, ignored: 0 }
    }

    /// 128 bits that nobody can tell from random ones. Spec: LSPS0: 80 bits at the least, and no plain counter.
    fn fresh_id(&mut self) -> String {
        self.drawn = self.drawn.wrapping_add(1);
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.entropy);
        engine.input(&self.drawn.to_be_bytes());
        let mac = Hmac::from_engine(engine).to_byte_array();
        mac.as_hex().to_string().chars().take(ID_LENGTH).collect()
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

    /// Sends a request, unless `limit` calls to this LSP wait. Its answer may come within that time of `now`.
    pub fn call<R: Request>(
        &mut self,
        lsp: PeerId,
        request: &R,
        limit: usize,
        (now, wait): (Timestamp, Duration),
        out: &mut Batch,
    ) -> Result<Ticket<R>, NotSent> {
        self.may_call(lsp, limit)?;
        let id = self.fresh_id();
        let payload = encode_request(&id, request)?;
        out.released.messages.push((lsp, payload));
        let call = Call { state: State::Open, deadline: now + wait, wait, overdue: false, waker: None };
        self.calls.insert((lsp, id.clone()), call);
        Ok(Ticket { lsp, id, of: PhantomData })
    }

    pub fn answer(&mut self, from: PeerId, id: RequestId, outcome: Result<Raw<'_>, ErrorObject>) -> Heard {
        let call = match id {
            RequestId::Text(text) => self.calls.get_mut(&(from, text)),
            RequestId::Number(_) => None,
        };
        match call.filter(|call| call.is_open()) {
            Some(call) => {
                call.end(outcome.map_or_else(State::Error, |raw| State::Result(raw.text().into())));
                Heard::Answer
            }
            None => {
                self.ignored = self.ignored.saturating_add(1);
                Heard::UnknownId
            }
        }
    }

    pub fn take<R: Request>(&mut self, ticket: &Ticket<R>) -> Option<Result<R::Reply, CallError<R::Error>>> {
        let call = match self.calls.entry((ticket.lsp, ticket.id.clone())) {
            Entry::Occupied(call) if call.get().is_open() => return None,
            Entry::Occupied(call) => call.remove(),
            Entry::Vacant(_) => return Some(Err(CallError::Forgotten)),
        };
        Some(match call.state {
            State::Open => return None,
            State::Result(text) => Raw::of(&text).reply::<R>().map_err(CallError::InvalidReply),
            State::Error(error) => Err(CallError::Refused(error.typed())),
            State::Disconnected => Err(CallError::Disconnected),
            State::TimedOut => Err(CallError::TimedOut),
        })
    }

    /// Whether [`take`](Self::take) gives something.
    pub fn is_answered<R>(&self, ticket: &Ticket<R>) -> bool {
        self.calls.get(&(ticket.lsp, ticket.id.clone())).is_none_or(|call| !call.is_open())
    }

    pub fn wake_later<R>(&mut self, ticket: &Ticket<R>, waker: &Waker) {
        if let Some(call) = self.calls.get_mut(&(ticket.lsp, ticket.id.clone())) {
            call.waker = Some(waker.clone());
        }
    }

    pub fn forget<R>(&mut self, ticket: &Ticket<R>) {
        self.calls.remove(&(ticket.lsp, ticket.id.clone()));
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

    /// Calls that wait stay as they are: the answer may still come.
    pub fn suspend(&mut self, lsp: PeerId) {
        if self.connected.contains(&lsp) {
            self.suspended.insert(lsp);
        }
    }

    /// Calls time out; outcomes that nobody took go when they were there for `keep`, so that a lost ticket costs no place.
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

    /// The clock was set: calls wait as long as they were to.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        for call in self.calls.values_mut() {
            call.deadline = shift.end(call.deadline, call.wait);
        }
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.calls.values().map(|call| call.deadline).min()
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

/// Hex digits.
const ID_LENGTH: usize = 32;
