//! The order of attempts. No I/O and no clock: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lsps_service::Urgency;
use lsps_types::PeerId;
use tokio::time::Instant;

use super::target::PostRequest;
use super::{Answer, DeliveryConfig, Undelivered, WebhookCounts};

/// Deliveries that have no result yet.
pub(super) struct Queue<Id> {
    config: DeliveryConfig,
    chance: fastrand::Rng,
    jobs: BTreeMap<JobId, Job<Id>>,
    domains: BTreeMap<Arc<str>, Domain>,
    clients: BTreeMap<PeerId, BTreeSet<JobId>>,
    /// Jobs without an attempt in progress, the least urgent first.
    idle: BTreeSet<(Urgency, JobId)>,
    registrations: BTreeSet<JobId>,
    /// Domains with a job that can start, in turn, for each urgency.
    turns: BTreeMap<Urgency, VecDeque<Arc<str>>>,
    /// Attempts in progress, the oldest first.
    under_way: BTreeMap<AttemptId, UnderWay>,
    /// Jobs between two attempts, by the time of the next one.
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

/// A delivery that was accepted.
pub(super) struct Order<Id> {
    pub id: Id,
    pub request: PostRequest,
    pub client: PeerId,
    pub urgency: Urgency,
    /// The longest time until its last attempt starts.
    pub within: Duration,
}

struct Job<Id> {
    id: Id,
    request: Arc<PostRequest>,
    domain: Arc<str>,
    client: PeerId,
    urgency: Urgency,
    attempts: u32,
    /// The number of attempts that gave way to others; after each the next one has twice the patience.
    gave_way: u32,
    /// Time after which no attempt starts.
    until: Instant,
}

/// All hosts that one owner can name: a registrable domain, or an address.
#[derive(Default)]
struct Domain {
    jobs: BTreeSet<JobId>,
    /// Jobs that wait for their turn.
    ready: BTreeMap<Urgency, VecDeque<JobId>>,
    under_way: BTreeSet<AttemptId>,
    has_turn: BTreeSet<Urgency>,
}

struct UnderWay {
    job: JobId,
    urgency: Urgency,
    /// Time from which the attempt gives way if others wait.
    patient_until: Instant,
}

/// The next action.
#[derive(Debug)]
pub(super) enum Next<Id> {
    /// Make an attempt.
    Start(AttemptId, Arc<PostRequest>),
    /// End an attempt that has used up its time, then report that with [`Queue::ended`].
    GiveWay(AttemptId),
    /// Report this answer.
    Tell(Answer<Id>),
    /// Wait until this time, or for an event.
    Wait(Option<Instant>),
}

/// The consequence of the end of an attempt.
#[derive(Debug)]
pub(super) struct Ended<Id> {
    pub host: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The answer; `None` if there will be another attempt.
    pub answer: Option<Answer<Id>>,
}

impl<Id> Queue<Id> {
    pub fn new(config: DeliveryConfig) -> Self {
        let chance = config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            config,
            chance,
            jobs: BTreeMap::new(),
            domains: BTreeMap::new(),
            clients: BTreeMap::new(),
            idle: BTreeSet::new(),
            registrations: BTreeSet::new(),
            turns: BTreeMap::new(),
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

    /// The answer for a delivery that will never be attempted.
    pub fn refuse(&mut self, id: Id, why: Undelivered) -> Answer<Id> {
        self.counts.failed += 1;
        Answer { id, outcome: Err(why) }
    }

    /// Adds a delivery. Returns the answer for the one that found no place or lost it, if there is one.
    pub fn push(&mut self, order: Order<Id>, now: Instant) -> Option<Answer<Id>> {
        let Order { id, request, client, urgency, within } = order;
        let domain = request.target.domain();
        let displaced = match self.room_for(&domain, client, urgency) {
            Room::Free => None,
            Room::Of(job) => self.finish(job, Err(Undelivered::QueueFull)),
            Room::None => return Some(self.refuse(id, Undelivered::QueueFull)),
        };
        let job = JobId(self.next_job);
        self.next_job += 1;
        self.domains.entry(Arc::clone(&domain)).or_default().jobs.insert(job);
        self.clients.entry(client).or_default().insert(job);
        if urgency == Urgency::Registration {
            self.registrations.insert(job);
        }
        let until = after(now, within.min(self.config.lifetime));
        let request = Arc::new(request);
        self.jobs.insert(job, Job { id, request, domain, client, urgency, attempts: 0, gave_way: 0, until });
        self.idle.insert((urgency, job));
        self.make_ready(job);
        displaced
    }

    /// Finds room for a delivery. Registrations have a small part of it, so strangers leave room for the notifications
    /// of others. If all room is used, or all of a domain, the newest of the least urgent jobs loses its place to a
    /// more urgent one.
    fn room_for(&self, domain: &Arc<str>, client: PeerId, urgency: Urgency) -> Room {
        let config = &self.config;
        let of_client = self.clients.get(&client).map_or(0, BTreeSet::len);
        let is_registration = urgency == Urgency::Registration;
        if of_client >= config.most_pending_per_client
            || (is_registration && self.registrations.len() >= config.most_pending.div_ceil(REGISTRATIONS))
        {
            return Room::None;
        }
        let gives_up = |(least, job): &(Urgency, JobId)| (*least < urgency).then_some(Room::Of(*job));
        let of_domain = self.domains.get(domain).filter(|domain| domain.jobs.len() >= config.most_pending_per_domain);
        if let Some(of_domain) = of_domain {
            let idle = of_domain.jobs.iter().rev().filter_map(|job| Some((self.jobs.get(job)?.urgency, *job)));
            let idle = idle.filter(|entry| self.idle.contains(entry));
            return idle.min_by_key(|(urgency, _)| *urgency).as_ref().and_then(gives_up).unwrap_or(Room::None);
        }
        if self.jobs.len() < config.most_pending {
            return Room::Free;
        }
        let least = self.idle.first().map(|(urgency, _)| *urgency);
        let newest = least.and_then(|least| self.idle.range(..=(least, JobId(u64::MAX))).next_back());
        newest.and_then(gives_up).unwrap_or(Room::None)
    }

    /// Withdraws deliveries of a client. A delivery that is being posted is not attempted again.
    pub fn withdraw(&mut self, client: PeerId, is_it: impl Fn(&Id) -> bool, now: Instant) -> Vec<Answer<Id>> {
        let of_client: Vec<JobId> = self.clients.get(&client).into_iter().flatten().copied().collect();
        let mut answers = vec![];
        for job in of_client {
            let Some(known) = self.jobs.get_mut(&job).filter(|known| is_it(&known.id)) else { continue };
            known.until = now;
            if self.idle.contains(&(known.urgency, job)) {
                answers.extend(self.finish(job, Err(Undelivered::Withdrawn)));
            }
        }
        answers
    }

    /// The next action; to be called until there is none.
    pub fn next(&mut self, now: Instant) -> Next<Id> {
        while let Some((due, job)) = self.pausing.first().copied().filter(|(due, _)| *due <= now) {
            self.pausing.remove(&(due, job));
            self.make_ready(job);
        }
        let due = self.pausing.first().map(|(due, _)| *due);
        if self.under_way.len() < self.config.most_at_once {
            return self.start(now).unwrap_or(Next::Wait(due));
        }
        let waits = self.turns.iter().rev().find(|(_, turns)| !turns.is_empty()).map(|(urgency, _)| *urgency);
        let may_give_way = |running: &&UnderWay| waits.is_some_and(|waits| running.urgency <= waits);
        let running = self.under_way.iter().filter(|(_, running)| may_give_way(running));
        match running.min_by_key(|(_, running)| running.patient_until) {
            Some((attempt, running)) if running.patient_until <= now => Next::GiveWay(*attempt),
            Some((_, running)) => {
                let until = running.patient_until;
                Next::Wait(Some(due.map_or(until, |due| due.min(until))))
            }
            None => Next::Wait(due),
        }
    }

    /// Ends an attempt. `None`: it ended before.
    pub fn ended(&mut self, attempt: AttemptId, outcome: Result<(), Undelivered>, now: Instant) -> Option<Ended<Id>> {
        let UnderWay { job, .. } = self.under_way.remove(&attempt)?;
        let known = self.jobs.get_mut(&job)?;
        let (domain, attempts, until) = (Arc::clone(&known.domain), known.attempts, known.until);
        let host = known.request.target.host.to_string();
        let gave_way = outcome == Err(Undelivered::GaveWay);
        if gave_way {
            // The attempt did not fail: it is repeated with more time, and does not count.
            known.attempts = attempts.saturating_sub(1);
            known.gave_way = known.gave_way.saturating_add(1);
        }
        self.idle.insert((known.urgency, job));
        self.domains.get_mut(&domain)?.under_way.remove(&attempt);
        self.counts.gave_way += u64::from(gave_way);
        let pause = if gave_way { Duration::ZERO } else { self.pause_after(attempts) };
        let again = outcome.is_err_and(Undelivered::is_worth_another_attempt)
            && (gave_way || attempts < self.config.most_attempts)
            && pause < until.saturating_duration_since(now);
        let answer = if again {
            self.counts.retried += 1;
            self.pausing.insert((now + pause, job));
            None
        } else {
            self.finish(job, outcome)
        };
        self.give_turns(&domain);
        Some(Ended { host, attempt: attempts, answer })
    }

    /// Starts an attempt: the most urgent first, and of those each domain in turn. Registrations leave most connections
    /// to others.
    fn start(&mut self, now: Instant) -> Option<Next<Id>> {
        for urgency in [Urgency::High, Urgency::Normal, Urgency::Registration] {
            let of_kind = || self.under_way.values().filter(|running| running.urgency == urgency).count();
            let share = self.config.most_at_once.div_ceil(REGISTRATIONS);
            if urgency == Urgency::Registration && of_kind() >= share {
                continue;
            }
            while let Some(name) = self.turns.get_mut(&urgency).and_then(VecDeque::pop_front) {
                let Some(domain) = self.domains.get_mut(&name) else { continue };
                domain.has_turn.remove(&urgency);
                let Some(job) = domain.ready.get_mut(&urgency).and_then(VecDeque::pop_front) else { continue };
                let next = self.attempt(job, now);
                self.give_turns(&name);
                if next.is_some() {
                    return next;
                }
            }
        }
        None
    }

    fn attempt(&mut self, job: JobId, now: Instant) -> Option<Next<Id>> {
        let known = self.jobs.get_mut(&job)?;
        if known.until <= now {
            return self.finish(job, Err(Undelivered::TooLate)).map(Next::Tell);
        }
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        known.attempts += 1;
        let patience = self.config.patience.saturating_mul(1 << known.gave_way.min(16));
        let (request, urgency) = (Arc::clone(&known.request), known.urgency);
        self.idle.remove(&(urgency, job));
        if let Some(domain) = self.domains.get_mut(&known.domain) {
            domain.under_way.insert(attempt);
        }
        self.under_way.insert(attempt, UnderWay { job, urgency, patient_until: after(now, patience) });
        Some(Next::Start(attempt, request))
    }

    fn make_ready(&mut self, job: JobId) {
        let Some(known) = self.jobs.get(&job) else { return };
        let (name, urgency) = (Arc::clone(&known.domain), known.urgency);
        if let Some(domain) = self.domains.get_mut(&name) {
            domain.ready.entry(urgency).or_default().push_back(job);
        }
        self.give_turns(&name);
    }

    /// Queues a domain for each urgency of which a job can start.
    fn give_turns(&mut self, name: &Arc<str>) {
        let Some(domain) = self.domains.get_mut(name) else { return };
        if domain.under_way.len() >= self.config.most_at_once_per_domain {
            return;
        }
        for (urgency, _) in domain.ready.iter().filter(|(_, ready)| !ready.is_empty()) {
            if domain.has_turn.insert(*urgency) {
                self.turns.entry(*urgency).or_default().push_back(Arc::clone(name));
            }
        }
    }

    fn finish(&mut self, job: JobId, outcome: Result<(), Undelivered>) -> Option<Answer<Id>> {
        let Job { id, domain: name, client, urgency, .. } = self.jobs.remove(&job)?;
        self.idle.remove(&(urgency, job));
        self.registrations.remove(&job);
        if let Some(of_client) = self.clients.get_mut(&client) {
            of_client.remove(&job);
            if of_client.is_empty() {
                self.clients.remove(&client);
            }
        }
        if let Some(domain) = self.domains.get_mut(&name) {
            domain.jobs.remove(&job);
            for ready in domain.ready.values_mut().filter(|ready| ready.len() > domain.jobs.len().saturating_mul(2)) {
                ready.retain(|other| domain.jobs.contains(other));
            }
            if domain.jobs.is_empty() {
                self.domains.remove(&name);
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

/// Room for another delivery.
enum Room {
    Free,
    /// The place of this job.
    Of(JobId),
    None,
}

/// The instant after this pause; an instant that the clock cannot express becomes one in a year.
fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Registrations may use one in this many places and connections.
const REGISTRATIONS: usize = 8;

#[cfg(test)]
#[allow(non_snake_case)]
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
        let mut queue = queue(|config| (config.most_pending, config.most_pending_per_domain) = (3, 2));
        assert_eq!([push(&mut queue, 1, "a"), push(&mut queue, 2, "a")], [None, None]);
        assert_eq!(push(&mut queue, 3, "a"), Some(Undelivered::QueueFull));
        assert_eq!([push(&mut queue, 4, "b"), push(&mut queue, 5, "c")], [None, Some(Undelivered::QueueFull)]);

        let mut queue = self::queue(|config| config.most_at_once_per_domain = 1);
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
        assert_eq!((queue.counts().pending, queue.domains.len()), (0, 0));
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

    /// X58: many clients register webhooks whose name server never answers.
    #[test]
    fn case_X58_registrations_of_strangers_leave_room_and_connections_to_payments_that_wait() {
        let (mut queue, now) = (queue(|_| ()), Instant::now());
        let mut taken = 0;
        for stranger in 0..2_000_u16 {
            let hosts = (0..5).map(|n| format!("{stranger}-{n}"));
            taken += hosts.filter(|host| pushes(&mut queue, stranger, Urgency::Registration, host).is_none()).count();
        }
        assert_eq!(taken, queue.config.most_pending / REGISTRATIONS);
        let under_way = starts(&mut queue, now).len();
        assert_eq!(under_way, queue.config.most_at_once / REGISTRATIONS);
        assert_eq!(pushes(&mut queue, 9_999, Urgency::High, "honest"), None);
        assert_eq!(starts(&mut queue, now), ["honest"], "it is posted at once");
    }

    #[test]
    fn case_X58_names_of_one_domain_are_one_domain_and_a_more_urgent_post_takes_the_place_of_a_lesser() {
        let mut queue = queue(|config| config.most_pending_per_domain = 2);
        let post = |queue: &mut Queue<usize>, id: u16, urgency, host: &str| pushes(queue, id, urgency, host);
        assert_eq!(post(&mut queue, 1, Urgency::Normal, "a.push"), None);
        assert_eq!(post(&mut queue, 2, Urgency::Normal, "b.push"), None);
        assert_eq!(post(&mut queue, 3, Urgency::Normal, "c.push"), Some((3, Undelivered::QueueFull)));
        assert_eq!(post(&mut queue, 4, Urgency::High, "d.push"), Some((2, Undelivered::QueueFull)), "the newest goes");
        assert_eq!(starts(&mut queue, Instant::now()), ["d.push", "a.push"], "the most urgent first");
    }

    #[test]
    fn case_X58_a_client_has_no_more_than_its_share() {
        let mut queue = queue(|config| config.most_pending_per_client = 1);
        assert_eq!(pushes(&mut queue, 1, Urgency::High, "a"), None);
        assert_eq!(pushes(&mut queue, 1, Urgency::High, "b"), Some((1, Undelivered::QueueFull)));
        assert_eq!(pushes(&mut queue, 2, Urgency::High, "c"), None);
    }

    #[test]
    fn case_X58_what_was_replaced_is_withdrawn_and_what_is_under_way_is_not_tried_again() {
        let (mut queue, now) = (queue(|_| ()), Instant::now());
        push(&mut queue, 1, "a");
        let Next::Start(attempt, _) = queue.next(now) else { panic!("a place is free") };
        push(&mut queue, 2, "b");
        let answers = queue.withdraw(ME, |_| true, now);
        assert_eq!(answers, [Answer { id: 2, outcome: Err(Undelivered::Withdrawn) }]);
        let ended = queue.ended(attempt, Err(Undelivered::Closed), now).unwrap();
        assert!(ended.answer.is_some() && matches!(queue.next(now), Next::Wait(None)));
        assert_eq!((queue.counts().pending, queue.domains.len(), queue.clients.len()), (0, 0, 0));
    }

    /// X65: a webhook that takes longer than the patience while all connections are in use.
    #[test]
    fn case_X65_an_attempt_that_gives_way_costs_none_and_has_twice_the_time_next() {
        let (mut queue, mut now) =
            (queue(|config| (config.most_at_once, config.most_attempts) = (1, 1)), Instant::now());
        push(&mut queue, 1, "slow");
        for round in 0..4 {
            let Next::Start(slow, _) = queue.next(now) else { panic!("it is tried again") };
            pushes(&mut queue, 100 + round, Urgency::Normal, &format!("other{round}"));
            let Next::Wait(Some(until)) = queue.next(now) else { panic!("it has its time") };
            assert_eq!(until - now, queue.config.patience * 2_u32.pow(round.into()));
            now = until;
            assert!(matches!(queue.next(now), Next::GiveWay(attempt) if attempt == slow));
            assert!(queue.ended(slow, Err(Undelivered::GaveWay), now).unwrap().answer.is_none());
            let Next::Start(other, _) = queue.next(now) else { panic!("others go on") };
            queue.ended(other, Ok(()), now);
        }
        let Next::Start(slow, _) = queue.next(now) else { panic!("it is tried again") };
        assert_eq!(queue.ended(slow, Ok(()), now).unwrap().answer, Some(Answer { id: 1, outcome: Ok(()) }));
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
        let order = Order { id, request: request(host), client: ME, urgency: Urgency::Normal, within };
        queue.push(order, Instant::now())?.outcome.err()
    }

    fn request(host: &str) -> PostRequest {
        let target = Targets::default().target(&format!("https://{host}.example/")).unwrap();
        let signed = Signed {
            body: String::new(),
            timestamp: Timestamp::from_unix_millis(0).into(),
            signature: LnSignature::from_bytes([31; 65]).unwrap(),
        };
        PostRequest { target, signed }
    }

    /// Posts for one of many clients; returns the delivery that lost its place, and the reason.
    fn pushes(queue: &mut Queue<usize>, number: u16, urgency: Urgency, host: &str) -> Option<(usize, Undelivered)> {
        let mut client = ME;
        client.0[1..3].copy_from_slice(&number.to_be_bytes());
        let (id, request, within) = (number.into(), request(host), Duration::MAX);
        let answer = queue.push(Order { id, request, client, urgency, within }, Instant::now())?;
        Some((answer.id, answer.outcome.unwrap_err()))
    }

    fn starts(queue: &mut Queue<usize>, now: Instant) -> Vec<String> {
        let mut hosts = vec![];
        while let Next::Start(_, request) = queue.next(now) {
            hosts.push(request.target.host.to_string().trim_end_matches(".example").into());
        }
        hosts
    }

    const ME: PeerId = PeerId([2; 33]);
}
