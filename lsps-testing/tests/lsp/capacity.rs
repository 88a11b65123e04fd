//! Channels are as large as their payment needs, or the payment is refused before anything is opened.

use lsps_service::capacity::{Commitment, reserve_sat};
use lsps_service::{ChannelRequest, NodeFacts, OpenTerms, Policy as _, StandardPolicy};
use lsps_testing::{Act, Lsp, LspSetup, buys, call, peer};
use lsps_types::bolt4::FailureCode::TemporaryChannelFailure;
use lsps_types::codes::BuyError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Msat, Ppm};

use crate::{SCID, SIZE, fails};

/// Amount in satoshis that LDK 0.2 lets the opener of a channel send in the last of `htlcs` HTLCs while the others are
/// pending. The formula follows LDK's `get_available_balances`, not our own arithmetic.
fn ldk_lets_go_sat(capacity: u64, reserve: u64, feerate: u64, anchors: bool, htlcs: u64, others_sat: u64) -> i64 {
    let (base, outputs, multiple) = if anchors { (1_124, 660, 1) } else { (724, 0, 2) };
    let fee = feerate * (base + (htlcs + 1) * 172) / 1_000 * multiple;
    let signed = |sat: u64| i64::try_from(sat).expect("small");
    signed(capacity) - signed(others_sat) - outputs - signed(reserve) - signed(fee)
}

#[test]
fn case_X16_a_channel_carries_its_payment_at_every_feerate_in_any_number_of_parts() {
    let mut tightest = u64::MAX;
    for feerate_sat_per_kw in [253, 1_250, 5_000, 12_500, 50_000, 250_000] {
        for htlcs in [1, 2, 10, 18, 50, 483] {
            for payment_sat in [1_000, 4_000, 40_000, 99_000, 200_000, 10_000_000] {
                for anchors in [false, true] {
                    let kind = Commitment { feerate_sat_per_kw, anchors };
                    let capacity = kind.capacity_sat(Msat(payment_sat * 1_000 - 999), htlcs);
                    let last = payment_sat / htlcs;
                    let reserve = (capacity / 100).max(1_000);
                    let feerate = feerate_sat_per_kw.into();
                    let room = ldk_lets_go_sat(capacity, reserve, feerate, anchors, htlcs, payment_sat - last);
                    let room = u64::try_from(room).expect("never overdrawn");
                    assert!(room >= last, "{kind:?}, {payment_sat} sat in {htlcs}: {capacity} sat");
                    tightest = tightest.min(room - last);
                    assert!(kind.carries(capacity, htlcs) >= Msat(payment_sat * 1_000 - 999));
                    assert!(room - last <= 1, "nor is it larger than it has to be: {}", room - last);
                }
            }
        }
    }
    assert_eq!(tightest, 0);
}

#[test]
fn case_X16_capacities_that_cannot_be_counted_are_more_than_there_is() {
    let kind = Commitment { feerate_sat_per_kw: u32::MAX, anchors: false };
    let all_there_is = 21_000_000 * 100_000_000;
    assert!(kind.capacity_sat(Msat(u64::MAX), u64::MAX) > all_there_is);
    assert!(kind.capacity_sat(Msat(1), u64::MAX) > all_there_is);
    assert_eq!(kind.carries(0, u64::MAX), Msat::ZERO);
    assert_eq!(kind.carries(u64::MAX, 1).0, u64::MAX, "and none of it overflows");
    assert_eq!((reserve_sat(0), reserve_sat(u64::MAX)), (1_000, u64::MAX / 100));
}

/// An LSP at this feerate.
fn at(feerate_sat_per_kw: u32, policy: StandardPolicy) -> Lsp {
    let setup = LspSetup { policy: Some(policy), feerate_sat_per_kw, scids: vec![SCID], ..LspSetup::default() };
    let mut lsp = Lsp::at(lsps_testing::NOON, setup);
    lsp.connects(peer(1));
    lsp
}

#[test]
fn case_X16_the_channel_has_room_for_a_feerate_that_doubles_and_for_all_parts() {
    for (parts, feerate) in [(1, 12_500), (10, 5_000), (1, 253)] {
        let policy = StandardPolicy { spare_sat: 0, min_capacity_sat: 1_000, ..StandardPolicy::default() };
        let mut lsp = at(feerate, policy);
        let size = Msat(200_000_000);
        buys(&mut lsp, peer(1), Some(size));
        for part in 1..=parts {
            lsp.part(part, SCID, 1, Msat(size.0 / u64::from(parts)));
        }
        let [Act::Open { terms: OpenTerms { capacity_sat, deliver, .. }, .. }] = lsp.acts()[..] else {
            panic!("one channel")
        };
        let doubled = Commitment { feerate_sat_per_kw: feerate * 2, anchors: false };
        assert!(doubled.carries(capacity_sat, parts.into()) >= deliver, "{parts} parts at {feerate}: {capacity_sat}");
    }
}

