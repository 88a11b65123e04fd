//! The source of random bytes of a channel manager.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lightning::sign::{EntropySource, KeysManager};

/// Source of random bytes of a channel manager whose next draws can be set: a payer that draws the same session key for
/// the same route makes the same onion again.
pub struct Dice {
    keys: Arc<KeysManager>,
    settled: Mutex<VecDeque<[u8; 32]>>,
}

impl Dice {
    /// Creates a source that draws from the keys.
    #[must_use]
    pub fn new(keys: Arc<KeysManager>) -> Self {
        Self { keys, settled: Mutex::default() }
    }

    /// Sets the result of the next draw.
    pub fn settle(&self, draw: [u8; 32]) {
        self.settled().push_back(draw);
    }

    fn settled(&self) -> MutexGuard<'_, VecDeque<[u8; 32]>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EntropySource for Dice {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        let settled = self.settled().pop_front();
        settled.unwrap_or_else(|| self.keys.get_secure_random_bytes())
    }
}
