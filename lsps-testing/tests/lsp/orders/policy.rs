//! Prices of ordered channels.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_service::{
    AmountRule, ClientHistory, NodeFacts, OrderPolicy, OrderRefusal, OrderRequest, OrderTerms, Policy, StandardPolicy,
    TokenTerms,
};
use lsps_testing::{Lsp, LspSetup, NOON, buys, call, peer};
use lsps_types::codes::CreateOrderError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps1::{Confirmation, CreateOrder, Options};
use lsps_types::lsps2::GetInfo;
use lsps_types::{FeeRate, Ppm, Sat, Scid};
use proptest::prelude::*;

use super::order;
use crate::minutes;

fn selling(orders: OrderPolicy) -> StandardPolicy {
    StandardPolicy { orders: Some(orders), ..StandardPolicy::default() }
}

/// The default policy, with payments on-chain enabled.
fn all_ways() -> OrderPolicy {
    OrderPolicy { onchain: true, ..OrderPolicy::default() }
}

/// Clients of lightning-liquidity 0.2.7 cannot read an order that has an address and needs confirmations.
#[test]
fn case_X25_by_default_an_order_has_no_address_though_its_client_could_be_refunded() {
    let ordered = order();
    assert!(ordered.refund_onchain_address.is_some());
    let terms = terms(&selling(OrderPolicy::default()), &ordered, 1_000).expect("sold");
    assert!(terms.bolt11.is_some() && terms.bolt12.is_some() && terms.onchain.is_none());
}

fn facts(feerate_sat_per_kw: u32) -> NodeFacts {
    NodeFacts { feerate_sat_per_kw, spendable_sat: u64::MAX, ..NodeFacts::default() }
}

fn terms(policy: &StandardPolicy, order: &CreateOrder, feerate: u32) -> Result<OrderTerms, OrderRefusal> {
    let (token_uses, open_orders, history) = (0, 0, ClientHistory::default());
    let ask = OrderRequest { client: peer(1), order, token_uses, open_orders, history, now: NOON };
    policy.may_order(&ask, &facts(feerate))
}

/// Fees over Lightning and on-chain, in satoshis.
fn fees(policy: &StandardPolicy, order: &CreateOrder, feerate: u32) -> (u64, u64) {
    let terms = terms(policy, order, feerate).expect("it is sold");
    (terms.bolt11.expect("by invoice").fee.0, terms.onchain.expect("on the chain").0.fee.0)
}

/// L1-009, L1-018
#[test]
fn case_O01_options_and_settings_that_do_not_fit_are_refused_by_name() {
    let orders = all_ways;
    let options = Options::clone(&orders().options);
    let broken = [
        (
            "orders.options",
            OrderPolicy { options: Options { min_funding_confirms_within_blocks: 0, ..options.clone() }, ..orders() },
        ),
        (
            "orders.options",
            OrderPolicy { options: Options { max_channel_expiry_blocks: 0, ..options.clone() }, ..orders() },
        ),
        (
            "orders.options",
            OrderPolicy { options: Options { min_channel_balance_sat: Sat(u64::MAX), ..options }, ..orders() },
        ),
        ("orders.bolt11", OrderPolicy { bolt11: false, bolt12: false, onchain: false, ..orders() }),
        ("orders.lightning_validity", OrderPolicy { lightning_validity: Duration::ZERO, ..orders() }),
        ("orders.onchain_validity", OrderPolicy { onchain_validity: Duration::ZERO, ..orders() }),
        ("orders.confirmations", OrderPolicy { confirmations: vec![], ..orders() }),
        (
            "orders.confirmations",
            OrderPolicy { confirmations: vec![AmountRule { up_to_sat: 5, confirmations: 1 }; 2], ..orders() },
        ),
    ];
    assert_eq!(selling(orders()).validate(), Ok(()));
    for (field, orders) in broken {
        assert_eq!(selling(orders).validate().map_err(|error| error.field), Err(field));
    }
}

