//! The client for async code: `lsp.get_info(None).await`. The module does not depend on a runtime.
//!
//! A [`Session`] shares one [`Client`] between tasks. The session does no I/O either: it wakes its host when there is
//! something to drain, and the host reports the LSPs' answers ([`Input::Message`]) through [`Session::with`].

use std::boxed::Box;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use std::vec::Vec;

use lsps_types::codes::MethodError;
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{Bought, Buy, GetInfo, Menu};
use lsps_types::{PeerId, Request, Timestamp};

mod order;
mod shop;
mod webhooks;

pub use order::{NotOrdered, OrderHandle, Outcome};
pub use shop::{Ask, NobodySells, Shopped, WhyNot};
pub use webhooks::NotRegistered;

use crate::client::{CallError, Client};
use crate::input::Input;
use crate::outcome::NotSent;
use crate::pending::Ticket;

/// A [`Client`] that several tasks use; clones share it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    timed: Mutex<Timed>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    steady: Option<Box<dyn Fn() -> Duration + Send + Sync>>,
    wake_host: Box<dyn Fn() + Send + Sync>,
}

struct Timed {
    client: Client,
    /// Last readings of the clock and of the steady clock.
    read: Option<(Timestamp, Duration)>,
}

impl Session {
    /// Creates a session. `clock` returns the time. `wake_host` is called after every turn that left something to
    /// drain. Neither may call back.
    ///
    /// If the clock is set, waits become shorter or longer: see [`with_steady_clock`](Self::with_steady_clock).
    pub fn new(
        client: Client,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        wake_host: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::build(client, Box::new(clock), None, Box::new(wake_host))
    }

    /// Creates a session with a second clock that nobody sets, such as [`Instant`](std::time::Instant): time since any
    /// instant. Compared at each turn, it shows that the first clock was set, which is reported to the client
    /// ([`Input::ClockSet`]). If it stops while the device sleeps, that time does not count for waits.
    pub fn with_steady_clock(
        client: Client,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
        wake_host: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::build(client, Box::new(clock), Some(Box::new(steady)), Box::new(wake_host))
    }

    fn build(
        client: Client,
        clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
        steady: Option<Box<dyn Fn() -> Duration + Send + Sync>>,
        wake_host: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let timed = Mutex::new(Timed { client, read: None });
        Self { shared: Arc::new(Shared { timed, clock, steady, wake_host }) }
    }

    /// Runs one turn with exclusive access to the client. `turn` must not use this session.
    pub fn with<T>(&self, turn: impl FnOnce(&mut Client, Timestamp) -> T) -> T {
        let (result, idle) = {
            let mut timed = self.lock();
            let now = self.shared.read_clock(&mut timed);
            (turn(&mut timed.client, now), timed.client.is_idle())
        };
        if !idle {
            (self.shared.wake_host)();
        }
        result
    }

    /// Runs these futures concurrently, and returns their results in their order once the last has finished.
    pub async fn all<T>(&self, futures: Vec<impl Future<Output = T>>) -> Vec<T> {
        let mut running: Vec<Result<T, Pin<Box<_>>>> =
            futures.into_iter().map(|future| Err(Box::pin(future))).collect();
        poll_fn(|cx| {
            let mut waiting = false;
            for slot in &mut running {
                let Err(future) = slot else { continue };
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *slot = Ok(value),
                    Poll::Pending => waiting = true,
                }
            }
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        running.into_iter().filter_map(Result::ok).collect()
    }

    /// A handle for requests to one LSP.
    #[must_use]
    pub fn lsp(&self, id: PeerId) -> Lsp {
        Lsp { session: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Timed> {
        // The client changes its state after it decided, so a panic leaves no half of a change.
        self.shared.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Reports to the client that the clock was set, before any other input with the new time.
    fn read_clock(&self, timed: &mut Timed) -> Timestamp {
        let now = (self.clock)();
        let Some(steady) = self.steady.as_ref().map(|steady| steady()) else { return now };
        let (was, then) = timed.read.replace((now, steady)).unwrap_or((now, steady));
        let from = was + steady.saturating_sub(then);
        if now.since(from).max(from.since(now)) >= CLOCK_SET {
            let _it_is_always_taken = timed.client.handle(&Input::ClockSet { from, to: now }, now);
        }
        now
    }
}

/// A handle for requests to one LSP. Its futures can be dropped at any time; a later answer is ignored.
#[derive(Clone)]
pub struct Lsp {
    session: Session,
    id: PeerId,
}

impl Lsp {
    /// Node id of the LSP.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Sends a request and waits for its answer, no longer than [`Config::answer_within`](crate::Config).
    ///
    /// # Errors
    ///
    /// The request cannot be sent, no answer arrives, or the answer is not a result.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Reply, Failed<R::Error>> {
        let ticket = self.session.with(|client, now| client.call(self.id, request, now))?;
        self.answer(ticket).await
    }

    /// Sends a request and waits for its answer, no longer than `within`.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_within<R: Request>(&self, request: &R, within: Duration) -> Result<R::Reply, Failed<R::Error>> {
        let ticket = self.session.with(|client, now| client.call_within(self.id, request, within, now))?;
        self.answer(ticket).await
    }

    async fn answer<R: Request>(&self, ticket: Ticket<R>) -> Result<R::Reply, Failed<R::Error>> {
        let waiting = Waiting { session: &self.session, ticket };
        let session = &self.session;
        let outcome = poll_fn(|cx| session.with(|client, _| client.poll_take(&waiting.ticket, cx.waker()))).await;
        outcome.map_err(Failed::Call)
    }

    /// Asks for the protocols that the LSP serves. Spec: LSPS0 `lsps0.list_protocols`.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn list_protocols(&self) -> Result<Protocols, Failed<<ListProtocols as Request>::Error>> {
        self.call(&ListProtocols {}).await
    }

    /// Asks for the LSP's terms of JIT channels. Spec: LSPS2 §1.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn get_info(&self, token: Option<String>) -> Result<Menu, Failed<<GetInfo as Request>::Error>> {
        self.call(&GetInfo { token }).await
    }

    /// Buys a JIT channel; it costs nothing before a payment arrives. Spec: LSPS2 §2.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn buy(&self, buy: &Buy) -> Result<Bought, Failed<<Buy as Request>::Error>> {
        self.call(buy).await
    }
}

/// Reason for which a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed<E: MethodError> {
    /// The request was not sent.
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// The request was sent and has no result.
    #[error(transparent)]
    Call(CallError<E>),
}

/// Largest change of a clock that does not count as having been set.
const CLOCK_SET: Duration = Duration::from_secs(5);

/// Drops the ticket of a future that is dropped; without effect if the outcome was taken.
struct Waiting<'a, R: Request> {
    session: &'a Session,
    ticket: Ticket<R>,
}

impl<R: Request> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        self.session.with(|client, _| client.forget(&self.ticket));
    }
}
