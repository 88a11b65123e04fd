//! Task of a host, for both roles: it handles requests, writes records, then sends messages and executes effects.
//!
//! Write before act is implemented here once. A role defines how its core is fed, drained and executed ([`Pump`]);
//! [`serve`] runs it.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::inbox::Budget;
use crate::ports::{Change, Clock, Messages, StoreError};
use crate::records::{RETRY, Records};

/// Reason for which a host stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The handle was dropped, and the last turn is complete. If the store refused the last batch, its events were not
    /// acknowledged and its messages not sent.
    Asked,
    /// Another process owns the records. After the store reported that, nothing was written, sent or executed.
    LostOwnership,
}

/// Error: the event was not handled. The node has to report it again, after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is not dealt with; tell it again")]
pub struct TellAgain {
    /// Whether the host has stopped. Otherwise the host has paused already.
    pub is_stopped: bool,
}

/// Records of a pump, and the batch that the store refused.
pub(crate) struct Durable<B> {
    pub store: Records,
    /// Batch that the store refused; it is written before any other.
    unwritten: Option<B>,
    lost_ownership: bool,
}

impl<B> Durable<B> {
    pub fn new(store: Records) -> Self {
        Self { store, unwritten: None, lost_ownership: false }
    }

    /// Whether the store has written all batches so far.
    pub fn is_written(&self) -> bool {
        self.unwritten.is_none()
    }
}

/// Sources that a pump waits for, besides requests.
pub(crate) struct Waits {
    pub messages: Arc<dyn Messages>,
    pub clock: Arc<dyn Clock>,
    /// Notified when the core has something to drain.
    pub wake: Arc<Notify>,
    /// Longest time until the next turn.
    pub at_most: Duration,
    /// Whether input is left for which the last turn had no room.
    pub has_more: bool,
}

/// A role of a host, which owns the core.
pub(crate) trait Pump: Send + Sized {
    /// Request to the pump, with the channel for its answer.
    type Request: Send;
    /// An answer that waits until the records are durable.
    type Answer: Send;
    /// Decisions of the core since the last drain.
    type Batch: Send + Sync;
    /// Call that the core requests from the host.
    type Effect: Send;

    fn durable(&mut self) -> &mut Durable<Self::Batch>;

    fn waits(&self) -> Waits;

    /// Reads records that could not be read before.
    fn read_unread(&mut self) -> impl Future<Output = ()> + Send;

    /// Handles events of the node, connections of peers and deadlines. HTLCs depend on these inputs, and no attacker
    /// can cause them for free. Returns the answers that wait until the records are durable, and gives the others.
    fn hear(&mut self, requests: Vec<Self::Request>) -> Vec<Self::Answer>;

    /// Reports whether the decisions so far are durable.
    fn committed(&mut self, written: bool);

    /// Handles as much of the remaining input as one turn has room for.
    fn hear_others(&mut self);

    /// Whether the answer says that an event has to be reported again, regardless of the store.
    fn is_told_again(answer: &Self::Answer) -> bool;

    /// Gives an answer. `written` says whether the records are durable.
    fn answer(&mut self, answer: Self::Answer, written: bool);

    /// Writes the entries that have to be durable before the records.
    fn write_ahead(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes the decisions since the last drain; `None` if there are none.
    fn drain(&mut self) -> Option<Self::Batch>;

    fn changes(batch: &Self::Batch) -> Vec<Change>;

    /// Sends the messages and events of a batch whose records are durable, and returns its effects.
    fn release(&mut self, batch: Self::Batch) -> Vec<Self::Effect>;

    fn execute(&mut self, effect: Self::Effect);

    /// Reports that all effects of a batch are executed.
    fn executed(&mut self);

    fn store_failed(&mut self, error: &StoreError);
}

/// Runs a pump until its handle is dropped, or another process owns its records.
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

/// Runs one turn. The records of the inputs of [`Pump::hear`] are written and their answers given before any other
/// input is handled. The rest has a budget, so that many strangers cannot delay the node for longer.
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
    // No more input is accepted while the store fails.
    if written {
        pump.hear_others();
        let _it_is_tried_again = commit(pump).await;
    }
}

/// Writes all changed records, then releases messages and effects, until no change is left. `false`: the store failed,
/// or another process owns the records.
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

/// Handles an error of the store, which may report that another process owns the records.
fn fails<P: Pump>(pump: &mut P, error: &StoreError) {
    pump.durable().lost_ownership |= *error == StoreError::LostOwnership;
    pump.store_failed(error);
}

/// Notes and reports once that another process owns the records.
pub(crate) fn loses_ownership<P: Pump>(pump: &mut P) {
    if !pump.durable().lost_ownership {
        fails(pump, &StoreError::LostOwnership);
    }
}

/// Whether the store has reported that another process owns the records.
fn is_lost<P: Pump>(pump: &mut P) -> bool {
    if !pump.durable().store.owns() {
        loses_ownership(pump);
    }
    pump.durable().lost_ownership
}

/// Yields once to other tasks of the same thread.
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

/// Budget of a turn for connections and disconnections, which are handled before the node's events.
pub(crate) const MOVES: Budget = Budget { moves: 256, messages: 0, bytes: 0 };
/// Largest number of messages that a turn handles.
pub(crate) const MESSAGES: usize = 256;
/// Largest total size of the messages that a turn handles, in bytes, as long messages take long to parse.
pub(crate) const BYTES: usize = 256 << 10;
