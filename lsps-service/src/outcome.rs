//! What hosts hear of what they told.

use lsps_types::bolt4::FailureCode;

use crate::flow::Reject;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused input has to be undone at its source"]
pub enum Outcome {
    /// It is dealt with, once what follows is written.
    Taken,
    /// It concerns an SCID, channel or part that is not ours.
    NotMine,
    /// Nothing changed; the host undoes it at the source.
    Refused(Refusal),
}

/// What the host has to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fail this payment now. Nothing is recorded of it.
    FailPayment,
    /// Fail this part now. Nothing is recorded of it: until the node has saved that it told of the part, it tells again.
    FailPart(FailureCode),
    /// It came too late: close the channel, or release the inputs, that the news was about.
    Stale,
    /// The message is no request, of which its sender was told: nothing is to be undone, but operators should know.
    /// Spec: LSPS0, payload format.
    BadMessage,
}

impl From<Result<(), Reject>> for Outcome {
    fn from(step: Result<(), Reject>) -> Self {
        match step {
            Ok(()) => Self::Taken,
            Err(Reject::FailPart(code)) => Self::Refused(Refusal::FailPart(code)),
            Err(Reject::FailPayment) => Self::Refused(Refusal::FailPayment),
            Err(Reject::Stale) => Self::Refused(Refusal::Stale),
        }
    }
}