/// L1-093
#[test]
fn case_O04_confirmations_go_by_the_total_and_none_wants_twice_the_present_feerate() {
    let rule = |up_to_sat, confirmations| AmountRule { up_to_sat, confirmations };
    let policy = selling(OrderPolicy { confirmations: vec![rule(200_000, 0), rule(2_000_000, 3)], ..all_ways() });
    let of = |client_balance: u64| {
        let order = CreateOrder { client_balance_sat: Sat(client_balance), ..order() };
        terms(&policy, &order, 5_000).expect("sold").onchain.expect("on the chain").1
    };
    assert_eq!(of(100_000), Confirmation::AtOnce { above: Some(FeeRate(10_000)) });
    let three = Confirmation::After(3.try_into().expect("three"));
    assert_eq!((of(1_000_000), of(4_000_000)), (three, three), "the last rule holds for what is above");
}

/// L0-086
#[test]
fn no_fee_rate_that_is_told_is_below_the_least() {
    let rules = vec![AmountRule { up_to_sat: u64::MAX, confirmations: 0 }];
    let policy = selling(OrderPolicy { confirmations: rules, ..all_ways() });
    let of = |feerate| terms(&policy, &order(), feerate).expect("sold").onchain.expect("on the chain").1;
    assert_eq!(of(126), Confirmation::AtOnce { above: Some(FeeRate(253)) });
    assert_eq!(of(127), Confirmation::AtOnce { above: Some(FeeRate(254)) });
}

/// L1-071
#[test]
fn case_O04_each_way_has_its_fee_and_its_time() {
    let all = terms(&selling(all_ways()), &order(), 1_000).expect("sold");
    let (lightning, (onchain, _)) = (all.bolt11.expect("by invoice"), all.onchain.expect("on the chain"));
    assert_eq!(all.bolt12, Some(lightning));
    // The fee is 1 000 sat, 1 200 weight units at 1 sat each, and 3 % of 500 000 sat for 144 of 52 560 blocks.
    assert_eq!((lightning.fee, onchain.fee), (Sat(2_242), Sat(2_942)));
    assert_eq!((lightning.expires_at, onchain.expires_at), (minutes(60), minutes(60 * 24)));
    let one = terms(&selling(OrderPolicy { bolt12: false, onchain: false, ..all_ways() }), &order(), 1_000);
    let one = one.expect("sold");
    assert!(one.bolt11.is_some() && one.bolt12.is_none() && one.onchain.is_none());
}

#[test]
fn case_O14_who_has_too_many_or_wants_too_much_is_told_so() {
    let policy = selling(all_ways());
    let ordered = order();
    let ask = |open_orders| {
        let history = ClientHistory::default();
        OrderRequest { client: peer(1), order: &ordered, token_uses: 0, open_orders, history, now: NOON }
    };
    let facts = |spendable_sat| NodeFacts { spendable_sat, ..facts(1_000) };
    assert!(policy.may_order(&ask(4), &facts(600_000)).is_ok());
    assert!(matches!(policy.may_order(&ask(5), &facts(600_000)), Err(OrderRefusal::Client(_))));
    assert!(matches!(policy.may_order(&ask(0), &facts(599_999)), Err(OrderRefusal::Client(_))));
    let policy = StandardPolicy { refused_clients: vec![peer(1)], ..policy };
    assert!(matches!(policy.may_order(&ask(0), &facts(600_000)), Err(OrderRefusal::Client(_))));
}

/// L1-061
#[test]
fn case_O03_uses_of_a_token_are_counted_across_what_is_bought_and_what_is_ordered() {
    let token =
        TokenTerms { discount: Ppm(500_000), uses: Some(1), valid_until: Some(minutes(600)), ..TokenTerms::default() };
    let policy = StandardPolicy { tokens: BTreeMap::from([("SPRING".into(), token)]), ..selling(all_ways()) };
    let (full, half) = (order(), CreateOrder { token: Some("SPRING".into()), ..order() });
    let (dear, cheap) = (fees(&policy, &full, 1_000), fees(&policy, &half, 1_000));
    assert_eq!(cheap, (dear.0 / 2, dear.1 / 2));
    let scids = (1..9).map(|scid| Scid(scid << 40)).collect();
    let mut lsp = Lsp::at(NOON, LspSetup { policy: Some(policy), scids, ..LspSetup::default() });
    lsp.connects(peer(1));
    let bought = call(&mut lsp, peer(1), &half).expect("an order");
    assert_eq!(bought.token, "SPRING");
    let unknown = Err(Refusal::Method(CreateOrderError::UnrecognizedOrStaleToken));
    assert_eq!(call(&mut lsp, peer(1), &half).map_err(|error| error.refusal), unknown);
    assert!(call(&mut lsp, peer(1), &GetInfo { token: half.token.clone() }).is_err(), "nor for a JIT channel");
    lsp.wait_until(minutes(60 * 24));
    let _ = buys(&mut lsp, peer(1), None);
}

