//! Waiting for the answers of asynchronous clients, from threads that may block.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// A runtime of a source's own. Its connections live in it.
pub(super) struct Waiting(Option<Runtime>);

impl Waiting {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// Waits for the end of `call`, at most this long.
    pub(super) fn wait_for<T>(&self, at_most: Duration, call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", at_most.as_secs()));
        let Some(runtime) = &self.0 else { return Err(late()) };
        runtime.block_on(async { tokio::time::timeout(at_most, call).await.unwrap_or_else(|_| Err(late())) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A runtime that is dropped inside of another one would wait for its tasks, which tokio forbids.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
