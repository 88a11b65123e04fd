//! Trait of flows, and the loop that steps them.

use alloc::{collections::BTreeSet, vec::Vec};

/// A state machine with a record of its own.
pub trait Flow {
    /// Id of the flow among those of its kind.
    type Id: Copy + Ord;
    /// Command to the flow: an event that happened to it, or a request.
    type Command<'a>;
    /// State change of the flow.
    type Event;
    /// Reason to reject a command.
    type Reject;
    /// Call that the flow needs from its host.
    type Effect: Keyed;
    /// Facts besides the flow's own state that it can read: the time, the settings, the connection of its peer.
    type Context<'a>;

    /// Id of this flow.
    fn id(&self) -> Self::Id;

    /// Returns the events that a command causes, without a change of the state.
    ///
    /// # Errors
    ///
    /// The flow rejects the command, and its state has not changed. The caller undoes the command at its source.
    fn decide(
        &self,
        command: &Self::Command<'_>,
        context: &Self::Context<'_>,
    ) -> Result<Vec<Self::Event>, Self::Reject>;

    /// Applies an event. No other method changes the state. This one never fails and reads no clock.
    fn apply(&mut self, event: Self::Event);

    /// Returns the events that follow from the state without a command; none if the flow waits for an input.
    ///
    /// Each such event leads to a later state, from which the same event does not follow again: a part is forwarded
    /// once, a channel opened once for each command, a fee booked once. Therefore [`step`] ends, in any case after
    /// [`MOST_ROUNDS`] rounds.
    fn advance(&self, _context: &Self::Context<'_>) -> Vec<Self::Event> {
        Vec::new()
    }

    /// Returns the effects that the flow waits for, in order. After each step the new ones are released, after a start
    /// all of them, so a repetition of an effect must do no harm.
    fn outstanding(&self) -> Vec<Self::Effect>;

    /// Whether the flow has ended, so that its record can be deleted.
    fn is_over(&self, context: &Self::Context<'_>) -> bool;
}

/// An effect with a key that identifies it.
pub trait Keyed {
    /// Key of an effect. Repeated requests of the same call have the same key, a new attempt has a new one.
    type Key: Ord;

    /// Key of this effect.
    fn key(&self) -> Self::Key;
}

/// Result of a step.
#[derive(Debug)]
pub struct Stepped<E> {
    /// Effects that became outstanding; `None` if the state did not change.
    pub owed: Option<Vec<E>>,
    /// Whether the step stopped after [`MOST_ROUNDS`], due to impossible inputs or a defect. Remaining events follow at
    /// the next step. The operator has to inspect this flow.
    pub has_no_end: bool,
}

/// Executes a command: decides and applies its events and all that follow, and returns the new effects. `seen` is
/// called with each event before the event is applied.
///
/// # Errors
///
/// The flow rejects the command. Its state has not changed.
pub fn step<F: Flow>(
    flow: &mut F,
    command: &F::Command<'_>,
    context: &F::Context<'_>,
    mut seen: impl FnMut(&F::Event),
) -> Result<Stepped<F::Effect>, F::Reject> {
    let owed: BTreeSet<_> = flow.outstanding().iter().map(Keyed::key).collect();
    let mut events = flow.decide(command, context)?;
    let (mut changed, mut has_no_end) = (false, true);
    for _ in 0..MOST_ROUNDS {
        changed |= !events.is_empty();
        for event in events {
            seen(&event);
            flow.apply(event);
        }
        events = flow.advance(context);
        if events.is_empty() {
            has_no_end = false;
            break;
        }
    }
    let is_new = |effect: &F::Effect| !owed.contains(&effect.key());
    Ok(Stepped { owed: changed.then(|| flow.outstanding().into_iter().filter(is_new).collect()), has_no_end })
}

/// Largest number of rounds of [`Flow::advance`] in one step. Inputs cause far fewer: a few for each part of a payment
/// and each refund of an order.
pub const MOST_ROUNDS: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use alloc::vec;

    use super::*;

    /// A flow that counts up to a limit, by one in each round.
    struct Counter {
        count: usize,
        limit: usize,
    }

    /// Effect that reports the count.
    struct Tell(usize);

    impl Keyed for Tell {
        type Key = usize;

        fn key(&self) -> usize {
            self.0
        }
    }

    impl Flow for Counter {
        type Id = ();
        type Command<'a> = bool;
        type Event = usize;
        type Reject = ();
        type Effect = Tell;
        type Context<'a> = ();

        fn id(&self) {}

        fn decide(&self, counts: &bool, (): &()) -> Result<Vec<usize>, ()> {
            if *counts { Ok(vec![1]) } else { Err(()) }
        }

        fn apply(&mut self, more: usize) {
            self.count += more;
        }

        fn advance(&self, (): &()) -> Vec<usize> {
            if self.count < self.limit { vec![1] } else { vec![] }
        }

        fn outstanding(&self) -> Vec<Tell> {
            vec![Tell(0), Tell(self.count)]
        }

        fn is_over(&self, (): &()) -> bool {
            false
        }
    }

    #[test]
    fn case_X62_what_has_no_end_is_stopped_and_told() {
        let mut endless = Counter { count: 0, limit: usize::MAX };
        let stepped = step(&mut endless, &true, &(), |_| {}).expect("it is taken");
        assert!(stepped.has_no_end && stepped.owed.is_some());
        assert_eq!(endless.count, MOST_ROUNDS);
    }

    #[test]
    fn a_step_goes_on_until_nothing_follows_and_releases_what_is_new() {
        let (mut counter, mut seen) = (Counter { count: 0, limit: 7 }, 0);
        let stepped = step(&mut counter, &true, &(), |more| seen += more).expect("it is taken");
        assert!(!stepped.has_no_end);
        assert_eq!((counter.count, seen), (7, 7));
        let owed: Vec<_> = stepped.owed.expect("it changed").iter().map(Keyed::key).collect();
        assert_eq!(owed, [7], "what was owed before is not released again");
    }

    #[test]
    fn a_rejected_command_changes_nothing() {
        let mut counter = Counter { count: 3, limit: 7 };
        assert!(step(&mut counter, &false, &(), |_| panic!("no event")).is_err());
        assert_eq!(counter.count, 3);
    }
}
