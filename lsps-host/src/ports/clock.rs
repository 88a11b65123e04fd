//! Time, and waiting for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lsps_types::Timestamp;

/// The time of a host. Tests bring their own. The host's task reads no other clock; its calls must not block for longer
/// than a look at memory takes.
pub trait Clock: Send + Sync {
    /// The time of the wall clock, which somebody may set.
    fn now(&self) -> Timestamp;

    /// The time since some instant in the life of this process, whatever the wall clock is set to. The host compares
    /// both clocks to notice that the wall clock was set.
    fn steady(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// Waits for so long on the steady clock. A wait may end early: the host then has one turn more than needed. The
    /// default needs a tokio runtime.
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
