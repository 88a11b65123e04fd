//! Events of peers that the host has not taken yet, within bounds that no peer can exceed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An event of a peer, as the host takes it. `P` identifies the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent<P> {
    /// The peer connected.
    Connected(P),
    /// The peer disconnected.
    Disconnected(P),
    /// The peer sent a message with this payload.
    Message(P, Vec<u8>),
}

/// The connected peers, and their events that wait to be taken. `P` identifies a peer; `F` is kept for each peer while
/// it is connected, for example its features.
///
/// At most 64 messages of one peer wait; further ones are dropped. At most 16 MiB of all peers' messages wait; above
/// that the inbox drops the latest message of the peer whose messages take up most.
pub struct Inbox<P, F> {
    peers: BTreeMap<P, Peer<F>>,
    /// Peers whose connection or disconnection was not reported yet, in that order. Each is in the map once, under the
    /// number that its entry holds.
    moved: BTreeMap<u64, P>,
    /// Peers with messages, in the order of their turns; each once, under the number that its entry holds.
    turns: BTreeMap<u64, P>,
    last_number: u64,
    /// Peers with messages by the size of these, largest last.
    weights: BTreeSet<(usize, P)>,
    bytes: usize,
    dropped: u64,
}

/// A peer that is connected, or whose disconnection was not reported yet.
struct Peer<F> {
    /// Features of the peer; `None` if it is disconnected.
    features: Option<F>,
    /// Whether the host was last told that the peer is connected.
    is_told: bool,
    /// Whether the peer disconnected since that report.
    went: bool,
    moved: Option<u64>,
    turn: Option<u64>,
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// Limit on the events that are taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Largest number of connections and disconnections.
    pub moves: usize,
    /// Largest number of messages.
    pub messages: usize,
    /// Largest size of these messages together, in bytes. The first message is taken whatever its size.
    pub bytes: usize,
}

impl Budget {
    /// No limit.
    pub const ALL: Self = Self { moves: usize::MAX, messages: usize::MAX, bytes: usize::MAX };
}

impl<P: Copy + Ord, F> Default for Inbox<P, F> {
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
            moved: BTreeMap::new(),
            turns: BTreeMap::new(),
            last_number: 0,
            weights: BTreeSet::new(),
            bytes: 0,
            dropped: 0,
        }
    }
}

impl<F> Default for Peer<F> {
    fn default() -> Self {
        let (features, is_told, went, moved, turn) = (None, false, false, None, None);
        Self { features, is_told, went, moved, turn, messages: VecDeque::new(), bytes: 0 }
    }
}

impl<P: Copy + Ord, F> Inbox<P, F> {
    /// Starts over for a host that was told nothing yet: all connected peers are reported to it as connected.
    pub fn attach(&mut self) {
        let all = std::mem::take(&mut self.peers);
        self.moved.clear();
        for (peer, state) in all {
            if state.features.is_some() {
                self.peers.insert(peer, Peer { is_told: false, went: false, moved: None, ..state });
                self.moves(peer);
            }
        }
    }

    /// Adds a peer that connected.
    pub fn connects(&mut self, peer: P, features: F) {
        self.peers.entry(peer).or_default().features = Some(features);
        self.moves(peer);
    }

