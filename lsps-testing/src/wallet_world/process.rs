//! The wallet's process: the production host on the model's ports, polled by the test, crashed and started again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use lsps_client::jit_receive::{Handled, Rules};
use lsps_client::{Config, Turn, Unreadable};
use lsps_host::Stopped;
use lsps_host::ports::WalletNodeEvent;
use lsps_host::wallet::{KnownLsp, Started, Wallet, WalletEvent, WalletParts};
use lsps_types::PeerId;
use tokio::sync::broadcast::Receiver;

use super::model::{Model, Ports};
use crate::polled::{Task, Woken};

/// The wallet's process and its ports.
pub struct Process {
    pub ports: Ports,
    running: Option<Running>,
    pub deaths: usize,
    /// `None` if no tapes are kept.
    tapes: Option<Tapes>,
}

/// Tapes of a wallet, one for each run of its host. They outlive a world whose script breaks a rule.
#[derive(Clone, Debug, Default)]
pub struct Tapes(Arc<Mutex<Vec<Vec<Turn>>>>);

impl Tapes {
    /// The tapes so far.
    #[must_use]
    pub fn all(&self) -> Vec<Vec<Turn>> {
        self.lock().clone()
    }

    /// Begins the tape of a run.
    fn begin(&self) -> impl FnMut(Turn) + Send + use<> {
        let (tapes, number) = (self.clone(), self.lock().len());
        self.lock().push(vec![]);
        move |turn| tapes.lock()[number].push(turn)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Turn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of one run of the host.
struct Running {
    wallet: Arc<Wallet>,
    events: Receiver<WalletEvent>,
    /// The host's own task.
    host: Pin<Box<dyn Future<Output = Stopped> + Send>>,
    stopped: Option<Stopped>,
    /// The event that the wallet is handling.
    telling: Option<(WalletNodeEvent, Task<Option<Handled>>)>,
    /// The wallet did not handle the event; the node reports it again after the next wake of the host.
    pauses: bool,
    tasks: Vec<Task<()>>,
    woken: Arc<Woken>,
}

impl Process {
    /// Starts the first process, on a saved node.
    pub fn new(model: Model) -> Self {
        let mut process = Self { ports: Ports::new(model), running: None, deaths: 0, tapes: None };
        process.model().node.save();
        process.start();
        process
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.ports.model()
    }

    /// Ends the host and starts it again within the same process: node and connections keep their state.
    pub fn restart_host(&mut self) {
        self.running = None;
        self.model().chain.host_ends();
        self.start();
    }

    /// Restarts the host, and records this run and each later one on a tape.
    pub fn tape(&mut self, tapes: Tapes) {
        self.tapes = Some(tapes);
        self.restart_host();
    }

    pub fn wallet(&self) -> Option<Arc<Wallet>> {
        self.running.as_ref().map(|running| Arc::clone(&running.wallet))
    }

    /// Starts a call of the application on the wallet.
    pub fn ask<F: Future<Output = ()> + Send + 'static>(&mut self, ask: impl FnOnce(Arc<Wallet>) -> F) {
        if let Some(running) = &mut self.running {
            running.tasks.push(Box::pin(ask(Arc::clone(&running.wallet))));
            running.woken.set();
        }
    }

    /// Cancels a call of the application.
    pub fn drop_task(&mut self, number: u8) {
        if let Some(running) = &mut self.running
            && !running.tasks.is_empty()
        {
            let place = usize::from(number) % running.tasks.len();
            drop(running.tasks.remove(place));
        }
    }

    /// Runs the process until it is at rest.
    pub fn run(&mut self) {
        let mut rests = 0;
        for _ in 0..ROUNDS {
            let before = self.model().acts;
            self.settle();
            if self.model().is_dead || self.is_fenced_off() {
                self.dies();
                continue;
            }
            self.ports.wakes();
            if let Some(running) = &mut self.running {
                running.pauses = false;
            }
            self.settle();
            let mut model = self.model();
            rests = if model.acts == before && !model.is_dead { rests + 1 } else { 0 };
            // A failed write or an unhandled event is tried again only after a further wake.
            if rests > u32::from(model.is_late) {
                model.is_late &= !model.store_works;
                return;
            }
        }
        panic!("the host goes round for ever");
    }

    /// Whether the host has ended because another process owns the records.
    fn is_fenced_off(&mut self) -> bool {
        let stopped = self.running.as_ref().and_then(|running| running.stopped);
        assert!(stopped != Some(Stopped::Asked), "nobody asked it");
        stopped.is_some()
    }

    fn dies(&mut self) {
        self.running = None;
        self.deaths += 1;
        self.model().crash();
        self.start();
    }

    fn start(&mut self) {
        let woken = Woken::new();
        let waker = Waker::from(Arc::clone(&woken));
        let mut starting = Box::pin(Wallet::start(self.parts()));
        let started = loop {
            match starting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(started) => break started,
                Poll::Pending => self.ports.wakes(), // it reads again
            }
        };
        let Ok(Started { wallet, runner, unreadable }) = started else {
            // The start fails if no record can be read; the store is repaired before the next start.
            self.model().hidden.clear();
            return self.start();
        };
        let is_hidden = |record: &Unreadable| matches!(record, Unreadable::Store { name, .. } if self.model().hidden.contains(name));
        assert!(unreadable.iter().all(is_hidden), "we wrote them: {unreadable:?}");
        let (wallet, host) = (Arc::new(wallet), Box::pin(runner.run()));
        let (events, telling, stopped) = (wallet.events(), None, None);
        self.running = Some(Running { wallet, events, host, stopped, telling, pauses: false, tasks: vec![], woken });
    }

