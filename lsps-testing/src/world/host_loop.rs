//! How a host goes round: hear, tell the service, write, act; and where it can die.

use lsps_service::{ChannelKey, Effect, Input, Outcome};
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::{PeerId, Request};

use super::node::Told;
use super::process::{Process, Written};

/// The process died here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Died;

/// What a world adds to its LSP's process.
pub(crate) trait Host: Sized {
    fn lsp(&mut self) -> &mut Process;

    /// Starts the process: loads the records, and compares them with the node, which was loaded before.
    fn start(&mut self);

    /// All that happens by itself, once.
    fn turn(&mut self) -> Result<(), Died>;

    /// The node saves itself.
    fn save(&mut self);

    /// Forgets what is not on a disk.
    fn crash(&mut self);

    /// Notes which input met which states.
    fn count(&mut self, input: &Input);

    /// Undoes at its source what was refused and is not about a channel.
    fn undo(&mut self, outcome: Outcome, input: &Input);

    fn hear(&mut self, told: &Told);

    /// What must hold before a funding is broadcast.
    fn may_broadcast(&mut self, key: ChannelKey);

    /// What is not done for every channel.
    fn perform(&mut self, effect: Effect) -> Option<Input>;

    /// Until nothing more happens by itself.
    fn run(&mut self) {
        while self.turn().is_err() {
            let (_, saved) = self.lsp().fuse.take().unwrap_or_default();
            if saved {
                self.save();
            }
            self.lsp().crash();
            self.crash();
            self.start();
        }
    }

    fn feed(&mut self, input: Input) {
        let _undone_already = self.tell(input);
    }

    /// Tells the service, and undoes at the source what it refuses.
    fn tell(&mut self, input: Input) -> Outcome {
        self.count(&input);
        let lsp = self.lsp();
        let outcome = lsp.service.handle(input.clone(), lsp.now);
        lsp.undo(outcome, &input);
        self.undo(outcome, &input);
        outcome
    }

    /// All that the node tells. `false`: the rest is told again when the store works.
    fn hear_all(&mut self) -> Result<bool, Died> {
        loop {
            if self.lsp().is_mute {
                return Ok(true);
            }
            let node = &mut self.lsp().node;
            let volatile = node.volatile.pop_front();
            let Some(told) = volatile.clone().or_else(|| node.now.events.front().cloned()) else {
                if std::mem::take(&mut self.lsp().is_behind) {
                    self.feed(Input::NodeCaughtUp);
                }
                return Ok(true);
            };
            self.hear(&told);
            if !self.commit()? {
                self.lsp().node.volatile.extend(volatile);
                return Ok(false);
            }
            if volatile.is_none() {
                let lsp = self.lsp();
                lsp.node.now.events.pop_front();
                lsp.told_last = Some(told);
            }
        }
    }

    /// Writes, and does what may be done then. `false`: the store refuses.
    fn commit(&mut self) -> Result<bool, Died> {
        for _ in 0..ROUNDS {
            while let Some(key) = self.lsp().book_next()? {
                self.feed(Input::Booked { key });
            }
            let released = match self.lsp().write()? {
                Written::Nothing => return Ok(true),
                Written::Refused => return Ok(false),
                Written::All(released) => released,
            };
            self.lsp().sent.extend(released.messages);
            for effect in released.effects {
                if let Effect::BroadcastFunding { key, .. } = effect {
                    self.may_broadcast(key);
                }
                let done = self.lsp().perform(&effect);
                let answer = done.unwrap_or_else(|| self.perform(effect));
                self.lsp().point()?;
                answer.into_iter().for_each(|answer| self.feed(answer));
            }
        }
        panic!("the service asks for ever: {:?}", self.lsp().service.drain());
    }

    /// News of the chain since the last block.
    fn look_at_chain(&mut self) -> bool {
        let lsp = self.lsp();
        let is_new = lsp.facts_at != lsp.chain.height;
        if is_new {
            self.tell_facts();
            for input in self.lsp().confirmed_fundings() {
                self.feed(input);
            }
        }
        is_new
    }

    fn tell_facts(&mut self) {
        let facts = self.lsp().facts();
        self.feed(Input::NodeFacts(facts));
    }

    /// What a client hears at once.
    fn answers<R: Request>(&mut self, peer: PeerId, request: &R) -> Option<R::Reply> {
        self.lsp().sent.clear();
        let payload = encode_request("the only one", request).expect("a short request");
        self.feed(Input::Message { peer, payload });
        self.run();
        let (_, reply) = self.lsp().sent.iter().find(|(receiver, _)| *receiver == peer)?;
        match FromLsp::decode(reply).expect("a reply") {
            FromLsp::Response { outcome: Ok(raw), .. } => Some(raw.reply::<R>().expect("of its type")),
            FromLsp::Response { outcome: Err(_), .. } | FromLsp::Notification { .. } => None,
        }
    }
}

/// A host that goes round for longer is stuck.
const ROUNDS: u32 = 200;