    /// Removes a peer that disconnected, with its messages: they cannot be answered any more.
    pub fn disconnects(&mut self, peer: &P) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        (state.features, state.went) = (None, state.is_told);
        let bytes = std::mem::take(&mut state.bytes);
        state.messages.clear();
        self.bytes -= bytes;
        self.weights.remove(&(bytes, *peer));
        state.turn.take().map(|turn| self.turns.remove(&turn));
        if state.is_told {
            self.moves(*peer);
        } else {
            // The connection was never reported.
            state.moved.take().map(|number| self.moved.remove(&number));
            self.peers.remove(peer);
        }
    }

    /// Adds a message. A message of a peer that is not connected is ignored.
    pub fn receive(&mut self, sender: P, payload: Vec<u8>) {
        let Some(state) = self.peers.get_mut(&sender).filter(|state| state.features.is_some()) else { return };
        if state.messages.len() >= MOST_WAITING {
            self.dropped += 1;
            return;
        }
        self.weights.remove(&(state.bytes, sender));
        state.bytes += weight(&payload);
        self.bytes += weight(&payload);
        state.messages.push_back(payload);
        self.weights.insert((state.bytes, sender));
        self.gets_turn(sender);
        while self.bytes > MOST_BYTES {
            self.drop_heaviest();
        }
    }

    /// The features of a connected peer.
    #[must_use]
    pub fn features(&self, peer: &P) -> Option<&F> {
        self.peers.get(peer)?.features.as_ref()
    }

    /// Number of messages that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there is an event to take.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.moved.is_empty() || !self.turns.is_empty()
    }

    /// Takes events up to a budget: first the peers that connected or disconnected, each once however often it did
    /// both, then one message of each sender in turn. No message of a peer comes before the report of its connection.
    pub fn take(&mut self, budget: Budget) -> Vec<PeerEvent<P>> {
        let mut events = vec![];
        for _ in 0..budget.moves.min(self.moved.len()) {
            let Some((_, peer)) = self.moved.pop_first() else { break };
            events.extend(self.tell(peer));
        }
        let (mut messages, mut bytes) = (0, 0);
        while messages < budget.messages && bytes < budget.bytes {
            let Some((_, sender)) = self.turns.pop_first() else { break };
            if let Some(payload) = self.next_of(sender) {
                (messages, bytes) = (messages + 1, bytes + weight(&payload));
                events.push(PeerEvent::Message(sender, payload));
            }
        }
        events
    }

    /// Queues a sender with messages, once its connection was reported.
    fn gets_turn(&mut self, sender: P) {
        let Some(state) = self.peers.get_mut(&sender) else { return };
        if state.turn.is_none() && state.moved.is_none() && !state.messages.is_empty() {
            self.last_number += 1;
            state.turn = Some(self.last_number);
            self.turns.insert(self.last_number, sender);
        }
    }

    fn moves(&mut self, peer: P) {
        if let Some(state) = self.peers.get_mut(&peer).filter(|state| state.moved.is_none()) {
            self.last_number += 1;
            state.moved = Some(self.last_number);
            self.moved.insert(self.last_number, peer);
            state.turn.take().map(|turn| self.turns.remove(&turn));
        }
    }

    /// The events that report whether the peer is connected now, and whether it was disconnected before that.
    fn tell(&mut self, peer: P) -> Vec<PeerEvent<P>> {
        let Some(state) = self.peers.get_mut(&peer) else { return vec![] };
        let (is_there, was_told, went) = (state.features.is_some(), state.is_told, state.went);
        (state.is_told, state.went, state.moved) = (is_there, false, None);
        if !is_there {
            self.peers.remove(&peer);
        }
        self.gets_turn(peer);
        let gone = (was_told && went).then_some(PeerEvent::Disconnected(peer));
        let came = (is_there && (went || !was_told)).then_some(PeerEvent::Connected(peer));
        gone.into_iter().chain(came).collect()
    }

    /// The next message of the sender whose turn it is.
    fn next_of(&mut self, sender: P) -> Option<Vec<u8>> {
        let state = self.peers.get_mut(&sender)?;
        state.turn = None;
        let payload = state.messages.pop_front()?;
        self.weights.remove(&(state.bytes, sender));
        state.bytes -= weight(&payload);
        self.bytes -= weight(&payload);
        if !state.messages.is_empty() {
            self.weights.insert((state.bytes, sender));
        }
        self.gets_turn(sender);
        Some(payload)
    }

    /// Drops the latest message of the peer whose messages take up most.
    fn drop_heaviest(&mut self) {
        let Some((bytes, peer)) = self.weights.pop_last() else { return };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let lost = state.messages.pop_back().map_or(0, |payload| weight(&payload));
        state.bytes = bytes - lost;
        self.bytes -= lost;
        self.dropped += 1;
        if state.messages.is_empty() {
            state.turn.take().map(|turn| self.turns.remove(&turn));
        } else {
            self.weights.insert((state.bytes, peer));
        }
    }
}

/// Memory that a message takes up, in bytes: its payload and an overhead.
fn weight(payload: &[u8]) -> usize {
    payload.len() + OVERHEAD
}

