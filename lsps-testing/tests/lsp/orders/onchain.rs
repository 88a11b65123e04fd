//! Payments on-chain.

use lsps_service::{BookTotals, Booking, ChannelEnd, Input, RefundKey};
use lsps_testing::{Act, MINING_SAT, address_of};
use lsps_types::lsps1::{Confirmation, OnchainState, OrderState};
use lsps_types::{FeeRate, Msat, Sat};

use super::{HEIGHT, REFUND_TO, Shop, TOTAL, coin, selling, selling_with};
use crate::minutes;

fn refunds(shop: &mut Shop, wanted: &[(u8, Sat)]) {
    let wanted: Vec<_> = wanted.iter().map(|(tx, amount)| (coin(*tx), *amount)).collect();
    let acts = shop.lsp.acts();
    let is_it = |act: &Act| matches!(act, Act::Refund { to, deposits } if to == REFUND_TO && *deposits == wanted);
    assert!(acts.iter().filter(|act| is_it(act)).count() == 1 && acts.len() == 1, "{acts:?}");
}

fn state(shop: &mut Shop) -> OnchainState {
    shop.asked().payment.onchain.expect("an address").state
}

fn refund(shop: &Shop, number: u32) -> RefundKey {
    RefundKey { order: shop.number, number }
}

#[test]
fn case_O07_a_payment_counts_when_it_is_confirmed_and_is_never_held() {
    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, None);
    assert_eq!((state(&mut shop), shop.lsp.acts()), (OnchainState::ExpectPayment, vec![]));
    shop.lsp.block(HEIGHT + 1);
    shop.deposit(1, TOTAL, Some(HEIGHT + 1));
    assert_eq!(state(&mut shop), OnchainState::Paid);
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts(), [Act::Broadcast(key), Act::Keep(coin(1), TOTAL)]);
    let paid = Booking::OrderPaid { fee: Msat(8_888_000), surplus: Msat(0) };
    assert!(shop.lsp.book().any(|entry| entry.what == paid), "fees taken are fees quoted");
}

#[test]
fn case_O07_several_outputs_pay_together_and_what_is_above_is_kept_with_them() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(100_000), Some(HEIGHT));
    assert_eq!((state(&mut shop), shop.lsp.acts()), (OnchainState::ExpectPayment, vec![]));
    shop.deposit(2, Sat(10_000), Some(HEIGHT));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    let both = [Act::Keep(coin(1), Sat(100_000)), Act::Keep(coin(2), Sat(10_000))];
    assert_eq!(shop.lsp.acts(), [&[Act::Broadcast(key)], &both[..]].concat());
    assert_eq!(BookTotals::of(shop.lsp.book()).surplus, Msat(1_112_000));
    shop.deposit(3, TOTAL, Some(HEIGHT));
    refunds(&mut shop, &[(3, TOTAL)]);
    assert_eq!(state(&mut shop), OnchainState::Paid, "the second payment is returned, the first is not");
}

#[test]
fn case_O07_what_is_too_little_or_too_late_goes_back_once() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(TOTAL.0 - 1), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    assert_eq!(shop.asked().order_state, OrderState::Failed);
    refunds(&mut shop, &[(1, Sat(TOTAL.0 - 1))]);
    shop.deposit(2, TOTAL, None);
    assert_eq!(shop.lsp.acts(), [], "not in a block");
    shop.deposit(2, TOTAL, Some(HEIGHT));
    refunds(&mut shop, &[(2, TOTAL)]);
    shop.deposit(2, TOTAL, Some(HEIGHT));
    shop.lsp.restarts();
    assert_eq!(shop.lsp.acts(), [], "once");
    for number in [0, 1] {
        let key = refund(&shop, number);
        shop.lsp.feed(Input::RefundConfirmed { key });
    }
    let back: u64 = shop
        .lsp
        .book()
        .map(|entry| {
            if let Booking::Refunded { received_sat, mining_sat, .. } = entry.what {
                received_sat - mining_sat
            } else {
                0
            }
        })
        .sum();
    assert_eq!(back, TOTAL.0 * 2 - 1 - 2 * MINING_SAT);
}

