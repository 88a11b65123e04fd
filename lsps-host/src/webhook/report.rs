//! Tracing and metrics of the delivery: an event of `tracing` and a counter of `metrics` for the end of each attempt.
//!
//! Field names and counters are part of the interface; docs/operation.md lists them. URLs are secrets of their clients:
//! only the host is reported.

use std::fmt::Debug;

use metrics::counter;
use tracing::{debug, info};

use super::queue::Ended;
use super::{Answer, Undelivered};

/// Reports the end of an attempt.
pub(super) fn attempted<Id>(ended: &Ended<Id>, outcome: Result<(), Undelivered>) {
    let (host, attempt) = (&ended.host, ended.attempt);
    match outcome {
        Ok(()) => debug!(%host, attempt, "webhook called"),
        Err(why) => debug!(%host, attempt, why = name(why), reason = %why, "webhook not called"),
    }
    if ended.answer.is_none() {
        counter!("lsps_webhooks_retried").increment(1);
    }
}

/// Reports the answer to a delivery.
pub(super) fn answered<Id: Debug>(answer: &Answer<Id>) {
    let webhook = &answer.id;
    match answer.outcome {
        Ok(()) => {
            counter!("lsps_webhooks_delivered").increment(1);
            info!(?webhook, "notification delivered");
        }
        Err(why) => {
            counter!("lsps_webhooks_failed", "why" => name(why)).increment(1);
            info!(?webhook, why = name(why), reason = %why, "notification not delivered");
        }
    }
}

fn name(why: Undelivered) -> &'static str {
    match why {
        Undelivered::QueueFull => "queue_full",
        Undelivered::Withdrawn => "withdrawn",
        Undelivered::TooLate => "too_late",
        Undelivered::Url => "url",
        Undelivered::Port(_) => "port",
        Undelivered::Address(_) => "address",
        Undelivered::Status(_) => "status",
        Undelivered::Unresolved => "unresolved",
        Undelivered::Unreachable => "unreachable",
        Undelivered::Tls => "tls",
        Undelivered::Closed => "closed",
        Undelivered::TimedOut => "timed_out",
        Undelivered::GaveWay => "gave_way",
    }
}
