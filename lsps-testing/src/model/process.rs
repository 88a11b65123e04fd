//! The LSP's process: the production host on the model's ports, polled by hand, crashed and restarted.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lsps_host::ports::NodeEvent;
use lsps_host::{CannotStart, Lsp, LspParts, Started, Stopped};
use lsps_service::{Outcome, ScidSource, Service, Turn, Unreadable};
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{PeerId, Request};

use super::Model;
use super::ports::Ports;
use crate::polled::{Task, Woken};
use crate::setup::LspSetup;

/// The process, and its ports.
pub struct Process {
    ports: Ports,
    running: Option<Running>,
    pub deaths: usize,
    /// The tape of each run.
    tapes: Option<Vec<Arc<Mutex<Vec<Turn>>>>>,
}

/// A run of the process.
struct Running {
    lsp: Arc<Lsp>,
    /// Task of the host.
    host: Pin<Box<dyn Future<Output = Stopped> + Send>>,
    stopped: Option<Stopped>,
    /// The event that is being reported, and whether a crash drops it.
    telling: Option<(bool, Task<bool>)>,
    /// Whether the event was not handled: it is repeated after the host's next turn.
    pauses: bool,
    tasks: Vec<Task<()>>,
    woken: Arc<Woken>,
}

impl Process {
    /// Starts the first run.
    pub fn new(model: Model) -> Self {
        let mut process = Self { ports: Ports::new(model), running: None, deaths: 0, tapes: None };
        process.model().save();
        process.start();
        process
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.ports.model()
    }

    /// Records each run from now on on a tape.
    pub fn tape(&mut self) {
        self.tapes = Some(vec![]);
        self.restart();
    }

    /// Restarts the host in a process that goes on: the node, its peers and the wallet keep their state.
    pub fn restart_host(&mut self) {
        self.running = None;
        self.start();
    }

    /// Crashes and restarts the process, as after a change of its setup.
    pub fn restart(&mut self) {
        self.running = None;
        self.model().crash();
        self.start();
    }

    pub fn tapes(&self) -> impl Iterator<Item = Vec<Turn>> {
        self.tapes.iter().flatten().map(|tape| tape.lock().expect("nobody panics here").clone())
    }

    /// Connects a peer; `is_usable`: its channels accept HTLCs at once.
    pub fn connects(&self, peer: PeerId, is_usable: bool) {
        let is_new = self.model().links.insert(peer, is_usable).is_none();
        if is_new {
            self.ports.connects(peer);
        }
    }

    pub fn disconnects(&self, peer: PeerId) {
        let was_there = self.model().links.remove(&peer).is_some();
        if was_there {
            self.model().node.disconnected(peer);
            self.ports.disconnects(peer);
        }
    }

    /// Connects a client whose channels work.
    pub fn arrives(&mut self, client: PeerId) {
        self.connects(client, true);
        self.model().becomes_usable(client);
    }

    /// Lets time pass, and the node save itself.
    pub fn waits(&mut self, time: Duration) {
        self.model().passes(time);
        self.run();
        self.model().save();
        self.run();
        self.model().save();
    }

    /// Connects a client, and lets all its channels proceed as far as they can.
    pub fn proceeds(&mut self, client: PeerId) {
        self.arrives(client);
        for _ in 0..3 {
            {
                let mut model = self.model();
                for key in model.node.channels_of(client, |_| true) {
                    model.node.proceeds(key);
                }
            }
            self.run();
            self.model().save();
            self.run();
        }
    }