#[test]
fn case_O07_a_block_that_is_gone_takes_the_payment_along() {
    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.accepts_channel(key, None);
    shop.lsp.acts();
    shop.deposit(1, TOTAL, None);
    assert_eq!((state(&mut shop), shop.lsp.acts()), (OnchainState::ExpectPayment, vec![Act::Abandon(key)]));
    shop.lsp.block(HEIGHT + 1);
    shop.deposit(1, TOTAL, Some(HEIGHT + 1));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { key, .. }] if key == shop.key(2)), "which was no failure");
    let key = shop.key(2);
    shop.lsp.funding_signed(key);
    shop.lsp.acts();
    shop.deposit(1, TOTAL, None);
    assert_eq!((state(&mut shop), shop.lsp.acts()), (OnchainState::Paid, vec![]), "what is published stays");
}

fn at_once() -> Shop {
    Shop::of(selling_with(Confirmation::AtOnce { above: Some(FeeRate(999)) }))
}

/// L1-101
#[test]
fn case_O07_a_payment_without_confirmations_that_is_replaced_before_the_broadcast_costs_nothing() {
    let mut shop = at_once();
    shop.deposit(1, TOTAL, None);
    assert_eq!(state(&mut shop), OnchainState::Paid);
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
    let key = shop.key(1);
    shop.lsp.accepts_channel(key, None);
    shop.deposit_gone(1);
    assert_eq!(shop.lsp.acts(), [Act::Abandon(key)]);
    shop.lsp.funding_signed(key);
    assert_eq!((shop.lsp.acts(), state(&mut shop)), (vec![], OnchainState::ExpectPayment));
}

/// Found by random testing: a deposit that was replaced and came back was refunded, though it had paid for the channel.
#[test]
fn case_O07_a_payment_that_is_replaced_after_the_broadcast_is_booked_as_lost_until_it_is_back() {
    let mut shop = at_once();
    shop.deposit(1, TOTAL, None);
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.acts();
    shop.deposit_gone(1);
    shop.deposit_gone(1);
    assert_eq!(BookTotals::of(shop.lsp.book()).given, Msat(TOTAL.0 * 1_000));
    shop.deposit(1, TOTAL, Some(HEIGHT));
    assert_eq!(shop.lsp.acts(), [Act::Keep(coin(1), TOTAL)], "and nothing is refunded");
    assert_eq!(BookTotals::of(shop.lsp.book()).given, Msat(0));
}

#[test]
fn case_O07_a_refund_that_stays_unconfirmed_is_bumped_every_six_hours() {
    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.channel_ends(key, ChannelEnd::Rejected);
    let key = refund(&shop, 0);
    shop.lsp.acts();
    let hours = |hours: u64| minutes(60 * hours);
    shop.lsp.wait_until(minutes(359));
    assert_eq!(shop.lsp.acts(), []);
    shop.lsp.wait_until(hours(6));
    assert_eq!(shop.lsp.acts(), [Act::BumpRefund(key)]);
    shop.lsp.wait_until(hours(12));
    assert_eq!(shop.lsp.acts(), [Act::BumpRefund(key)]);
    shop.lsp.feed(Input::RefundConfirmed { key });
    shop.lsp.wait_until(hours(18));
    assert_eq!((shop.lsp.acts(), state(&mut shop)), (vec![], OnchainState::Refunded));
}

#[test]
fn case_O07_what_costs_more_to_return_than_it_is_worth_is_not_returned() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(100), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    let acts = shop.lsp.acts();
    let dust = (coin(1), Sat(100));
    assert!(matches!(&acts[..], [Act::Refund { deposits, .. }, Act::Keep(..)] if deposits[..] == [dust]), "{acts:?}");
    assert_eq!(acts[1], Act::Keep(dust.0, dust.1));
    assert_eq!(shop.lsp.service().unconfirmed_refunds().count(), 0);
    assert_eq!(BookTotals::of(shop.lsp.book()).surplus, Msat(100_000), "the LSP has it");
    shop.lsp.wait_until(minutes(60 * 24 * 31));
    assert!(shop.lsp.records().is_empty(), "and nothing waits for it");
}