    fn parts(&mut self) -> WalletParts {
        let ports = Arc::new(self.ports.clone());
        let lsps: Vec<KnownLsp> = {
            let model = self.model();
            let known = |lsp: PeerId| match model.truth.trusted.contains(&lsp) {
                true => KnownLsp::new(lsp).trusted(),
                false => KnownLsp::new(lsp),
            };
            super::lsps().map(known).collect()
        };
        let mut parts = WalletParts::new(ports.clone(), ports.clone(), ports.clone(), lsps);
        parts.clock = ports.clone();
        parts.onchain = Some(ports.clone());
        parts.rules = Rules { confirmations_to_wait: self.model().truth.wait, ..Rules::default() };
        if self.model().truth.sees_mempool {
            parts.mempool = Some(ports);
        }
        parts.config = config();
        if let Some(tapes) = &self.tapes {
            parts.tape = Some(Box::new(tapes.begin()));
        }
        parts
    }

    /// Polls host, calls and event until all of them wait, or the process has ended.
    fn settle(&mut self) {
        let Some(running) = &mut self.running else { return };
        let waker = Waker::from(Arc::clone(&running.woken));
        let context = &mut Context::from_waker(&waker);
        loop {
            running.tell_next(&self.ports);
            if !running.woken.take() {
                return;
            }
            if running.stopped.is_none()
                && let Poll::Ready(stopped) = running.host.as_mut().poll(context)
            {
                running.stopped = Some(stopped);
            }
            running.tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
            if let Some((event, telling)) = &mut running.telling
                && let Poll::Ready(heard) = telling.as_mut().poll(context)
            {
                running.pauses = heard.is_none();
                let mut model = self.ports.model();
                model.is_late |= heard.is_none();
                if let Some(handled) = heard
                    && !model.is_dead
                {
                    model.event_heard(event.clone(), handled);
                }
                drop(model);
                running.telling = None;
                running.woken.set();
            }
            while let Ok(event) = running.events.try_recv() {
                self.ports.model().wallet_told(event);
            }
            if self.ports.model().is_dead || running.stopped.is_some() {
                return;
            }
        }
    }
}

impl Running {
    /// Has the wallet handle the next node event, one at a time.
    fn tell_next(&mut self, ports: &Ports) {
        if self.telling.is_some() || self.pauses {
            return;
        }
        let Some(event) = ports.model().next_event() else { return };
        let (wallet, told) = (Arc::clone(&self.wallet), event.clone());
        let telling = async move { wallet.handle_node_event(told).await.ok() };
        self.telling = Some((event, Box::pin(telling)));
        self.woken.set();
    }
}

/// Configuration of the client.
pub fn config() -> Config {
    Config { purchases: super::PURCHASES, orders: super::ORDERS, ..Config::default() }
}

/// Most rounds until the host is at rest; a host that needs more is taken for stuck.
const ROUNDS: u32 = 300;
