//! Time, and sleeping.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lsps_types::Timestamp;

/// The clock of a host. Tests bring their own. The host's task reads no other clock. Calls must return at once.
pub trait Clock: Send + Sync {
    /// Time of the wall clock, which can be set.
    fn now(&self) -> Timestamp;

    /// Time since some instant in the life of this process, unaffected by changes of the wall clock. The host compares
    /// both clocks to notice that the wall clock was set.
    fn steady(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Sleeps for this time on the steady clock. The future may end early: the host then takes one turn more than
    /// needed. The default needs a tokio runtime.
    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The future of [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
