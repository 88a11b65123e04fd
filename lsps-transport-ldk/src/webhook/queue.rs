//! Whose turn it is. No I/O and no clock: the time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::target::Parcel;
use super::{Answer, DeliveryConfig, Undelivered, WebhookCounts};

/// Deliveries that have no answer yet.
pub(super) struct Queue<Id> {
    config: DeliveryConfig,
    chance: fastrand::Rng,
    jobs: BTreeMap<JobId, Job<Id>>,
    hosts: BTreeMap<Arc<str>, Host>,
    /// Hosts of which something can start, in turn.
    turns: VecDeque<Arc<str>>,
    /// Attempts under way, the oldest first.
    under_way: BTreeMap<AttemptId, UnderWay>,
    /// Jobs between two attempts, by when the next one is due.
    pausing: BTreeSet<(Instant, JobId)>,
    next_job: u64,
    next_attempt: u64,
    counts: WebhookCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(u64);

/// One attempt for one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttemptId(u64);

struct Job<Id> {
    id: Id,
    parcel: Arc<Parcel>,
    host: Arc<str>,
    attempts: u32,
    /// No attempt starts later.
    until: Instant,
}

#[derive(Default)]
struct Host {
    /// All of its jobs.
    jobs: BTreeSet<JobId>,
    /// Those that wait for their turn.
    ready: VecDeque<JobId>,
    under_way: BTreeSet<AttemptId>,
    has_turn: bool,
}

struct UnderWay {
    job: JobId,
    since: Instant,
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Next<Id> {
    /// Make an attempt.
    Start(AttemptId, Arc<Parcel>),
    /// End an attempt that has had its time, then say so with [`Queue::ended`].
    GiveWay(AttemptId),
    /// Tell.
    Tell(Answer<Id>),
    /// Nothing before then, unless something happens.
    Wait(Option<Instant>),
}

/// What the end of an attempt means.
#[derive(Debug)]
pub(super) struct Ended<Id> {
    pub host: Arc<str>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// `None`: there will be another attempt.
    pub answer: Option<Answer<Id>>,
}

impl<Id> Queue<Id> {
    pub fn new(config: DeliveryConfig) -> Self {
        let chance = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            config,
            chance,
            jobs: BTreeMap::new(),
            hosts: BTreeMap::new(),
            turns: VecDeque::new(),
            under_way: BTreeMap::new(),
            pausing: BTreeSet::new(),
            next_job: 0,
            next_attempt: 0,
            counts: WebhookCounts::default(),
        }
    }

    pub fn counts(&self) -> WebhookCounts {
        WebhookCounts { pending: self.jobs.len(), under_way: self.under_way.len(), ..self.counts }
    }

    /// A delivery that will never be attempted.
    pub fn refuse(&mut self, id: Id, why: Undelivered) -> Answer<Id> {
        self.counts.failed += 1;
        Answer { id, outcome: Err(why) }
    }

    /// Takes a delivery that is worth something for so long, or gives its answer.
    pub fn push(&mut self, id: Id, parcel: Parcel, within: Duration, now: Instant) -> Option<Answer<Id>> {
        let host: Arc<str> = parcel.target.host.to_string().into();
        let of_host = self.hosts.get(&host).map_or(0, |host| host.jobs.len());
        if self.jobs.len() >= self.config.most_pending || of_host >= self.config.most_pending_per_host {
            return Some(self.refuse(id, Undelivered::QueueFull));
        }
        let job = JobId(self.next_job);
        self.next_job += 1;
        self.hosts.entry(Arc::clone(&host)).or_default().jobs.insert(job);
        let until = after(now, within.min(self.config.lifetime));
        self.jobs.insert(job, Job { id, parcel: Arc::new(parcel), host, attempts: 0, until });
        self.make_ready(job);
        None
    }

    /// To be asked until there is nothing to do.
    pub fn next(&mut self, now: Instant) -> Next<Id> {
        while let Some((due, job)) = self.pausing.first().copied().filter(|(due, _)| *due <= now) {
            self.pausing.remove(&(due, job));
            self.make_ready(job);
        }
        let due = self.pausing.first().map(|(due, _)| *due);
        if self.under_way.len() < self.config.most_at_once {
            return self.start(now).unwrap_or(Next::Wait(due));
        }
        let oldest = self.under_way.first_key_value().filter(|_| !self.turns.is_empty());
        match oldest.map(|(attempt, running)| (*attempt, after(running.since, self.config.patience))) {
            Some((attempt, until)) if until <= now => Next::GiveWay(attempt),
            Some((_, until)) => Next::Wait(Some(due.map_or(until, |due| due.min(until)))),
            None => Next::Wait(due),
        }
    }