#[test]
fn case_O07_a_refund_whose_output_is_gone_is_void_and_the_rest_goes_back_anew() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(50_000), Some(HEIGHT));
    shop.deposit(2, Sat(40_000), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    refunds(&mut shop, &[(1, Sat(50_000)), (2, Sat(40_000))]);
    shop.deposit_gone(1);
    refunds(&mut shop, &[(2, Sat(40_000))]);
    let key = refund(&shop, 1);
    shop.lsp.feed(Input::RefundConfirmed { key });
    let received: u64 = shop
        .lsp
        .book()
        .map(|entry| if let Booking::Refunded { received_sat, .. } = entry.what { received_sat } else { 0 })
        .sum();
    assert_eq!(received, 40_000);
}

#[test]
fn case_O07_a_void_refund_that_is_confirmed_after_all_ends_those_that_spend_the_same() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(50_000), Some(HEIGHT));
    shop.deposit(2, Sat(40_000), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    shop.deposit_gone(1);
    shop.deposit(1, Sat(50_000), Some(HEIGHT));
    let owed = |shop: &Shop| shop.lsp.service().unconfirmed_refunds().map(|refund| refund.owed).collect::<Vec<_>>();
    assert_eq!(owed(&shop), [false, true, true], "the rest, and then what came back, go back by themselves");
    shop.lsp.restarts();
    shop.lsp.acts();
    let key = refund(&shop, 0);
    shop.lsp.feed(Input::RefundConfirmed { key });
    assert_eq!((shop.lsp.acts(), owed(&shop)), (vec![], vec![]), "and nobody looks for those any more");
    let booked: Vec<_> = shop.lsp.book().filter(|entry| matches!(entry.what, Booking::Refunded { .. })).collect();
    let [entry] = booked[..] else { panic!("{booked:?}") };
    assert_eq!(entry.what, Booking::Refunded { key, received_sat: 90_000, mining_sat: MINING_SAT });
    shop.lsp.wait_until(minutes(60 * 24 * 31));
    assert!(shop.lsp.records().is_empty(), "and nothing waits for the others");
}

/// The output of a refund went and came back, so that the next refund is the very same transaction. A host that looks for the
/// txid of each finds both of them confirmed.
#[test]
fn case_O07_a_refund_that_was_void_and_is_the_same_transaction_as_the_next_is_booked_once() {
    for order in [[0, 1], [1, 0]] {
        let mut shop = Shop::new();
        shop.deposit(1, Sat(50_000), Some(HEIGHT));
        shop.lsp.wait_until(minutes(120));
        shop.deposit_gone(1);
        shop.deposit(1, Sat(50_000), Some(HEIGHT));
        shop.lsp.restarts();
        for number in order {
            let key = refund(&shop, number);
            shop.lsp.feed(Input::RefundConfirmed { key });
        }
        let is_back = |entry: &&lsps_service::BookEntry| matches!(entry.what, Booking::Refunded { .. });
        assert_eq!(shop.lsp.book().filter(is_back).count(), 1, "{order:?}");
        assert_eq!(shop.lsp.service().unconfirmed_refunds().count(), 0);
        assert_eq!(state(&mut shop), OnchainState::Refunded);
        shop.lsp.wait_until(minutes(60 * 24 * 31));
        assert!(shop.lsp.records().is_empty(), "and nothing waits for either");
    }
}

#[test]
fn case_O07_outputs_are_reserved_until_it_is_decided_whose_they_are() {
    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    shop.lsp.restarts();
    assert_eq!(shop.known().reserved, [coin(1)]);
    assert_eq!(shop.known().address, Some(address_of(shop.number)));
    let key = shop.key(shop.known().attempts);
    shop.lsp.funding_signed(key);
    shop.lsp.restarts();
    assert!(shop.known().reserved.is_empty(), "they paid");
}

/// The whole amount is paid twice before anything is signed. One of the deposits pays for the channel.
#[test]
fn case_X10_of_what_comes_twice_before_the_channel_is_signed_one_goes_back() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(5_000), Some(HEIGHT));
    shop.deposit(2, TOTAL, Some(HEIGHT));
    shop.deposit(3, Sat(TOTAL.0 + 1), Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    let acts = shop.lsp.acts();
    let [Act::Open { .. }, Act::Broadcast(_), Act::Refund { deposits, .. }, Act::Keep(kept, amount)] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!((*kept, *amount), (coin(3), Sat(TOTAL.0 + 1)), "as few as pay, small ones left out first");
    assert_eq!(deposits[..], [(coin(1), Sat(5_000)), (coin(2), TOTAL)]);
    assert_eq!(BookTotals::of(shop.lsp.book()).surplus, Msat(1_000));
    assert_eq!(state(&mut shop), OnchainState::Paid);
}