/// Largest number of waiting messages of one peer; no well-behaved client has so many requests open.
const MOST_WAITING: usize = 64;
/// Largest size of all waiting messages, in bytes: some thousand of the usual length for each of a thousand peers.
const MOST_BYTES: usize = 16 << 20;
const OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use super::*;
    use PeerEvent::{Connected, Disconnected, Message};

    const HUGE: usize = 65_000;

    type Inbox = super::Inbox<usize, ()>;

    fn peer(number: usize) -> usize {
        number
    }

    fn with(peers: &[usize]) -> Inbox {
        let mut inbox = Inbox::default();
        peers.iter().for_each(|peer| inbox.connects(*peer, ()));
        inbox.take(Budget::ALL);
        inbox
    }

    fn some(messages: usize) -> Budget {
        Budget { messages, ..Budget::ALL }
    }

    #[test]
    fn case_X61_what_all_peers_send_is_bounded_and_the_heaviest_lose_theirs() {
        let peers: Vec<usize> = (0..101).map(peer).collect();
        let (honest, crowd) = peers.split_first().unwrap();
        let mut inbox = with(&peers);
        inbox.receive(*honest, b"the first".to_vec());
        for _ in 0..64 {
            crowd.iter().for_each(|peer| inbox.receive(*peer, vec![0; HUGE]));
        }
        inbox.receive(*honest, b"the second".to_vec());
        assert!(inbox.bytes <= MOST_BYTES);
        let waiting: usize = inbox.peers.values().flat_map(|peer| &peer.messages).map(|message| weight(message)).sum();
        assert_eq!(waiting, inbox.bytes);
        assert_eq!(inbox.dropped(), 6_400 - (inbox.bytes / weight(&[0; HUGE])) as u64);
        let heard = inbox.take(Budget::ALL);
        let of = |peer: &usize| heard.iter().filter(|event| matches!(event, Message(from, _) if from == peer)).count();
        assert_eq!(of(honest), 2, "what weighs little stays");
        assert!(crowd.iter().all(|peer| of(peer) >= 1), "nobody is left out");
        assert_eq!((inbox.bytes, inbox.weights.len(), inbox.turns.len()), (0, 0, 0));
    }

    #[test]
    fn case_X61_those_who_left_leave_nothing_behind() {
        let mut inbox = Inbox::default();
        for stranger in (0..500).map(peer) {
            inbox.connects(stranger, ());
            (0..64).for_each(|_| inbox.receive(stranger, vec![0; 1_000]));
            inbox.disconnects(&stranger);
            // A message of a disconnected peer is ignored.
            inbox.receive(stranger, vec![0; 1_000]);
        }
        assert_eq!((inbox.peers.len(), inbox.bytes, inbox.take(Budget::ALL)), (0, 0, vec![]));
        let mut inbox = with(&[peer(1), peer(2)]);
        inbox.receive(peer(1), vec![1]);
        inbox.receive(peer(2), vec![2]);
        inbox.disconnects(&peer(1));
        assert_eq!(inbox.take(Budget::ALL), [Disconnected(peer(1)), Message(peer(2), vec![2])]);
        assert_eq!(inbox.peers.len(), 1);
    }

    #[test]
    fn case_X61_coming_and_going_is_told_once_however_often_it_happens() {
        let flaps = peer(1);
        let mut inbox = with(&[flaps]);
        for _ in 0..1_000 {
            inbox.disconnects(&flaps);
            inbox.connects(flaps, ());
            inbox.receive(flaps, vec![1]);
        }
        assert_eq!(inbox.moved.len(), 1);
        assert_eq!(inbox.take(Budget::ALL), [Disconnected(peer(1)), Connected(peer(1)), Message(peer(1), vec![1])]);
        inbox.disconnects(&peer(1));
        inbox.connects(peer(1), ());
        inbox.disconnects(&peer(1));
        assert_eq!(inbox.take(Budget::ALL), [Disconnected(peer(1))]);
    }

    #[test]
    fn a_host_that_is_started_again_hears_who_is_there() {
        let mut inbox = with(&[peer(1), peer(2), peer(3)]);
        inbox.receive(peer(1), vec![1]);
        inbox.disconnects(&peer(2));
        inbox.disconnects(&peer(3));
        inbox.connects(peer(3), ());
        inbox.attach();
        let heard = [Connected(peer(1)), Connected(peer(3)), Message(peer(1), vec![1])];
        assert_eq!(inbox.take(Budget::ALL), heard);
        assert_eq!((inbox.peers.len(), inbox.bytes, inbox.has_news()), (2, 0, false));
    }

    #[test]
    fn case_X56_each_sender_has_its_turn_and_those_who_came_are_told_first() {
        let peers: Vec<usize> = (0..3).map(peer).collect();
        let mut inbox = with(&peers[..2]);
        for number in 0..10 {
            inbox.receive(peers[0], vec![number]);
        }
        inbox.receive(peers[1], vec![100]);
        inbox.connects(peers[2], ());
        inbox.receive(peers[2], vec![200]);
        let message = |peer: usize, byte| Message(peers[peer], vec![byte]);
        assert_eq!(inbox.take(some(2)), [Connected(peers[2]), message(0, 0), message(1, 100)]);
        assert!(inbox.has_news());
        assert_eq!(inbox.take(some(3)), [message(2, 200), message(0, 1), message(0, 2)]);
        // The connection was not reported yet: messages of this peer wait, those of others do not.
        inbox.disconnects(&peers[2]);
        inbox.connects(peers[2], ());
        inbox.receive(peers[2], vec![201]);
        let no_moves = Budget { moves: 0, ..some(8) };
        assert_eq!(inbox.take(no_moves), (3..10).map(|byte| message(0, byte)).collect::<Vec<_>>());
        assert_eq!(inbox.take(Budget::ALL), [Disconnected(peers[2]), Connected(peers[2]), message(2, 201)]);
        assert!(!inbox.has_news());
    }

    #[test]
    fn case_X57_long_messages_use_up_the_budget_sooner() {
        let mut inbox = with(&[peer(1)]);
        (0..8).for_each(|_| inbox.receive(peer(1), vec![0; HUGE]));
        let budget = Budget { bytes: 2 * HUGE, ..Budget::ALL };
        assert_eq!(inbox.take(budget).len(), 2);
        assert_eq!(inbox.take(Budget { bytes: 1, ..budget }).len(), 1, "one is always taken");
    }
}
