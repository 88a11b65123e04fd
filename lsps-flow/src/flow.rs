//! A flow, and the one step loop.

use alloc::{collections::BTreeSet, vec::Vec};

/// A state machine with a record of its own.
pub trait Flow {
    /// Its name among the flows of its kind.
    type Id: Copy + Ord;
    /// What happened to it, or is wanted of it.
    type Command<'a>;
    /// One change of its state.
    type Event;
    /// Why a command means nothing to it.
    type Reject;
    /// An act that it waits for.
    type Effect: Keyed;
    /// What it may know besides its own state: the time, the settings, whether its peer is there.
    type Context<'a>;

    /// Its name.
    fn id(&self) -> Self::Id;

    /// Reads only: the events that a command means.
    ///
    /// # Errors
    ///
    /// When it means nothing. Nothing has changed, and whoever brought the command undoes it at its source.
    fn decide(
        &self,
        command: &Self::Command<'_>,
        context: &Self::Context<'_>,
    ) -> Result<Vec<Self::Event>, Self::Reject>;

    /// Writes only: total, without a clock. Nothing else changes the state.
    fn apply(&mut self, event: Self::Event);

    /// The events that follow from the state by itself. None: the flow waits for the world.
    ///
    /// Each such event leads to a state further on, from which the same event does not follow again: a part is sent once, a
    /// channel opened once for each command, a fee earned once. So [`step`] comes to an end; it stops after
    /// [`MOST_ROUNDS`] in any case.
    fn advance(&self, _context: &Self::Context<'_>) -> Vec<Self::Event> {
        Vec::new()
    }

    /// The effects that it waits for, in order. Asked after each step, where the new ones are released, and after a start,
    /// where all are: each has to do no harm when it is carried out twice.
    fn outstanding(&self) -> Vec<Self::Effect>;

    /// Whether it is over, so that its record is deleted.
    fn is_over(&self, context: &Self::Context<'_>) -> bool;
}

/// An effect that is told apart from others by a key.
pub trait Keyed {
    /// Equal for two askings of the same thing; a new attempt has a new key.
    type Key: Ord;

    /// What makes this effect the same as another.
    fn key(&self) -> Self::Key;
}

/// The result of a step.
#[derive(Debug)]
pub struct Stepped<E> {
    /// Effects that are newly owed. `None`: nothing changed.
    pub owed: Option<Vec<E>>,
    /// More followed than [`MOST_ROUNDS`]: the world told facts that cannot be, or there is a defect. The rest follows at the
    /// next step, if it still does. An operator has to look at this flow.
    pub has_no_end: bool,
}

/// Decides, applies, and goes on with whatever follows; then says what is newly owed. `seen` is shown each event before it is
/// applied.
///
/// # Errors
///
/// When the flow rejects the command. Nothing has changed.
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

/// Rounds of [`Flow::advance`] in one step, at the most. Far more than follow from anything: each part of a payment, and each
/// refund of an order, is good for a few.
pub const MOST_ROUNDS: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use alloc::vec;

    use super::*;

    /// Counts, and has something to count for ever, or up to a limit.
    struct Counter {
        count: usize,
        limit: usize,
    }

    /// The count is to be told.
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
