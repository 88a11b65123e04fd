//! The one task of a host, for both roles: requests in, records written, then messages and acts.
//!
//! Write before act stands here once. A role says how its core is fed, drained and carried out ([`Pump`]); [`serve`] runs it.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::inbox::Budget;
use crate::ports::{Change, Clock, Messages, StoreError};
use crate::records::{RETRY, Records};

/// The reason for which a host stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The handle was dropped, and the last turn is complete. A batch that the store refused was neither acknowledged
    /// nor sent.
    Asked,
    /// Another process owns the records. Nothing was written, sent or done after the store said so.
    LostOwnership,
}

/// Error: the event was not handled. The node has to report it again, after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is not dealt with; tell it again")]
pub struct TellAgain {
    /// Whether the host has stopped. Otherwise the host has paused already.
    pub is_stopped: bool,
}

/// The records of a pump, and the batch that the store refused.
pub(crate) struct Durable<B> {
    pub store: Records,
    /// Written before anything else happens.
    unwritten: Option<B>,
    lost_ownership: bool,
}

impl<B> Durable<B> {
    pub fn new(store: Records) -> Self {
        Self { store, unwritten: None, lost_ownership: false }
    }

    /// Whether no batch waits that the store refused.
    pub fn is_written(&self) -> bool {
        self.unwritten.is_none()
    }
}

/// The things that a pump waits for, besides requests.
pub(crate) struct Waits {
    pub messages: Arc<dyn Messages>,
    pub clock: Arc<dyn Clock>,
    /// Rung when the core has something to drain.
    pub wake: Arc<Notify>,
    /// By then there is a turn, whatever comes.
    pub at_most: Duration,
    /// Something waits already that the last turn had no room for.
    pub has_more: bool,
}

/// A role of a host: it owns its core.
pub(crate) trait Pump: Send + Sized {
    /// A request to the pump, with the place for the answer.
    type Request: Send;
    /// An answer that waits until the records are durable.
    type Answer: Send;
    /// All that the core decided since it was drained last.
    type Batch: Send + Sync;
    /// An act that the core asks for.
    type Effect: Send;

    fn durable(&mut self) -> &mut Durable<Self::Batch>;

    fn waits(&self) -> Waits;

    /// Reads what could not be read before.
    fn read_unread(&mut self) -> impl Future<Output = ()> + Send;

    /// Hears the node, the connections of peers and the deadlines, as HTLCs depend on them and nobody can cause them at no
    /// cost. The answers wait until the records are durable; others are given at once.
    fn hear(&mut self, requests: Vec<Self::Request>) -> Vec<Self::Answer>;

    /// The decisions on what was heard are durable, or not yet.
    fn committed(&mut self, written: bool);

    /// Hears as much of the rest as a turn has room for.
    fn hear_others(&mut self);

    /// Whether the answer says that an event has to be told again, whatever the store does.
    fn is_told_again(answer: &Self::Answer) -> bool;

    /// Answers. `written`: the records are durable.
    fn answer(&mut self, answer: Self::Answer, written: bool);

    /// Makes durable what has to be so before the records.
    fn write_ahead(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// `None`: nothing was decided.
    fn drain(&mut self) -> Option<Self::Batch>;

    fn changes(batch: &Self::Batch) -> Vec<Change>;

    /// The records of a batch are durable: sends its messages, tells its news, and gives the acts that it allows.
    fn release(&mut self, batch: Self::Batch) -> Vec<Self::Effect>;

    fn execute(&mut self, effect: Self::Effect);

    /// All acts of a batch are done.
    fn executed(&mut self);

    fn store_failed(&mut self, error: &StoreError);
}

/// Runs a pump until its handle is dropped, or its records are another process's.
pub(crate) async fn serve<P: Pump>(mut pump: P, mut queue: mpsc::UnboundedReceiver<P::Request>) -> Stopped {
    turn(&mut pump, vec![]).await;
    loop {
        if pump.durable().lost_ownership {
            return Stopped::LostOwnership;
        }
        let Waits { messages, clock, wake, at_most, has_more } = pump.waits();
        let first = tokio::select! {
            biased;
            request = queue.recv() => match request {
                Some(request) => Some(request),
                None => return Stopped::Asked,
            },
            () = yields(), if has_more => None,
            () = messages.arrived() => None,
            () = wake.notified() => None,
            () = clock.sleep(at_most) => None,
        };
        let mut requests: Vec<P::Request> = first.into_iter().collect();
        while let Ok(more) = queue.try_recv() {
            requests.push(more);
        }
        turn(&mut pump, requests).await;
    }
}

/// One turn. The records and answers of what is heard first are written and given before anything else is heard; the rest
/// has a budget, so that the node waits for no more than that, whatever a crowd of strangers sends.
async fn turn<P: Pump>(pump: &mut P, requests: Vec<P::Request>) {
    pump.read_unread().await;
    if is_lost(pump) {
        return; // nobody is answered: what is asked is the other process's
    }
    let answers = pump.hear(requests);
    let written = commit(pump).await;
    pump.committed(written);
    if (!written || answers.iter().any(P::is_told_again)) && !pump.durable().lost_ownership {
        pump.waits().clock.sleep(RETRY).await;
    }
    for answer in answers {
        pump.answer(answer, written);
    }
    // Nothing more is taken in while nothing can be written.
    if written {
        pump.hear_others();
        let _it_is_tried_again = commit(pump).await;
    }
}

/// Writes all that changed, then lets out what that allows, until nothing more follows. `false`: the store failed.
async fn commit<P: Pump>(pump: &mut P) -> bool {
    loop {
        if is_lost(pump) {
            return false;
        }
        if let Err(error) = pump.write_ahead().await {
            fails(pump, &error);
            return false;
        }
        if is_lost(pump) {
            return false;
        }
        let Some(batch) = pump.durable().unwritten.take().or_else(|| pump.drain()) else { return true };
        let (store, changes) = (pump.durable().store.clone(), P::changes(&batch));
        if let Err(error) = store.write_all(changes).await {
            pump.durable().unwritten = Some(batch);
            fails(pump, &error);
            return false;
        }
        if is_lost(pump) {
            return false;
        }
        for effect in pump.release(batch) {
            if is_lost(pump) {
                return false;
            }
            pump.execute(effect);
        }
        pump.executed();
    }
}

/// The store failed, or said that its records are another process's.
fn fails<P: Pump>(pump: &mut P, error: &StoreError) {
    pump.durable().lost_ownership |= *error == StoreError::LostOwnership;
    pump.store_failed(error);
}

/// Another process owns the records.
pub(crate) fn loses_ownership<P: Pump>(pump: &mut P) {
    if !pump.durable().lost_ownership {
        fails(pump, &StoreError::LostOwnership);
    }
}

/// Whether another process owns the records, as far as is known by now.
fn is_lost<P: Pump>(pump: &mut P) -> bool {
    if !pump.durable().store.owns() {
        loses_ownership(pump);
    }
    pump.durable().lost_ownership
}

/// Lets other tasks of the same thread go first, once.
async fn yields() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Peers whose coming or going is heard in a turn, before the node.
pub(crate) const MOVES: Budget = Budget { moves: 256, messages: 0, bytes: 0 };
/// Messages that are heard in a turn where they change nothing.
pub(crate) const MESSAGES: usize = 256;
/// Bytes of messages that are heard in a turn: long ones take long to read.
pub(crate) const BYTES: usize = 256 << 10;