#[test]
fn case_X16_a_payment_that_the_largest_channel_cannot_carry_is_refused_when_it_is_sold() {
    let policy =
        StandardPolicy { max_capacity_sat: 1_000_000, max_payment_size: Msat(900_000_000), ..Default::default() };
    let largest = |lsp: &mut Lsp| {
        let menu = call(lsp, peer(1), &GetInfo { token: None }).expect("a menu").opening_fee_params_menu;
        menu.first().map(|terms| terms.max_payment_size_msat)
    };
    assert_eq!(largest(&mut at(253, policy.clone())), Some(Msat(900_000_000)), "as it is set");
    let mut dear = at(25_000, policy.clone());
    let most = largest(&mut dear).expect("a menu");
    assert!(most < Msat(900_000_000), "less, where the commitment fee takes its share: {most}");
    let menu = call(&mut dear, peer(1), &GetInfo { token: None }).expect("a menu");
    let opening_fee_params = menu.opening_fee_params_menu[0].clone();
    let buy = |size| Buy { opening_fee_params: opening_fee_params.clone(), payment_size_msat: Some(size) };
    let refused = call(&mut dear, peer(1), &buy(Msat(most.0 + 1))).expect_err("more than the most");
    assert_eq!(refused.refusal, Refusal::Method(BuyError::PaymentSizeTooLarge));
    assert!(call(&mut dear, peer(1), &buy(most)).is_ok());
    assert_eq!(largest(&mut at(250_000, policy)), None, "nothing is sold that would not work");
}

/// The channel was sold at a low feerate and is paid for at a high one.
#[test]
fn case_X16_a_payment_that_no_longer_fits_goes_back_before_anything_is_opened() {
    let policy = StandardPolicy { max_capacity_sat: 1_050_000, max_payment_size: SIZE, ..Default::default() };
    let mut lsp = at(253, policy);
    buys(&mut lsp, peer(1), Some(SIZE));
    lsp.knows(NodeFacts {
        commitment_feerate_sat_per_kw: 50_000,
        inbound: SIZE,
        spendable_sat: u64::MAX,
        ..NodeFacts::default()
    });
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
    lsp.knows(NodeFacts {
        commitment_feerate_sat_per_kw: 253,
        inbound: SIZE,
        spendable_sat: u64::MAX,
        ..NodeFacts::default()
    });
    lsp.part(2, SCID, 1, SIZE);
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]), "the offer stands");
}

#[test]
fn case_X16_settings_that_cannot_work_are_refused_by_name() {
    let refused = |policy: StandardPolicy| policy.validate().err().map(|error| error.field);
    let default = StandardPolicy::default;
    assert_eq!(refused(default()), None);
    assert_eq!(refused(StandardPolicy { expected_htlcs: 0, ..default() }), Some("expected_htlcs"));
    assert_eq!(refused(StandardPolicy { expected_htlcs: 484, ..default() }), Some("expected_htlcs"));
    let small = StandardPolicy { min_capacity_sat: 1_000, max_capacity_sat: 20_000, ..default() };
    assert_eq!(refused(small.clone()), Some("max_capacity_sat"), "it is all spare");
    assert_eq!(refused(StandardPolicy { spare_sat: 0, ..small }), None);
}

#[test]
fn case_X16_a_client_that_may_take_anchors_or_not_has_a_channel_that_is_large_enough_for_either() {
    let policy = StandardPolicy { spare_sat: 0, min_capacity_sat: 1_000, feerate_rise: Ppm(0), ..Default::default() };
    let ask = ChannelRequest { client: peer(1), deliver: Msat(40_000_000), htlcs: 1 };
    for commitment_feerate_sat_per_kw in [253, 12_500] {
        let facts = NodeFacts { commitment_feerate_sat_per_kw, anchors: true, ..NodeFacts::default() };
        let plan = policy.channel(&ask, &facts).expect("a channel");
        for anchors in [false, true] {
            let kind = Commitment { feerate_sat_per_kw: commitment_feerate_sat_per_kw, anchors };
            assert!(kind.carries(plan.capacity_sat, 1) >= ask.deliver, "{kind:?}: {plan:?}");
        }
    }
}
