//! Results of inputs, for the host.

use lsps_types::bolt4::FailureCode;

use crate::flow::Reject;

/// Result of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused input has to be undone at its source"]
pub enum Outcome {
    /// The service accepted the input. The consequences wait in the next batch.
    Taken,
    /// The input is about an SCID, channel or part that belongs to no flow.
    NotMine,
    /// The input changed nothing. The host has to undo it at its source.
    Refused(Refusal),
}

/// Action of the host that undoes a refused input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fail this payment now. The service keeps no record of it.
    FailPayment,
    /// Fail this part now. The service keeps no record of it: the node reports the part again until it has persisted
    /// that it did.
    FailPart(FailureCode),
    /// The report came too late. Close the channel, or release the inputs, that it is about.
    Stale,
    /// The message was not a request, and its sender was told so. The host has nothing to undo, but should tell the
    /// operator. Spec: LSPS0, payload format.
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