prop_compose! {
    // Balances are large enough for a channel to carry them at any feerate.
    fn any_order()(lsp in 1_u64 << 50..u64::MAX / 2, client in 0..1_u64 << 56, blocks in 1..u32::MAX) -> CreateOrder {
        CreateOrder { lsp_balance_sat: Sat(lsp), client_balance_sat: Sat(client), channel_expiry_blocks: blocks, ..order() }
    }
}

fn any_policy() -> impl Strategy<Value = StandardPolicy> {
    (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(min_fee_sat, weight, deposit, per_year)| {
        let (onchain_weight, deposit_weight, per_year) = (weight, deposit, Ppm(per_year));
        selling(OrderPolicy { min_fee_sat, onchain_weight, deposit_weight, per_year, ..all_ways() })
    })
}

proptest! {
    #[test]
    fn case_O04_a_fee_never_falls_with_the_feerate_the_balance_or_the_time(
        policy in any_policy(), order in any_order(), feerate in any::<u32>(), more in 0..1_000_000_u32,
    ) {
        let (low, low_onchain) = fees(&policy, &order, feerate);
        prop_assert!(low <= low_onchain);
        let lsp_balance_sat = Sat(order.lsp_balance_sat.0 + u64::from(more));
        let channel_expiry_blocks = order.channel_expiry_blocks.saturating_add(more);
        let (dear, larger, longer) = (
            fees(&policy, &order, feerate.saturating_add(more)),
            fees(&policy, &CreateOrder { lsp_balance_sat, ..order.clone() }, feerate),
            fees(&policy, &CreateOrder { channel_expiry_blocks, ..order.clone() }, feerate),
        );
        for (lightning, onchain) in [dear, larger, longer] {
            prop_assert!(lightning >= low && onchain >= low_onchain);
        }
    }

    #[test]
    fn case_O04_a_discount_takes_its_share_and_never_the_last_unit(
        policy in any_policy(), order in any_order(), feerate in any::<u32>(), share in 0..=1_000_000_u32,
    ) {
        let token = TokenTerms { discount: Ppm(share), ..TokenTerms::default() };
        let policy = StandardPolicy { tokens: BTreeMap::from([("T".into(), token)]), ..policy };
        let (full, _) = fees(&policy, &order, feerate);
        let (less, _) = fees(&policy, &CreateOrder { token: Some("T".into()), ..order }, feerate);
        prop_assert!(less <= full);
        prop_assert_eq!(u128::from(full - less), u128::from(full) * u128::from(share) / 1_000_000);
    }
}

#[test]
fn case_X29_a_service_that_sells_channels_does_not_start_without_the_network_of_refunds() {
    use lsps_service::{Config, OrderConfig, Service};
    use lsps_types::Network;
    use lsps_types::lsps2::PromiseKey;

    let starts = |network, orders: Option<OrderPolicy>| {
        let config = Config { orders: OrderConfig { network, ..OrderConfig::default() }, ..Config::default() };
        let policy = StandardPolicy { orders, ..StandardPolicy::default() };
        let service = Service::new(config, policy, || lsps_types::Scid(1), PromiseKey::new([1; 32]));
        service.map(drop).map_err(|error| error.field)
    };
    assert_eq!(
        starts(None, Some(OrderPolicy::default())),
        Err("orders.network"),
        "no network is the right one by default"
    );
    assert_eq!(starts(Some(Network::Signet), Some(OrderPolicy::default())), Ok(()));
    assert_eq!(starts(None, None), Ok(()));
}