    /// An attempt is over. `None`: it was before.
    pub fn ended(&mut self, attempt: AttemptId, outcome: Result<(), Undelivered>, now: Instant) -> Option<Ended<Id>> {
        let UnderWay { job, .. } = self.under_way.remove(&attempt)?;
        let known = self.jobs.get(&job)?;
        let (host, attempts, until) = (Arc::clone(&known.host), known.attempts, known.until);
        self.hosts.get_mut(&host)?.under_way.remove(&attempt);
        self.counts.gave_way += u64::from(outcome == Err(Undelivered::GaveWay));
        let pause = self.pause_after(attempts);
        let again = outcome.is_err_and(Undelivered::is_worth_another_attempt) && attempts < self.config.most_attempts;
        let answer = if again && pause <= until.saturating_duration_since(now) {
            self.counts.retried += 1;
            self.pausing.insert((now + pause, job));
            None
        } else {
            self.finish(job, outcome)
        };
        self.give_turn(&host);
        Some(Ended { host, attempt: attempts, answer })
    }

    fn start(&mut self, now: Instant) -> Option<Next<Id>> {
        loop {
            let name = self.turns.pop_front()?;
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.has_turn = false;
            let Some(job) = host.ready.pop_front() else { continue };
            let Some(known) = self.jobs.get_mut(&job) else { continue };
            if known.until <= now {
                let answer = self.finish(job, Err(Undelivered::TooLate));
                self.give_turn(&name);
                return answer.map(Next::Tell);
            }
            let attempt = AttemptId(self.next_attempt);
            self.next_attempt += 1;
            known.attempts += 1;
            let parcel = Arc::clone(&known.parcel);
            host.under_way.insert(attempt);
            self.under_way.insert(attempt, UnderWay { job, since: now });
            self.give_turn(&name);
            return Some(Next::Start(attempt, parcel));
        }
    }

    fn make_ready(&mut self, job: JobId) {
        let Some(host) = self.jobs.get(&job).map(|known| Arc::clone(&known.host)) else { return };
        if let Some(known) = self.hosts.get_mut(&host) {
            known.ready.push_back(job);
        }
        self.give_turn(&host);
    }

    /// Puts a host in the row if something of it can start, at the end.
    fn give_turn(&mut self, name: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let can_start = !host.ready.is_empty() && host.under_way.len() < self.config.most_at_once_per_host;
        if can_start && !host.has_turn {
            host.has_turn = true;
            self.turns.push_back(Arc::clone(name));
        }
    }

    fn finish(&mut self, job: JobId, outcome: Result<(), Undelivered>) -> Option<Answer<Id>> {
        let Job { id, host: name, .. } = self.jobs.remove(&job)?;
        if let Some(host) = self.hosts.get_mut(&name) {
            host.jobs.remove(&job);
            if host.jobs.is_empty() {
                self.hosts.remove(&name);
            }
        }
        match outcome {
            Ok(()) => self.counts.delivered += 1,
            Err(_) => self.counts.failed += 1,
        }
        Some(Answer { id, outcome })
    }

    /// Between half and all of a pause that grows fourfold.
    fn pause_after(&mut self, attempts: u32) -> Duration {
        let full = self.config.first_pause.saturating_mul(4_u32.saturating_pow(attempts.saturating_sub(1)));
        let half = full / 2;
        let most = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        half.saturating_add(Duration::from_millis(self.chance.u64(0..=most)))
    }
}

/// The clock has an end, which settings may lie behind.
fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use lsps_types::Timestamp;
    use lsps_types::lsps5::Signed;
    use lsps_types::signature::LnSignature;

    use super::*;
    use crate::webhook::Targets;

    #[test]
    fn hosts_take_turns() {
        let mut queue = queue(|config| config.most_at_once = 4);
        for (id, host) in ["a", "a", "a", "b", "c"].into_iter().enumerate() {
            push(&mut queue, id, host);
        }
        assert_eq!(starts(&mut queue, Instant::now()), ["a", "b", "c", "a"]);
    }

    #[test]
    fn a_host_has_no_more_than_its_share() {
        let mut queue = queue(|config| (config.most_pending, config.most_pending_per_host) = (3, 2));
        assert_eq!([push(&mut queue, 1, "a"), push(&mut queue, 2, "a")], [None, None]);
        assert_eq!(push(&mut queue, 3, "a"), Some(Undelivered::QueueFull));
        assert_eq!([push(&mut queue, 4, "b"), push(&mut queue, 5, "c")], [None, Some(Undelivered::QueueFull)]);

        let mut queue = self::queue(|config| config.most_at_once_per_host = 1);
        for (id, host) in ["a", "a", "b"].into_iter().enumerate() {
            push(&mut queue, id, host);
        }
        assert_eq!(starts(&mut queue, Instant::now()), ["a", "b"]);
    }

