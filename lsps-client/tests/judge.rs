//! A fee above the promised one is never accepted, whichever payment arrives.

use lsps_client::jit_receive::{Expected, Fault, Part, Promised, Received, Verdict, enough_blocks_left, judge};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Blocks, Msat, Ppm};
use proptest::prelude::*;

/// Amounts that are close to each other, to zero and to the maximum.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0..50u64, 990_000..1_010_000u64, 0..2_000_000_000u64, u64::MAX - 50..=u64::MAX]
}

fn promised() -> impl Strategy<Value = Promised> {
    let rate = (amount(), 0..2_000_000u32)
        .prop_map(|(min_fee, ppm)| Promised::Rate { min_fee: Msat(min_fee), proportional: Ppm(ppm) });
    prop_oneof![amount().prop_map(|fee| Promised::Fee(Msat(fee))), rate]
}

fn expected() -> impl Strategy<Value = Option<Expected>> {
    let share = proptest::option::of((0..2_000_000u32).prop_map(Ppm));
    let expected = (proptest::option::of(amount()), promised(), share, 0..1_000_000u64).prop_map(
        |(size, promised, max_share, least)| Expected {
            amount: size.map(Msat),
            promised,
            max_share,
            least_net: Msat(least),
        },
    );
    proptest::option::of(expected)
}

/// A model that is written apart from the code under test, with numbers that cannot overflow.
fn may_be_claimed(expected: Option<Expected>, gross: u128, skimmed: u128) -> bool {
    let Some(Expected { amount, promised, max_share, least_net }) = expected else { return skimmed == 0 };
    let promised = match promised {
        Promised::Fee(Msat(fee)) => u128::from(fee),
        Promised::Rate { min_fee, proportional } => {
            let Some(fee) = u64::try_from(gross).ok().and_then(|g| opening_fee(Msat(g), min_fee, proportional)) else {
                return false;
            };
            u128::from(fee.0)
        }
    };
    let share = max_share.is_none_or(|Ppm(ppm)| skimmed * 1_000_000 <= gross * u128::from(ppm));
    let is_worth_it = skimmed == 0 || gross - skimmed >= u128::from(least_net.0);
    skimmed <= promised && share && is_worth_it && amount.is_none_or(|Msat(wanted)| gross >= u128::from(wanted))
}

proptest! {
    /// L2-141, L2-143, L2-144
    #[test]
    fn sums_are_claimed_only_within_the_promise(expected in expected(), received in amount(), skimmed in amount()) {
        let totals = Received::Totals { received: Msat(received), skimmed: Msat(skimmed) };
        let claimed = judge(expected.as_ref(), &totals) == Verdict::Claim;
        let gross = u128::from(received) + u128::from(skimmed);
        prop_assert!(!claimed || may_be_claimed(expected, gross, skimmed.into()));
    }

    #[test]
    fn parts_are_claimed_only_within_the_promise(
        expected in expected(),
        parts in proptest::collection::vec((amount(), amount(), any::<bool>(), -1..=1i64), 0..4),
    ) {
        let tlvs: Vec<_> = parts.iter().map(|(_, fee, told, _)| told.then(|| fee.to_be_bytes())).collect();
        let wire: Vec<Part<'_>> = parts
            .iter()
            .zip(&tlvs)
            .map(|((onion, fee, told, off), tlv)| {
                let kept = if *told { *fee } else { 0 };
                let amount = onion.saturating_sub(kept).saturating_add_signed(*off);
                Part { onion: Msat(*onion), amount: Msat(amount), extra_fee: tlv.as_ref().map(|tlv| &tlv[..]) }
            })
            .collect();
        let claimed = judge(expected.as_ref(), &Received::Parts(&wire)) == Verdict::Claim;
        let gross: u128 = wire.iter().map(|part| u128::from(part.onion.0)).sum();
        let arrived: u128 = wire.iter().map(|part| u128::from(part.amount.0)).sum();
        prop_assert!(!claimed || arrived <= gross);
        prop_assert!(!claimed || may_be_claimed(expected, gross, gross - arrived));
    }

    #[test]
    fn an_honest_provider_is_always_paid(size in 1_000_000..1_000_000_000u64, min_fee in 0..100_000u64, ppm in 0..100_000u32) {
        let rate = Promised::Rate { min_fee: Msat(min_fee), proportional: Ppm(ppm) };
        let fee = rate.on(Msat(size)).expect("small numbers");
        prop_assume!(fee < Msat(size));
        let received = Msat(size).checked_sub(fee).expect("less than the size");
        let totals = Received::Totals { received, skimmed: fee };
        for expected in [
            Expected { amount: Some(Msat(size)), promised: Promised::Fee(fee), max_share: None, least_net: Msat::ZERO },
            Expected { amount: None, promised: rate, max_share: None, least_net: Msat::ZERO },
        ] {
            prop_assert_eq!(judge(Some(&expected), &totals), Verdict::Claim);
        }
    }
}

const ANY_SIZE: Expected = Expected {
    amount: None,
    promised: Promised::Rate { min_fee: Msat(10), proportional: Ppm(0) },
    max_share: None,
    least_net: Msat(100),
};

#[test]
fn a_payment_of_any_size_of_which_nothing_is_here_is_waited_for() {
    assert_eq!(judge(Some(&ANY_SIZE), &Received::Parts(&[])), Verdict::WaitForMore);
    let nothing = Received::Totals { received: Msat(0), skimmed: Msat(0) };
    assert_eq!(judge(Some(&ANY_SIZE), &nothing), Verdict::WaitForMore);
}

/// A peer that names a fee of nothing, or something that is no fee, takes the payment for one that was bought.
#[test]
fn a_part_that_names_a_fee_is_refused_where_nothing_was_bought_whatever_the_fee() {
    let zero = 0u64.to_be_bytes();
    for fee in [&zero[..], b"", b"123456789"] {
        let part = Part { onion: Msat(1_000), amount: Msat(1_000), extra_fee: Some(fee) };
        let verdict = judge(None, &Received::Parts(&[part]));
        assert_eq!(verdict, Verdict::Reject(Fault::SkimWithoutPurchase), "{fee:?}");
    }
}

#[test]
fn as_many_blocks_as_ever_are_enough() {
    assert!(enough_blocks_left(Blocks(18), 18) && !enough_blocks_left(Blocks(17), 18));
}
