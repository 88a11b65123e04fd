//! The wallet's process: the production host on the model's ports, polled by hand, killed and started again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
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

/// The process, and the world around it.
pub struct Process {
    pub ports: Ports,
    running: Option<Running>,
    pub deaths: usize,
    /// One of each of its lives.
    tapes: Option<Vec<Arc<Mutex<Vec<Turn>>>>>,
}

/// One life.
struct Running {
    wallet: Arc<Wallet>,
    events: Receiver<WalletEvent>,
    /// The host's own task.
    host: Pin<Box<dyn Future<Output = Stopped> + Send>>,
    stopped: Option<Stopped>,
    /// The event that is being told.
    telling: Option<(WalletNodeEvent, Task<Option<Handled>>)>,
    /// The event was not dealt with: it is told again when the host has looked around.
    pauses: bool,
    tasks: Vec<Task<()>>,
    woken: Arc<Woken>,
}

impl Process {
    /// A first life.
    pub fn new(model: Model) -> Self {
        let mut process = Self { ports: Ports::new(model), running: None, deaths: 0, tapes: None };
        process.model().node.save();
        process.start();
        process
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.ports.model()
    }

    /// The host ends and is started again, in a process that lives on: the node and its peers keep all.
    pub fn restart_host(&mut self) {
        self.running = None;
        self.start();
    }

    /// Each life from now on is kept on a tape.
    pub fn tape(&mut self) {
        self.tapes = Some(vec![]);
        self.restart_host();
    }

    pub fn tapes(&self) -> impl Iterator<Item = Vec<Turn>> {
        self.tapes.iter().flatten().map(|tape| tape.lock().expect("nobody panics here").clone())
    }

    pub fn wallet(&self) -> Option<Arc<Wallet>> {
        self.running.as_ref().map(|running| Arc::clone(&running.wallet))
    }

    /// The application asks the wallet for something.
    pub fn ask<F: Future<Output = ()> + Send + 'static>(&mut self, ask: impl FnOnce(Arc<Wallet>) -> F) {
        if let Some(running) = &mut self.running {
            running.tasks.push(Box::pin(ask(Arc::clone(&running.wallet))));
            running.woken.set();
        }
    }

    /// The application waits no more for what it asked for.
    pub fn drop_task(&mut self, number: u8) {
        if let Some(running) = &mut self.running
            && !running.tasks.is_empty()
        {
            let place = usize::from(number) % running.tasks.len();
            drop(running.tasks.remove(place));
        }
    }

    /// Until nothing more happens by itself.
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
            // A store that refused, or an event that is told again, has its turn only when the host has looked around twice.
            if rests > u32::from(model.is_late) {
                model.is_late &= !model.store_works;
                return;
            }
        }
        panic!("the host goes round for ever");
    }

    /// Another process owns the records, and this one knows: it has ended.
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
            // Nothing can be read: somebody sees to the store.
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
        if let Some(lives) = &mut self.tapes {
            let tape = Arc::<Mutex<Vec<Turn>>>::default();
            lives.push(Arc::clone(&tape));
            let keep = move |turn| tape.lock().expect("nobody panics here").push(turn);
            parts.tape = Some(Box::new(keep));
        }
        parts
    }

    /// Polls until everybody waits, or the process is dead.
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
    /// Nodes tell one event after the other.
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

/// The configuration of the client.
pub fn config() -> Config {
    Config { purchases: super::PURCHASES, orders: super::ORDERS, ..Config::default() }
}

/// A host that goes round for longer is stuck.
const ROUNDS: u32 = 300;
