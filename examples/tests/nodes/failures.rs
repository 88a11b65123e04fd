//! What a payer sees when a payment cannot be delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsps_examples::node::logger::FailureCode;
use lsps_examples::node::within;
use lsps_examples::scene::Script;
use lsps_transport_ldk::onchain::{Clock, SystemClock};
use lsps_types::Timestamp;

use crate::World;

/// The system's clock, and what the test adds to it.
#[derive(Default)]
struct Shifted(AtomicU64);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_H07_the_payer_sees_the_code_that_the_spec_wants() {
    let clock = Arc::new(Shifted::default());
    let world = World::playing(Script { clock: clock.clone(), ..Script::default() }).await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds_a_part().await;
    clock.0.store(91, Ordering::SeqCst);
    world.fails_with(FailureCode(0x1007), "temporary_channel_failure: the client stays away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J06_a_payment_to_an_scid_that_is_no_more_fails_at_once() {
    let clock = Arc::new(Shifted::default());
    let world = World::playing(Script { clock: clock.clone(), ..Script::default() }).await;
    clock.0.store(3 * 86_400, Ordering::SeqCst);
    world.pays();
    world.fails_with(FailureCode(0x400a), "unknown_next_peer: nothing stands for that SCID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J06_a_payment_to_an_scid_that_the_service_never_issued_fails_at_once() {
    let mut world = World::playing(Script::default()).await;
    // The node still takes the SCID for one to intercept; the service knows nothing of it.
    world.scene.lsp.node.kill();
    let store = Arc::clone(world.scene.lsp.node.store());
    let names = store.list("lsps", "service").unwrap();
    assert!(!names.is_empty());
    for name in names {
        store.remove("lsps", "service", &name, false).unwrap();
    }
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.pays();
    world.fails_with(FailureCode(0x400a), "unknown_next_peer: it is nobody's").await;
}

impl World {
    async fn fails_with(&self, code: FailureCode, why: &str) {
        let codes = || self.scene.payer.logger().failure_codes();
        assert!(within(|| self.scene.seen.facts().has_failed).await, "the payer is told");
        assert_eq!(codes(), [code], "{why}");
        assert!(within(|| self.scene.balances().is_ok()).await, "nothing is under way any more");
        assert_eq!(self.scene.balances().unwrap(), self.before, "everybody has what they had");
    }
}
