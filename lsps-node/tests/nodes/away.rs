//! Wallets that are away when their payment arrives.

use lsps_testing::scene::Script;

use crate::{Shifted, TEMPORARY_CHANNEL_FAILURE, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_J17_a_payment_waits_for_its_wallet_and_goes_on_when_it_is_back() {
    let world = World::playing(Script::default()).await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds(1).await;
    assert_eq!(world.channels(), 0, "nothing is opened with nobody");
    world.wallet_is_back().await;
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

/// A node would fail an HTLC at once that it forwards to a connected peer whose channels are not usable yet.
#[tokio::test(flavor = "multi_thread")]
async fn case_J17_over_an_open_channel_it_goes_on_when_the_channel_can_be_used_again() {
    let mut world = World::on_hold(Script::default()).await;
    world.probe_fails().await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds(1).await;
    world.wallet_is_back().await;
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
    assert_eq!(world.channels(), 1, "the one that was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J17_a_wallet_that_stays_away_has_its_payment_failed_at_the_deadline() {
    let (clock, script) = Shifted::script();
    let mut world = World::on_hold(script).await;
    world.probe_fails().await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds(1).await;
    clock.jump(91);
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "its channel is open, and it stays away").await;

    world.tries_again();
    world.wallet_is_back().await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
}
