//! The webhooks at all LSPs, the open requests about them, and the loop that steps them.

use alloc::{collections::BTreeMap, vec::Vec};
use core::task::Waker;
use core::time::Duration;

use lsps_flow::{Flows, Record, Unreadable, record};
use lsps_types::lsps5::{AppName, ListWebhooks, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::{ClockShift, PeerId, Timestamp};

use super::{Ask, Command, Event, Webhooks};
use crate::batch::{Changes, FlowId, Notice};
use crate::client::RETRY;
use crate::pending::{Pending, Ticket};
use crate::wake::Wake;

#[derive(Debug, Default)]
pub(crate) struct Registrations {
    lsps: Flows<Webhooks>,
    /// State of the requests to each of these LSPs.
    asking: BTreeMap<PeerId, Asking>,
}

/// State that is not on record: after a restart the LSP is asked again.
#[derive(Debug, Default)]
struct Asking {
    /// Open request; there is one at a time.
    asked: Option<Sent>,
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
pub(crate) enum Sent {
    Set(AppName, WebhookUrl, Ticket<SetWebhook>),
    Remove(AppName, Ticket<RemoveWebhook>),
    List(Ticket<ListWebhooks>),
}

impl Registrations {
    pub fn load(&mut self, lsp: PeerId, record: &Record) -> Result<(), Unreadable> {
        let (_, fields) = record::version(record, VERSION)?;
        let flow: Webhooks = record::decode(record, fields)?;
        if flow.lsp != lsp {
            return Err(record::damaged(record));
        }
        if self.lsps.contains_key(&lsp) {
            return Err(Unreadable::Twice { name: record.name.clone() });
        }
        self.lsps.insert(flow, &());
        Ok(())
    }

    pub fn keep(
        &mut self,
        lsp: PeerId,
        (name, url): (AppName, WebhookUrl),
        limit: usize,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<(), TooManyApps> {
        let is_known = self.get(lsp).is_some_and(|flow| flow.app(&name).is_some());
        if !is_known && self.iter().map(Webhooks::len).sum::<usize>() >= limit {
            return Err(TooManyApps);
        }
        if !self.lsps.contains_key(&lsp) {
            self.lsps.begin(Webhooks::new(lsp, now));
        }
        self.step(lsp, &Command::Keep(name, url), now, out);
        Ok(())
    }

    /// Executes a command to the webhooks of an LSP, puts the result on record, and wakes the tasks that wait for it.
    pub fn step(&mut self, lsp: PeerId, command: &Command, now: Timestamp, out: &mut Changes) {
        let asking = self.asking.entry(lsp).or_default();
        let seen = |event: &Event| {
            match event {
                Event::Wanted(name, _) | Event::Unwanted(name) => {
                    asking.not_before = Timestamp::default();
                    asking.rests.remove(&Some(name.clone()));
                }
                Event::Registered(name) | Event::Refused { app: name, .. } | Event::Removed(name) => {
                    asking.rests.remove(&Some(name.clone()));
                }
                Event::Checked(_) => drop(asking.rests.remove(&None)),
                Event::Again(_) => {}
            }
            out.released.notices.push(Notice::Webhooks(lsp, event.clone()));
        };
        let moved = self.lsps.step(lsp, command, &now, &(), seen);
        if let Some(Ok(moved)) = moved
            && moved.stepped.owed.is_some()
        {
            asking.waiting.drain(..).for_each(|(_, waker)| waker.wake());
            let content = self.lsps.get(&lsp).map(|flow| record::encode(VERSION, flow));
            out.records.insert(FlowId::Webhooks(lsp), content);
        }
        if !self.lsps.contains_key(&lsp) {
            self.asking.remove(&lsp);
        }
    }

    /// LSPs that have webhooks on record.
    pub fn lsps(&self) -> Vec<PeerId> {
        self.lsps.values().map(|flow| flow.lsp).collect()
    }

    /// Takes the open request if it has been answered.
    pub fn answered(&mut self, lsp: PeerId, pending: &Pending) -> Option<Sent> {
        self.asking.get_mut(&lsp)?.asked.take_if(|asked| asked.is_answered(pending))
    }

    /// The request that was due first, among those without a pause.
    pub fn to_ask(&self, lsp: PeerId, check_every: Duration, now: Timestamp) -> Option<Ask> {
        let is_free = |asking: &Asking| asking.asked.is_none() && now >= asking.not_before;
        let flow = self.lsps.get(&lsp).filter(|_| self.asking.get(&lsp).is_none_or(is_free))?;
        let due = self.due(flow, check_every).filter(|(at, _)| *at <= now);
        due.min_by_key(|(at, _)| *at).map(|(_, ask)| ask)
    }

    pub fn asks(&mut self, lsp: PeerId, asked: Sent) {
        self.asking.entry(lsp).or_default().asked = Some(asked);
    }

    /// Pauses all requests to an LSP that cannot be asked.
    pub fn rests(&mut self, lsp: PeerId, until: Timestamp) {
        self.asking.entry(lsp).or_default().not_before = until;
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
        let Some(asking) = self.asking.get_mut(&lsp).filter(|_| self.lsps.contains_key(&lsp)) else { return };
        let before = asking.rests.get(&app).map_or(Duration::ZERO, |rest| rest.pause.saturating_mul(2));
        let pause = pause.max(before).min(longest.max(pause));
        asking.rests.insert(app, Rest { until: now + pause, pause });
    }

    /// Shifts the pauses after the clock was set; they keep their length.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        for lsp in self.lsps() {
            self.lsps.adjust(&lsp, &(), |flow| flow.clock_set(shift));
        }
        for asking in self.asking.values_mut() {
            asking.not_before = shift.end(asking.not_before, RETRY);
            for rest in asking.rests.values_mut() {
                rest.until = shift.end(rest.until, rest.pause);
            }
        }
    }

    /// Wakes `waker` when the webhooks of this LSP change, for a task that waits for an app's answer.
    pub fn wake_later(&mut self, lsp: PeerId, name: &AppName, waker: &Waker) {
        if self.lsps.contains_key(&lsp) {
            let asking = self.asking.entry(lsp).or_default();
            asking.waiting.retain(|(waiting, other)| waiting != name || !other.will_wake(waker));
            asking.waiting.push((name.clone(), waker.clone()));
        }
    }

    pub fn next_wake(&self, check_every: Duration, pending: &Pending) -> Option<(Timestamp, Wake)> {
        let wake = |flow: &Webhooks| {
            let asking = self.asking.get(&flow.lsp);
            if let Some(asked) = asking.and_then(|asking| asking.asked.as_ref()) {
                return asked.is_answered(pending).then_some((Timestamp::default(), Wake::AnswerArrived));
            }
            let not_before = asking.map_or(Timestamp::default(), |asking| asking.not_before);
            let due = self.due(flow, check_every).map(|(at, _)| (at.max(not_before), Wake::WebhookAsked)).min();
            due.filter(|_| pending.may_call(flow.lsp, usize::MAX).is_ok())
        };
        self.lsps.values().filter_map(wake).min()
    }

    pub fn get(&self, lsp: PeerId) -> Option<&Webhooks> {
        self.lsps.get(&lsp)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Webhooks> {
        self.lsps.values()
    }

    /// The requests to an LSP, each with the time from which it may be sent.
    fn due(&self, flow: &Webhooks, check_every: Duration) -> impl Iterator<Item = (Timestamp, Ask)> {
        let rests = self.asking.get(&flow.lsp).map(|asking| &asking.rests);
        let rest = move |ask: &Ask| rests.and_then(|rests| rests.get(&ask.app().cloned())).map(|rest| rest.until);
        flow.outstanding(check_every).map(move |(at, ask)| (rest(&ask).map_or(at, |until| at.max(until)), ask))
    }
}

impl Sent {
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