/// An order that accepts unconfirmed payments keeps the confirmed one, though it is larger.
#[test]
fn case_X10_a_confirmed_payment_is_taken_rather_than_one_that_may_be_replaced() {
    let mut shop = at_once();
    shop.deposit(1, TOTAL, None);
    shop.deposit(2, Sat(TOTAL.0 + 7), Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    let acts = shop.lsp.acts();
    assert_eq!(acts.last(), Some(&Act::Keep(coin(2), Sat(TOTAL.0 + 7))), "{acts:?}");
    shop.deposit(1, TOTAL, Some(HEIGHT));
    refunds(&mut shop, &[(1, TOTAL)]);
}

/// 19 outputs of 294 sat cost 1 300 vB to spend. At 50 sat/vB each costs 3 400 sat.
#[test]
fn case_X09_dust_is_not_spent_where_it_costs_more_than_it_brings() {
    let mut setup = selling();
    setup.feerate_sat_per_kw = 12_500;
    let mut shop = Shop::of(setup);
    for tx in 1..=19 {
        shop.deposit(tx, Sat(294), Some(HEIGHT));
    }
    shop.deposit(20, Sat(50_000), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    refunds(&mut shop, &[(20, Sat(50_000))]);
    assert_eq!(shop.known().reserved.len(), 20, "noted, and left");
    let key = refund(&shop, 0);
    shop.lsp.feed(Input::RefundConfirmed { key });
    shop.lsp.restarts();
    assert_eq!(shop.lsp.acts(), []);

    // At 1 sat/vB each deposit is worth more than its input costs.
    shop.lsp.feerate(250);
    shop.lsp.block(HEIGHT + 6);
    let acts = shop.lsp.acts();
    assert!(matches!(&acts[..], [Act::Refund { deposits, .. }] if deposits.len() == 19), "{acts:?}");
}

/// Feerates are high for a year. At 1 sat/vB 294 sat are worth their input, and 68 sat are not.
#[test]
fn case_X08_what_only_a_dear_day_makes_dust_goes_back_before_its_order_is_forgotten() {
    let mut setup = selling();
    setup.feerate_sat_per_kw = 125_000;
    let mut shop = Shop::of(setup);
    shop.deposit(1, Sat(34_000), Some(HEIGHT));
    shop.deposit(2, Sat(68), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    assert_eq!(shop.lsp.acts(), [], "it waits for a lower feerate");
    shop.lsp.wait_until(minutes(120) + lsps_service::OrderConfig::default().keep_ended);
    let acts = shop.lsp.acts();
    let worth_it = (coin(1), Sat(34_000));
    assert!(
        matches!(&acts[..], [Act::Refund { deposits, .. }, Act::Keep(..)] if deposits[..] == [worth_it]),
        "{acts:?}"
    );
    assert_eq!(acts[1], Act::Keep(coin(2), Sat(68)));
    let dust = Booking::DustKept { amount: Msat(68_000) };
    assert_eq!(shop.lsp.book().filter(|entry| entry.what == dust).count(), 1);
    assert!(!shop.lsp.records().is_empty(), "until the refund is in the chain");
    let key = refund(&shop, 0);
    shop.lsp.feed(Input::RefundConfirmed { key });
    assert!(shop.lsp.records().is_empty() && shop.lsp.service().next_wake().is_none());
}

/// A payment that is unconfirmed when its order would be forgotten is refunded once it is confirmed.
#[test]
fn case_X08_an_order_is_not_forgotten_while_an_output_to_its_address_is_undecided() {
    let mut shop = Shop::new();
    shop.deposit(1, Sat(50_000), None);
    shop.lsp.wait_until(minutes(120));
    shop.lsp.wait_until(minutes(120) + lsps_service::OrderConfig::default().keep_ended);
    assert_eq!(shop.known().reserved, [coin(1)]);
    shop.deposit(1, Sat(50_000), Some(HEIGHT));
    refunds(&mut shop, &[(1, Sat(50_000))]);
    let key = refund(&shop, 0);
    shop.lsp.feed(Input::RefundConfirmed { key });
    assert!(shop.lsp.records().is_empty());

    let mut shop = Shop::new();
    shop.deposit(1, Sat(50_000), None);
    shop.lsp.wait_until(minutes(120));
    shop.lsp.wait_until(minutes(120) + lsps_service::OrderConfig::default().keep_ended);
    shop.deposit_gone(1);
    assert!(shop.lsp.records().is_empty(), "nor kept for one that went");
}

#[test]
fn case_X09_what_is_never_worth_its_cost_is_kept_when_its_order_is_forgotten() {
    let mut setup = selling();
    setup.feerate_sat_per_kw = 12_500;
    let mut shop = Shop::of(setup);
    shop.deposit(1, Sat(68), Some(HEIGHT));
    shop.lsp.wait_until(minutes(120));
    assert_eq!(shop.lsp.acts(), []);
    shop.lsp.wait_until(minutes(120) + lsps_service::OrderConfig::default().keep_ended);
    assert_eq!(shop.lsp.acts(), [Act::Keep(coin(1), Sat(68))]);
    let dust = Booking::DustKept { amount: Msat(68_000) };
    assert_eq!(shop.lsp.book().filter(|entry| entry.what == dust).count(), 1);
    assert!(shop.lsp.records().is_empty() && shop.lsp.service().next_wake().is_none());
}

/// The order gets as many deposits as the LSP remembers, each of them refunded or kept.
#[test]
fn case_X09_dust_that_is_decided_keeps_no_later_payment_out() {
    let mut shop = Shop::new();
    let most = u8::try_from(lsps_service::Limits::default().deposits_per_order).expect("few");
    shop.lsp.wait_until(minutes(120));
    for tx in 1..=most {
        shop.deposit(tx, Sat(100 + u64::from(tx) % 2 * 2_000), Some(HEIGHT));
    }
    assert_eq!(shop.lsp.acts().iter().filter(|act| matches!(act, Act::Refund { .. })).count(), usize::from(most));
    shop.deposit(101, Sat(55_000), Some(HEIGHT));
    refunds(&mut shop, &[(101, Sat(55_000))]);
}

/// The host reports the deposit again with every block, as long as it is not on record.
#[test]
fn case_X09_a_payment_that_was_displaced_is_given_back_when_there_is_room() {
    let mut shop = Shop::new();
    let most = u8::try_from(lsps_service::Limits::default().deposits_per_order).expect("few");
    for tx in 1..=most {
        shop.deposit(tx, Sat(1_000 + u64::from(tx)), Some(HEIGHT));
    }
    shop.deposit(101, Sat(50_000), Some(HEIGHT));
    let has = |shop: &Shop, tx| shop.lsp.service().has_deposit(&address_of(shop.number), coin(tx));
    assert_eq!((has(&shop, 1), has(&shop, 2), has(&shop, 101)), (false, true, true), "the least gave way");
    shop.lsp.wait_until(minutes(120));
    shop.lsp.acts();
    shop.deposit(1, Sat(1_001), Some(HEIGHT));
    refunds(&mut shop, &[(1, Sat(1_001))]);
}

/// The order already has as many smaller deposits as the LSP remembers.
#[test]
fn case_X09_a_payment_takes_the_place_of_dust_that_came_before() {
    let mut shop = Shop::new();
    let most = u8::try_from(lsps_service::Limits::default().deposits_per_order).expect("few");
    for tx in 1..=most {
        shop.deposit(tx, Sat(1_000), Some(HEIGHT));
    }
    shop.deposit(100, Sat(999), Some(HEIGHT));
    assert!(!shop.known().reserved.contains(&coin(100)), "less than all of them");
    shop.deposit(101, TOTAL, None);
    assert!(!shop.known().reserved.contains(&coin(101)), "what is in no block takes no place from what is");
    shop.deposit(101, TOTAL, Some(HEIGHT));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]), "it is paid");
    assert_eq!(shop.known().reserved.len(), usize::from(most));
}

#[test]
fn case_O07_more_outputs_than_are_remembered_are_the_operators_to_look_at() {
    let mut shop = Shop::new();
    let most = lsps_service::Limits::default().deposits_per_order;
    for tx in 0..u8::try_from(most).expect("few") + 5 {
        shop.deposit(tx, Sat(10), Some(HEIGHT));
    }
    assert_eq!(shop.known().reserved.len(), most);
    assert!(shop.lsp.records().values().all(|record| record.len() < 2_500));
}
