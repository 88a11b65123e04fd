//! Makes the attempts that the queue schedules.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsps_types::PeerId;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::queue::{AttemptId, Next, Order, Queue};
use super::target::{PostRequest, Targets};
use super::{Answer, Delivery, DeliveryConfig, Undelivered, WebhookCounts, report};

/// The state that the callers and the one task that delivers share.
pub(super) struct Shared<Id> {
    queue: Mutex<Queue<Id>>,
    changed: Notify,
    answers: mpsc::UnboundedSender<Answer<Id>>,
    targets: Targets,
}

impl<Id: Debug> Shared<Id> {
    pub fn new(config: DeliveryConfig) -> (Arc<Self>, mpsc::UnboundedReceiver<Answer<Id>>) {
        let (answers, receiver) = mpsc::unbounded_channel();
        let (targets, queue) = (config.targets.clone(), Mutex::new(Queue::new(config)));
        (Arc::new(Self { queue, changed: Notify::new(), answers, targets }), receiver)
    }

    pub fn post(&self, delivery: Delivery<Id>) {
        let Delivery { id, client, urgency, url, signed, within } = delivery;
        let target = self.targets.target(url.as_str());
        let refused = {
            let mut queue = self.queue();
            match target {
                Ok(target) => {
                    let request = PostRequest { target, signed };
                    queue.push(Order { id, request, client, urgency, within }, Instant::now())
                }
                Err(why) => Some(queue.refuse(id, why)),
            }
        };
        self.changed.notify_one();
        if let Some(answer) = refused {
            self.tell(answer);
        }
    }

    pub fn withdraw(&self, client: PeerId, is_it: impl Fn(&Id) -> bool) {
        let answers = self.queue().withdraw(client, is_it, Instant::now());
        answers.into_iter().for_each(|answer| self.tell(answer));
    }

    pub fn counts(&self) -> WebhookCounts {
        self.queue().counts()
    }

    fn ended(&self, attempt: AttemptId, outcome: Result<(), Undelivered>) {
        let ended = self.queue().ended(attempt, outcome, Instant::now());
        let Some(ended) = ended else { return };
        report::attempted(&ended, outcome);
        if let Some(answer) = ended.answer {
            self.tell(answer);
        }
    }

    fn tell(&self, answer: Answer<Id>) {
        report::answered(&answer);
        let _nobody_listens = self.answers.send(answer);
    }

    /// The queue. A panic elsewhere leaves it intact, as its methods do not panic half-way.
    fn queue(&self) -> MutexGuard<'_, Queue<Id>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers until it is aborted, which also ends the attempts.
pub(super) async fn run<Id, C, A>(shared: Arc<Shared<Id>>, send: C)
where
    Id: Debug,
    C: Fn(Arc<PostRequest>) -> A,
    A: Future<Output = Result<(), Undelivered>> + Send + 'static,
{
    let mut attempts = Attempts::default();
    loop {
        let next = shared.queue().next(Instant::now());
        match next {
            Next::Start(attempt, request) => attempts.start(attempt, send(request)),
            Next::GiveWay(attempt) => {
                attempts.stop(attempt);
                shared.ended(attempt, Err(Undelivered::GaveWay));
            }
            Next::Tell(answer) => shared.tell(answer),
            Next::Wait(until) => {
                let due = sleep_until(until.unwrap_or_else(Instant::now));
                tokio::select! {
                    Some((attempt, outcome)) = attempts.ended() => shared.ended(attempt, outcome),
                    () = shared.changed.notified() => {}
                    () = due, if until.is_some() => {}
                }
            }
        }
    }
}

/// The attempts in progress, each in a task of its own.
#[derive(Default)]
struct Attempts {
    tasks: JoinSet<(AttemptId, Result<(), Undelivered>)>,
    handles: BTreeMap<AttemptId, AbortHandle>,
}

impl Attempts {
    fn start<A>(&mut self, attempt: AttemptId, carrying: A)
    where
        A: Future<Output = Result<(), Undelivered>> + Send + 'static,
    {
        let handle = self.tasks.spawn(async move { (attempt, carrying.await) });
        self.handles.insert(attempt, handle);
    }

    fn stop(&mut self, attempt: AttemptId) {
        if let Some(handle) = self.handles.remove(&attempt) {
            handle.abort();
        }
    }

    /// Waits for the end of an attempt. `None`: none is in progress.
    async fn ended(&mut self) -> Option<(AttemptId, Result<(), Undelivered>)> {
        loop {
            match self.tasks.join_next().await? {
                Ok((attempt, outcome)) => {
                    self.handles.remove(&attempt);
                    return Some((attempt, outcome));
                }
                Err(error) => {
                    // An attempt that was stopped is not in the map any more; one that panicked frees its place.
                    let of_it = self.handles.iter().find(|(_, handle)| handle.id() == error.id());
                    if let Some(attempt) = of_it.map(|(attempt, _)| *attempt) {
                        self.handles.remove(&attempt);
                        return Some((attempt, Err(Undelivered::Closed)));
                    }
                }
            }
        }
    }
}
