//! A host that is polled by hand in virtual time: its model behind a lock, its sleeps, and its waker.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use lsps_host::ports::Sleep;
use tokio::sync::Notify;

/// The model, shared by all ports of a host.
pub struct Shared<M> {
    model: Mutex<M>,
    /// Notified when a peer comes, goes or sends a message.
    pub arrived: Notify,
    naps: Arc<Mutex<Naps>>,
}

impl<M> Shared<M> {
    pub fn new(model: M) -> Self {
        Self { model: Mutex::new(model), arrived: Notify::new(), naps: Arc::default() }
    }

    /// The model, locked: only one caller can use it at a time.
    pub fn model(&self) -> MutexGuard<'_, M> {
        match self.model.try_lock() {
            Ok(model) => model,
            // A caller panicked while it used the model. That is reported, and this call is part of the unwinding.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("the model is looked at by two at once"),
        }
    }

    /// Sleeps until the world wants the host to take a turn, regardless of the time.
    pub fn sleep(&self) -> Sleep {
        let since = lock(&self.naps).ended;
        Box::pin(Nap { naps: Arc::clone(&self.naps), since })
    }

    /// Ends all sleeps, so that the host takes a turn.
    pub fn wakes(&self) {
        let sleepers = {
            let mut naps = lock(&self.naps);
            naps.ended += 1;
            std::mem::take(&mut naps.sleepers)
        };
        sleepers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
struct Naps {
    /// Number of times that all sleeps were ended.
    ended: u64,
    sleepers: Vec<Waker>,
}

struct Nap {
    naps: Arc<Mutex<Naps>>,
    since: u64,
}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut naps = lock(&self.naps);
        if naps.ended > self.since {
            return Poll::Ready(());
        }
        naps.sleepers.push(context.waker().clone());
        Poll::Pending
    }
}

fn lock(naps: &Mutex<Naps>) -> MutexGuard<'_, Naps> {
    naps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task of the process.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether a task of the process has to be polled.
pub struct Woken(AtomicBool);

impl Woken {
    /// All tasks of a new process have to be polled.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    /// Has the tasks polled.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether they had to be polled, until now.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}