    /// Calls the LSP's handle in a task of the application.
    pub fn ask<F: Future<Output = ()> + Send + 'static>(&mut self, ask: impl FnOnce(Arc<Lsp>) -> F) {
        if let Some(running) = &mut self.running {
            running.tasks.push(Box::pin(ask(Arc::clone(&running.lsp))));
            running.woken.set();
        }
    }

    /// Reads the service, which has to be able to answer.
    pub fn look<T: Send + 'static>(&mut self, look: impl FnOnce(&Service) -> T + Send + 'static) -> T {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        self.ask(|lsp| async move {
            let seen = lsp.inspect(look).await;
            *place.lock().expect("nobody panics here") = seen;
        });
        self.settle();
        if answer.lock().expect("nobody panics here").is_none() {
            self.ports.wakes(); // it pauses
            self.settle();
        }
        let seen = answer.lock().expect("nobody panics here").take();
        seen.expect("it runs, and its store works")
    }

    /// The reply that a client receives at once.
    pub fn answers<R: Request>(&mut self, peer: PeerId, request: &R) -> Option<R::Reply> {
        self.model().sent.clear();
        self.ports.receives(peer, encode_request("the only one", request).expect("a short request"));
        self.run();
        let model = self.model();
        let (_, reply) = model.sent.iter().find(|(receiver, _)| *receiver == peer)?;
        match FromLsp::decode(reply).expect("a reply") {
            FromLsp::Response { outcome: Ok(raw), .. } => Some(raw.reply::<R>().expect("of its type")),
            FromLsp::Response { outcome: Err(_), .. } | FromLsp::Notification { .. } => None,
        }
    }

    /// Polls until nothing more happens.
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
            if self.is_fenced_off() {
                continue;
            }
            let mut model = self.model();
            rests = if model.acts == before && !model.is_dead { rests + 1 } else { 0 };
            // A store that failed, or an event that is repeated, is handled only after two more turns of the host.
            if rests > u32::from(model.is_late) {
                model.is_late &= !model.store_works;
                model.note_rest();
                return;
            }
        }
        panic!("the host goes round for ever");
    }

    /// Whether the process has stopped, as it knows that another one owns the records.
    fn is_fenced_off(&self) -> bool {
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

    /// Starts the process: the host loads the records and compares them with the node, which was loaded before.
    fn start(&mut self) {
        self.model().is_telling = false;
        let woken = Woken::new();
        let waker = Waker::from(Arc::clone(&woken));
        let (parts, policy) = (self.parts(), self.model().setup.clone());
        let mut starting = Box::pin(Lsp::start(parts, policy));
        let started = loop {
            match starting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(started) => break started,
                Poll::Pending => self.ports.wakes(), // it reads again
            }
        };
        if let Err(CannotStart::Store(_)) = started {
            // No record can be read: somebody repairs the store.
            self.model().hidden.clear();
            return self.start();
        }
        let Started { lsp, runner, unreadable } = started.expect("a valid configuration");
        let is_hidden = |record: &Unreadable| matches!(record, Unreadable::Store { name, .. } if self.model().hidden.contains(name));
        assert!(unreadable.iter().all(is_hidden), "we wrote them: {unreadable:?}");
        let host = Box::pin(runner.run());
        let (telling, stopped) = (None, None);
        let running = Running { lsp: Arc::new(lsp), host, stopped, telling, pauses: false, tasks: vec![], woken };
        self.running = Some(running);
        // HTLCs that were not decoded before the crash are reported after everything else.
        let mut model = self.model();
        model.node.decode();
        let decoded = model.payments.decode();
        model.node.now.events.extend(decoded);
    }

    fn parts(&mut self) -> LspParts<Ports> {
        let (node, ports) = (Arc::new(self.ports.clone()), Arc::new(self.ports.clone()));
        let config = self.model().setup.config_of_service();
        let mut parts = LspParts::new(node, ports.clone(), ports.clone(), ports.clone(), ports.clone(), promise_key());
        parts.deposits = Some(ports.clone());
        parts.notifier = Some(ports.clone());
        (parts.clock, parts.config) = (ports, config);
        if let Some(lives) = &mut self.tapes {
            let tape = Arc::<Mutex<Vec<Turn>>>::default();
            lives.push(Arc::clone(&tape));
            let keep = move |turn| tape.lock().expect("nobody panics here").push(turn);
            parts.tape = Some(Box::new(keep));
        }
        parts
    }

    /// Polls until everything waits, or the process crashed.
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
            if let Some((is_volatile, telling)) = &mut running.telling
                && let Poll::Ready(is_heard) = telling.as_mut().poll(context)
            {
                running.pauses = !is_heard;
                self.ports.model().is_telling = false;
                self.ports.model().is_late |= !is_heard;
                if is_heard && !self.ports.model().is_dead {
                    self.ports.model().event_heard(*is_volatile);
                }
                running.telling = None;
                running.woken.set();
            }
            if self.ports.model().is_dead || running.stopped.is_some() {
                return;
            }
        }
    }
}

impl Running {
    /// Reports the next event; nodes report one after the other.
    fn tell_next(&mut self, ports: &Ports) {
        if self.telling.is_some() || self.pauses {
            return;
        }
        let Some((event, is_volatile)) = ports.model().next_event() else { return };
        ports.model().is_telling = true;
        let lsp = Arc::clone(&self.lsp);
        let is_htlc = matches!(&event, NodeEvent::Input(lsps_service::Input::HtlcHeld(_)));
        let telling = async move {
            let heard: Result<Outcome, _> = lsp.handle_node_event(event, is_htlc).await;
            heard.is_ok()
        };
        self.telling = Some((is_volatile, Box::pin(telling)));
        self.woken.set();
    }
}

/// A service with the LSP's settings.
pub fn service_like(setup: &LspSetup, scids: impl ScidSource + 'static) -> Service {
    Service::new(setup.config_of_service(), setup.clone(), scids, promise_key()).expect("a valid configuration")
}

fn promise_key() -> PromiseKey {
    PromiseKey::new([42; 32])
}

/// Number of rounds after which a host counts as stuck.
const ROUNDS: u32 = 200;