    #[test]
    fn the_oldest_attempt_gives_way_when_it_has_had_its_time_and_somebody_waits() {
        let (mut queue, start) = (queue(|config| config.most_at_once = 1), Instant::now());
        push(&mut queue, 1, "slow");
        let Next::Start(slow, _) = queue.next(start) else { panic!("a place is free") };
        let later = start + queue.config.patience;
        assert!(matches!(queue.next(later), Next::Wait(None)), "nobody waits");

        push(&mut queue, 2, "fast");
        assert!(matches!(queue.next(start), Next::Wait(Some(until)) if until == later));
        assert!(matches!(queue.next(later), Next::GiveWay(attempt) if attempt == slow));
        assert!(queue.ended(slow, Err(Undelivered::GaveWay), later).unwrap().answer.is_none());
        assert_eq!(starts(&mut queue, later), ["fast"]);
        assert_eq!((queue.counts().gave_way, queue.counts().retried), (1, 1));
    }

    #[test]
    fn pauses_grow_and_end() {
        let (mut queue, mut now) = (queue(|config| config.lifetime = Duration::MAX), Instant::now());
        push(&mut queue, 1, "dead");
        for seconds in [1, 4, 16] {
            let Next::Start(attempt, _) = queue.next(now) else { panic!("it is due") };
            assert!(queue.ended(attempt, Err(Undelivered::Closed), now).unwrap().answer.is_none());
            let Next::Wait(Some(due)) = queue.next(now) else { panic!("there is a pause") };
            let full = Duration::from_secs(seconds);
            assert!((full / 2..=full).contains(&(due - now)), "{:?}", due - now);
            now = due;
        }
        let Next::Start(attempt, _) = queue.next(now) else { panic!("it is due") };
        let answer = queue.ended(attempt, Err(Undelivered::Closed), now).unwrap().answer;
        assert_eq!(answer, Some(Answer { id: 1, outcome: Err(Undelivered::Closed) }));
        assert_eq!((queue.counts().pending, queue.hosts.len()), (0, 0));
    }

    #[test]
    fn what_has_waited_for_too_long_is_not_posted() {
        let (mut queue, start) = (queue(|_| ()), Instant::now());
        push(&mut queue, 1, "a");
        let late = start + queue.config.lifetime + Duration::from_secs(1);
        let told = matches!(queue.next(late), Next::Tell(Answer { id: 1, outcome: Err(Undelivered::TooLate) }));
        assert!(told && matches!(queue.next(late), Next::Wait(None)));
    }

    #[test]
    fn what_is_worth_nothing_any_more_is_not_posted_again() {
        let (mut queue, start) = (queue(|_| ()), Instant::now());
        push_within(&mut queue, 1, "a", Duration::from_secs(2));
        let Next::Start(attempt, _) = queue.next(start) else { panic!("a place is free") };
        assert!(queue.ended(attempt, Err(Undelivered::Closed), start).unwrap().answer.is_none(), "soon enough");
        let Next::Wait(Some(due)) = queue.next(start) else { panic!("there is a pause") };
        let Next::Start(attempt, _) = queue.next(due) else { panic!("it is due") };
        let answer = queue.ended(attempt, Err(Undelivered::Closed), due).unwrap().answer;
        assert_eq!(answer, Some(Answer { id: 1, outcome: Err(Undelivered::Closed) }), "too late for the next pause");
    }

    #[test]
    fn a_status_is_the_end() {
        let (mut queue, now) = (queue(|_| ()), Instant::now());
        push(&mut queue, 1, "a");
        let Next::Start(attempt, _) = queue.next(now) else { panic!("a place is free") };
        let answer = queue.ended(attempt, Err(Undelivered::Status(500)), now).unwrap().answer;
        assert_eq!(answer, Some(Answer { id: 1, outcome: Err(Undelivered::Status(500)) }));
    }

    fn queue(change: impl FnOnce(&mut DeliveryConfig)) -> Queue<usize> {
        let mut config = DeliveryConfig { seed: Some(7), ..DeliveryConfig::default() };
        change(&mut config);
        Queue::new(config)
    }

    fn push(queue: &mut Queue<usize>, id: usize, host: &str) -> Option<Undelivered> {
        push_within(queue, id, host, Duration::MAX)
    }

    fn push_within(queue: &mut Queue<usize>, id: usize, host: &str, within: Duration) -> Option<Undelivered> {
        let target = Targets::default().target(&format!("https://{host}.example/")).unwrap();
        let signed = Signed {
            body: String::new(),
            timestamp: Timestamp::from_unix_millis(0).into(),
            signature: LnSignature::from_bytes([31; 65]).unwrap(),
        };
        queue.push(id, Parcel { target, signed }, within, Instant::now())?.outcome.err()
    }

    fn starts(queue: &mut Queue<usize>, now: Instant) -> Vec<String> {
        let mut hosts = vec![];
        while let Next::Start(_, parcel) = queue.next(now) {
            hosts.push(parcel.target.host.to_string().trim_end_matches(".example").into());
        }
        hosts
    }
}
