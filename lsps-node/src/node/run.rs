//! The task of a node: blocks, events, forwards and saves, in one loop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lightning::events::{Event, ReplayEvent};
use lightning::ln::msgs::OnionMessageHandler as _;
use lightning::ln::peer_handler::CustomMessageHandler;
use tokio::time::Instant;

use super::{Node, lock};

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Starts the node; each of its events goes to `handler`, in order, until that has returned `Ok`.
    pub fn run<F, Fut>(self: &Arc<Self>, handler: F)
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ReplayEvent>> + Send,
    {
        let node = Arc::clone(self);
        let life = tokio::spawn(async move {
            // An accepted forward from before the crash fails if it is sent before its peer is back.
            let hold = if node.was_loaded { HOLD_AFTER_LOAD } else { Duration::ZERO };
            let (start, mut ticked) = (Instant::now(), Instant::now());
            // Work that was requested before the stop is done before the last save.
            let mut last = false;
            while !last {
                last = node.stopping.load(Ordering::SeqCst);
                node.follow_chain();
                node.manager.process_pending_events_async(&handler).await;
                node.monitor.process_pending_events_async(&handler).await;
                if start.elapsed() >= hold && node.manager.needs_pending_htlc_processing() {
                    node.manager.process_pending_htlc_forwards();
                }
                node.peers.process_events();
                if let Err(error) = node.save() {
                    eprintln!("the node could not be saved: {error}"); // what waits for it stays waiting
                }
                node.peers.process_events();
                if ticked.elapsed() >= TICK {
                    ticked = Instant::now();
                    node.peers.timer_tick_occurred();
                    node.manager.timer_tick_occurred();
                    node.onions.timer_tick_occurred();
                }
                tokio::select! {
                    () = node.manager.get_event_or_persistence_needed_future() => {}
                    () = node.monitor.get_update_future() => {}
                    () = node.saves.filled.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        });
        *lock(&self.life) = Some(life);
        self.ask_source();
    }

    /// Stops all tasks after a last save.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let life = lock(&self.life).take();
        if let Some(life) = life {
            let _ = life.await;
        }
        self.chain.ask_to_work();
        let asking = lock(&self.asking).take();
        if let Some(asking) = asking {
            let _ = tokio::task::spawn_blocking(|| asking.join()).await; // each call of it is bounded
        }
        self.disconnect();
    }

    /// Stops all tasks at once, without a last save, as a power cut would; only the store remains.
    pub fn kill(&self) {
        self.broadcaster.cut_off(true);
        self.stopping.store(true, Ordering::SeqCst);
        self.chain.ask_to_work();
        if let Some(life) = lock(&self.life).take() {
            life.abort();
        }
        self.disconnect();
    }

    fn disconnect(&self) {
        for connection in lock(&self.connections).drain(..) {
            connection.abort();
        }
        self.peers.disconnect_all_peers();
    }
}

/// Interval at which LDK is polled for state that no event reports.
const POLL: Duration = Duration::from_millis(5);
/// Time that peers have to reconnect before held-over forwards are sent.
const HOLD_AFTER_LOAD: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_secs(10);
