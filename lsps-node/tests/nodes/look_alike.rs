//! Clients that also receive other payments, and payers that know it.

use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lsps_node::node::logger::FailureCode;
use lsps_node::node::pay::{hop, last_hop};
use lsps_node::node::within;
use lsps_service::{BookTotals, StandardPolicy, Trust};
use lsps_testing::scene::Script;
use lsps_transport_ldk::Msat;

use crate::hold::hash;
use crate::{AMOUNT, World, is_paid_by_an_ordinary_invoice};

/// While the client holds the part that is to pay the opening fee, it receives an ordinary payment of exactly the
/// amount that this part would deliver.
#[tokio::test(flavor = "multi_thread")]
async fn case_X04_an_ordinary_payment_of_the_same_amount_does_not_pay_the_opening_fee() {
    let policy = StandardPolicy { min_capacity_sat: 300_000, ..StandardPolicy::default() };
    let mut world = World::on_hold(Script { policy, ..Script::default() }).await;
    let fee = world.jit.fee;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    is_paid_by_an_ordinary_invoice(&world.scene, Msat(AMOUNT.0 - fee.0)).await;
    world.tries_again();
    world.scene.wallet.node.channel_manager().fail_htlc_backwards(&hash());
    assert!(within(|| world.scene.seen.facts().has_failed).await);
    world.tries_again();
    let totals = BookTotals::of(&world.scene.lsp.host.book().await.unwrap());
    assert_eq!(totals.earned, Msat(0));
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    assert!(within(|| world.scene.seen.facts().received.is_some()).await);
    assert_eq!(world.scene.seen.facts().received, Some((AMOUNT.0 - fee.0, fee.0)), "the next payment pays it");
}

/// If the client claimed a payment over the channel, the LSP would have to publish a channel that nobody paid for.
#[tokio::test(flavor = "multi_thread")]
async fn case_X06_a_channel_on_trust_carries_no_ordinary_payment_until_its_fee_is_paid() {
    let mut world = World::on_hold(Script { trust: Trust::ClientTrustsLsp, ..Script::default() }).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    let (payer, lsp, wallet) = (&world.scene.payer, &world.scene.lsp.node, &world.scene.wallet.node);
    let terms = Bolt11InvoiceParameters { amount_msats: Some(1_000), ..Default::default() };
    let invoice = wallet.channel_manager().create_bolt11_invoice(terms).expect("an invoice");
    let scid = payer.channel_manager().list_usable_channels()[0].get_outbound_payment_scid().unwrap();
    // The payer offers a routing fee that is ten times the amount.
    let hops = vec![hop(lsp.node_id(), scid, 10_000, 144), last_hop(&invoice, 1_000).unwrap()];
    payer.pay_along(&invoice, vec![hops]).unwrap();
    world.fails_with_part_held(FEE_INSUFFICIENT).await;
    world.tries_again();
    world.wallet_fails_it().await;
    assert!(within(|| world.channels() == 0).await, "it is given up");
    assert_eq!(world.scene.chain.mempool().len(), 0, "and was never published");
}

impl World {
    /// The payer's last payment fails with this code while another payment is under way.
    async fn fails_with_part_held(&self, code: FailureCode) {
        assert!(within(|| self.scene.seen.facts().has_failed).await, "the payer is told");
        assert_eq!(self.scene.payer.logger().failure_codes().get(self.failures..), Some(&[code][..]));
    }
}

const FEE_INSUFFICIENT: FailureCode = FailureCode(0x100c);
