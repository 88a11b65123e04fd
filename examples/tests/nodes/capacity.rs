//! The channel that is opened for a payment carries it, whatever the feerate and the number of its parts.

use lightning::ln::channel_state::ChannelDetails;
use lsps_examples::Scene;
use lsps_examples::node::pay::equal_parts;
use lsps_examples::scene::Script;
use lsps_service::StandardPolicy;
use lsps_transport_ldk::Msat;

use crate::{HOUR, World};

/// 50 sat/vB.
const DEAR: u32 = 12_500;

#[tokio::test(flavor = "multi_thread")]
async fn case_X16_at_50_sat_per_vb_a_payment_in_one_part_fits_into_its_channel() {
    is_paid(Script { fee_sat_per_kw: DEAR, ..with_room() }, 200_000, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X16_at_50_sat_per_vb_a_payment_fits_into_its_channel_with_anchors() {
    is_paid(Script { fee_sat_per_kw: DEAR, anchors: true, ..with_room() }, 200_000, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X16_at_20_sat_per_vb_a_payment_in_ten_parts_fits_into_its_channel() {
    is_paid(Script { fee_sat_per_kw: 5_000, ..with_room() }, 200_000, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X16_at_20_sat_per_vb_a_payment_in_ten_parts_fits_into_its_channel_with_anchors() {
    is_paid(Script { fee_sat_per_kw: 5_000, anchors: true, ..with_room() }, 200_000, 10).await;
}

/// Nothing to spare, at the least feerate.
#[tokio::test(flavor = "multi_thread")]
async fn case_X16_a_payment_fits_into_a_channel_that_has_nothing_to_spare() {
    let policy = StandardPolicy { spare_sat: 0, min_capacity_sat: 1_000, ..StandardPolicy::default() };
    is_paid(Script { policy, ..with_room() }, 200_000, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X17_a_small_payment_whose_parts_count_as_dust_is_carried() {
    is_paid(Script { payer_channels: vec![100_000; 2], ..Script::default() }, 4_000, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X17_a_payment_in_many_parts_that_count_as_dust_is_carried() {
    is_paid(Script { payer_channels: vec![100_000; 18], ..Script::default() }, 40_000, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X17_a_small_payment_whose_parts_count_as_dust_is_carried_with_anchors() {
    is_paid(Script { payer_channels: vec![100_000; 10], anchors: true, ..Script::default() }, 4_000, 10).await;
}

/// Four channels with room for all parts.
fn with_room() -> Script {
    Script { payer_channels: vec![400_000; 4], ..Script::default() }
}

/// A wallet without channels is paid so much in so many equal parts, over the one channel that is opened for it.
async fn is_paid(script: Script, amount_sat: u64, parts: u64) {
    let amount = Msat(amount_sat * 1_000);
    let anchors = script.anchors;
    let scene = Scene::set(script).await.expect("the nodes start");
    let fees = Msat(amount.0 / 2);
    let jit = scene.wallet.host.receive_via_jit_channel(amount, "a first payment", HOUR, fees).await;
    let world = World::that_sold(scene, jit.expect("the LSP sells"));
    world.pays_in_parts(&equal_parts(amount.0, parts));
    let account = world.is_settled().await;
    assert_eq!((account.paid, account.received), (amount.0, amount.0 - world.jit.fee.0));
    let opened = world.opened();
    let kind = opened.channel_type.expect("it is open");
    assert_eq!(kind.supports_anchors_zero_fee_htlc_tx(), anchors, "{kind}");
}

impl World {
    /// The only channel that the LSP opened.
    fn opened(&self) -> ChannelDetails {
        let wallet = self.scene.wallet.node.node_id();
        let channels = self.scene.lsp.node.channel_manager().list_channels_with_counterparty(&wallet);
        let [channel] = &channels[..] else { panic!("{} channels", channels.len()) };
        channel.clone()
    }
}
