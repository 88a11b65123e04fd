//! The webhooks at all LSPs, the open requests about them, and the loop that steps them.

use alloc::{collections::BTreeMap, vec::Vec};
use core::task::Waker;
use core::time::Duration;

use lsps_types::lsps5::{AppName, ListWebhooks, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::{ClockShift, PeerId, Timestamp};

use super::{Ask, Command, Event, Webhooks};
use crate::batch::{Batch, FlowId, Notice};
use crate::client::RETRY;
use crate::pending::{Pending, Ticket};
use crate::record::{self, Unreadable};
use crate::wake::Wake;

#[derive(Debug, Default)]
pub(crate) struct Book {
    lsps: BTreeMap<PeerId, Kept>,
}

/// A flow with its state that is not on record: after a restart the LSP is asked again.
#[derive(Debug)]
struct Kept {
    flow: Webhooks,
    /// Open request; there is one at a time.
    asked: Option<Asked>,
    not_before: Timestamp,
    /// Requests without a useful answer, by app; `None`: the list.
    rests: BTreeMap<Option<AppName>, Rest>,
    waiting: Vec<(AppName, Waker)>,
}

/// Pause of a request, so that it does not delay the others.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Timestamp,
    pause: Duration,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Set(AppName, WebhookUrl, Ticket<SetWebhook>),
    Remove(AppName, Ticket<RemoveWebhook>),
    List(Ticket<ListWebhooks>),
}

impl Book {
    pub fn load(&mut self, lsp: PeerId, bytes: &[u8]) -> Result<(), Unreadable> {
        let flow: Webhooks = record::read(VERSION, bytes)?;
        if flow.lsp != lsp {
            return Err(Unreadable::Damaged);
        }
        if self.lsps.contains_key(&lsp) {
            return Err(Unreadable::Twice);
        }
        self.lsps.insert(lsp, Kept::new(flow));
        Ok(())
    }

    pub fn keep(
        &mut self,
        lsp: PeerId,
        (name, url): (AppName, WebhookUrl),
        limit: usize,
        now: Timestamp,
        out: &mut Batch,
    ) -> Result<(), TooManyApps> {
        let is_known = self.get(lsp).is_some_and(|flow| flow.app(&name).is_some());
        if !is_known && self.iter().map(Webhooks::len).sum::<usize>() >= limit {
            return Err(TooManyApps);
        }
        self.lsps.entry(lsp).or_insert_with(|| Kept::new(Webhooks::new(lsp, now)));
        self.step(lsp, &Command::Keep(name, url), now, out);
        Ok(())
    }

    /// Executes a command to the webhooks of an LSP, puts the result on record, and wakes the tasks that wait for it.
    pub fn step(&mut self, lsp: PeerId, command: &Command, now: Timestamp, out: &mut Batch) {
        let Some(kept) = self.lsps.get_mut(&lsp) else { return };
        let events = kept.flow.decide(command, now);
        if events.is_empty() {
            return;
        }
        for event in events {
            kept.flow.apply(&event);
            match &event {
                Event::Wanted(name, _) | Event::Unwanted(name) => {
                    kept.not_before = Timestamp::default();
                    kept.rests.remove(&Some(name.clone()));
                }
                Event::Registered(name) | Event::Refused { app: name, .. } | Event::Removed(name) => {
                    kept.rests.remove(&Some(name.clone()));
                }
                Event::Checked(_) => drop(kept.rests.remove(&None)),
                Event::Again(_) => {}
            }
            out.released.notices.push(Notice::Webhooks(lsp, event));
        }
        kept.waiting.drain(..).for_each(|(_, waker)| waker.wake());
        let is_over = kept.flow.len() == 0;
        out.records.insert(FlowId::Webhooks(lsp), (!is_over).then(|| record::write(VERSION, &kept.flow)));
        if is_over {
            self.lsps.remove(&lsp);
        }
    }

    /// LSPs that have webhooks on record.
    pub fn lsps(&self) -> Vec<PeerId> {
        self.lsps.keys().copied().collect()
    }

    /// Takes the open request if it has been answered.
    pub fn answered(&mut self, lsp: PeerId, pending: &Pending) -> Option<Asked> {
        let kept = self.lsps.get_mut(&lsp)?;
        kept.asked.take_if(|asked| asked.is_answered(pending))
    }

