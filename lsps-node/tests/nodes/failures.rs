//! Failure codes that a payer sees when a payment cannot be delivered.

use std::sync::Arc;

use lsps_testing::scene::Script;

use crate::{Shifted, TEMPORARY_CHANNEL_FAILURE, UNKNOWN_NEXT_PEER, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_H07_the_payer_sees_the_code_that_the_spec_wants() {
    let (clock, script) = Shifted::script();
    let world = World::playing(script).await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds(1).await;
    clock.jump(91);
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "the client stays away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J06_a_payment_to_an_scid_that_is_no_more_fails_at_once() {
    let (clock, script) = Shifted::script();
    let world = World::playing(script).await;
    clock.jump(3 * 86_400);
    world.pays();
    world.fails_with(UNKNOWN_NEXT_PEER, "nothing stands for that SCID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J06_a_payment_to_an_scid_that_the_service_never_issued_fails_at_once() {
    let mut world = World::playing(Script::default()).await;
    // The node still intercepts the SCID, but the service does not know it.
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
    world.fails_with(UNKNOWN_NEXT_PEER, "it is nobody's").await;
}