    /// The request that was due first, among those without a pause.
    pub fn to_ask(&self, lsp: PeerId, check_every: Duration, now: Timestamp) -> Option<Ask> {
        let kept = self.lsps.get(&lsp).filter(|kept| kept.asked.is_none() && now >= kept.not_before)?;
        let due = kept.due(check_every).filter(|(at, _)| *at <= now);
        due.min_by_key(|(at, _)| *at).map(|(_, ask)| ask)
    }

    pub fn asks(&mut self, lsp: PeerId, asked: Asked) {
        if let Some(kept) = self.lsps.get_mut(&lsp) {
            kept.asked = Some(asked);
        }
    }

    /// Pauses all requests to an LSP that cannot be asked.
    pub fn rests(&mut self, lsp: PeerId, until: Timestamp) {
        if let Some(kept) = self.lsps.get_mut(&lsp) {
            kept.not_before = until;
        }
    }

    /// Pauses this request, which had no useful answer. The pause doubles each time, up to `longest`; other requests go
    /// on.
    pub fn rests_about(
        &mut self,
        lsp: PeerId,
        app: Option<AppName>,
        pause: Duration,
        longest: Duration,
        now: Timestamp,
    ) {
        let Some(kept) = self.lsps.get_mut(&lsp) else { return };
        let before = kept.rests.get(&app).map_or(Duration::ZERO, |rest| rest.pause.saturating_mul(2));
        let pause = pause.max(before).min(longest.max(pause));
        kept.rests.insert(app, Rest { until: now + pause, pause });
    }

    /// Shifts the pauses after the clock was set; they keep their length.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        for kept in self.lsps.values_mut() {
            kept.flow.clock_set(shift);
            kept.not_before = shift.end(kept.not_before, RETRY);
            for rest in kept.rests.values_mut() {
                rest.until = shift.end(rest.until, rest.pause);
            }
        }
    }

    /// Wakes `waker` when the webhooks of this LSP change, for a task that waits for an app's answer.
    pub fn wake_later(&mut self, lsp: PeerId, name: &AppName, waker: &Waker) {
        if let Some(kept) = self.lsps.get_mut(&lsp) {
            kept.waiting.retain(|(waiting, other)| waiting != name || !other.will_wake(waker));
            kept.waiting.push((name.clone(), waker.clone()));
        }
    }

    pub fn next_wake(&self, check_every: Duration, pending: &Pending) -> Option<(Timestamp, Wake)> {
        let wake = |kept: &Kept| match &kept.asked {
            Some(asked) => asked.is_answered(pending).then_some((Timestamp::default(), Wake::AnswerArrived)),
            None => {
                let due = kept.due(check_every).map(|(at, _)| (at.max(kept.not_before), Wake::WebhookAsked)).min();
                due.filter(|_| pending.may_call(kept.flow.lsp, usize::MAX).is_ok())
            }
        };
        self.lsps.values().filter_map(wake).min()
    }

    pub fn get(&self, lsp: PeerId) -> Option<&Webhooks> {
        self.lsps.get(&lsp).map(|kept| &kept.flow)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Webhooks> {
        self.lsps.values().map(|kept| &kept.flow)
    }
}

impl Kept {
    fn new(flow: Webhooks) -> Self {
        let (rests, waiting) = (BTreeMap::new(), Vec::new());
        Self { flow, asked: None, not_before: Timestamp::default(), rests, waiting }
    }

    fn due(&self, check_every: Duration) -> impl Iterator<Item = (Timestamp, Ask)> {
        let rest = |ask: &Ask| self.rests.get(&ask.app().cloned()).map_or(Timestamp::default(), |rest| rest.until);
        self.flow.outstanding(check_every).map(move |(at, ask)| (at.max(rest(&ask)), ask))
    }
}

impl Asked {
    fn is_answered(&self, pending: &Pending) -> bool {
        match self {
            Self::Set(_, _, ticket) => pending.is_answered(ticket.call()),
            Self::Remove(_, ticket) => pending.is_answered(ticket.call()),
            Self::List(ticket) => pending.is_answered(ticket.call()),
        }
    }
}

/// Error: too many apps are on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many apps have webhooks")]
pub struct TooManyApps;

const VERSION: u8 = 1;
