//! Orders, and the client's checks of the LSP's price. Nothing is paid here.

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{
    CannotOrder, LspOptions, OrderRequest, PaymentInstructions, PaymentMethod, PaymentOption, Quote, RefuseOrder,
    RefusePaymentMethod, RefusePlace, Rules, State,
};
use lsps_client::{Config, FlowId};
use lsps_types::lsps1::{
    Confirmation, CreateOrder, LightningState, MirrorMismatch, OnchainState, Order as Reply, OrderId, PaymentFacts,
    ReadInvoices, Unusable,
};
use lsps_types::{FeeRate, Msat, Network, Ppm, Sat};

use crate::common::{DAY, HOUR, LSP, NOON, OTHER_LSP, buy, hash, prepared};
use crate::desk::{
    BALANCE, CHAIN_FEE, Desk, Facts, HASH, LIGHTNING_FEE, checked, completed, failed, invoice, made, options, order,
    quote, request, with_states,
};

fn check(request: OrderRequest) -> Result<(), CannotOrder> {
    LspOptions { lsp: LSP, options: options() }.check(request).map(|_| ())
}

fn weighs(reply: &Reply) -> Result<Quote, RefuseOrder> {
    checked(request(order())).verify(reply, &Facts, NOON)
}

/// Quotes the order after a change to the LSP's reply.
fn quoted(change: impl FnOnce(&mut Reply)) -> Result<Quote, RefuseOrder> {
    let mut reply = made("a1", &order());
    change(&mut reply);
    weighs(&reply)
}

/// L1-004, L1-019, L1-020, L1-021, L1-022, L1-023, L1-024, L1-027, L1-029, L1-031, L1-032, L1-033, L1-034
#[test]
fn case_O12_what_the_options_do_not_allow_is_not_sent() {
    let refused = |change: &dyn Fn(&mut CreateOrder)| {
        let mut order = order();
        change(&mut order);
        match check(request(order)).unwrap_err() {
            CannotOrder::Options(mismatch) => mismatch.property,
            other => other.to_string(),
        }
    };
    assert_eq!(check(request(order())), Ok(()));
    assert_eq!(check(request(CreateOrder { refund_onchain_address: None, token: None, ..order() })), Ok(()));
    assert!(refused(&|o| o.lsp_balance_sat = Sat(0)).contains("at least 1"));
    assert!(refused(&|o| o.channel_expiry_blocks = 0).contains("at least 1"));
    assert_eq!(refused(&|o| o.lsp_balance_sat = Sat(19)), "min_initial_lsp_balance_sat");
    assert_eq!(refused(&|o| o.lsp_balance_sat = Sat(100_000_001)), "max_initial_lsp_balance_sat");
    assert_eq!(refused(&|o| o.client_balance_sat = Sat(9)), "min_initial_client_balance_sat");
    assert_eq!(refused(&|o| o.client_balance_sat = Sat(1_000_001)), "max_initial_client_balance_sat");
    assert_eq!(refused(&|o| o.funding_confirms_within_blocks = 5), "min_funding_confirms_within_blocks");
    assert_eq!(refused(&|o| o.channel_expiry_blocks = 20_161), "max_channel_expiry_blocks");

    let mut strict = options();
    strict.min_required_channel_confirmations = 2;
    let Err(CannotOrder::Options(mismatch)) = (LspOptions { lsp: LSP, options: strict }).check(request(order())) else {
        panic!("one confirmation is too few")
    };
    assert_eq!(mismatch.property, "min_required_channel_confirmations");
    let elsewhere = OrderRequest { network: Network::Bitcoin, ..request(order()) };
    assert_eq!(check(elsewhere), Err(CannotOrder::RefundAddress));
}

/// L1-038
#[test]
fn case_O12_a_large_channel_is_ordered_of_those_that_support_it() {
    let sized = |lsp, large_channels| {
        let order = CreateOrder { lsp_balance_sat: Sat(lsp), ..order() };
        check(OrderRequest { large_channels, ..request(order) })
    };
    assert_eq!(sized(16_777_216 - BALANCE.0, false), Ok(()));
    assert_eq!(sized(16_777_217 - BALANCE.0, false), Err(CannotOrder::LargeChannels));
    assert_eq!(sized(16_777_217 - BALANCE.0, true), Ok(()));
}

/// L1-068
#[test]
fn case_O12_each_way_to_pay_is_weighed_by_itself() {
    let quote = weighs(&made("a1", &order())).unwrap();
    let options: Vec<_> = quote.options.iter().map(|option| (option.method(), option.fee, option.total)).collect();
    let lightning = Sat(LIGHTNING_FEE.0 + BALANCE.0);
    assert_eq!(
        options,
        [
            (PaymentMethod::Bolt11, LIGHTNING_FEE, lightning),
            (PaymentMethod::Bolt12, LIGHTNING_FEE, lightning),
            (PaymentMethod::Onchain, CHAIN_FEE, Sat(CHAIN_FEE.0 + BALANCE.0)),
        ]
    );
    assert_eq!((quote.refused.len(), quote.lsp()), (0, LSP));

    let quote = quoted(|reply| reply.payment.bolt11.as_mut().unwrap().invoice = "nonsense".into()).unwrap();
    assert_eq!(quote.refused, [(PaymentMethod::Bolt11, RefusePaymentMethod::Unusable(Unusable::Unreadable))]);
    assert_eq!(quote.options.len(), 2, "the others are as good as before");
    let quote = quoted(|reply| (reply.payment.bolt11, reply.payment.onchain) = (None, None)).unwrap();
    assert_eq!((quote.options.len(), quote.refused.len()), (1, 0));
}

/// L1-043, L1-054, L1-070, L1-075, L1-084, L1-090
#[test]
fn case_O12_an_order_that_is_wrong_is_refused_before_anything_is_paid() {
    let option = |change: &dyn Fn(&mut Reply)| match quoted(change).unwrap() {
        Quote { refused, .. } if refused.len() == 1 => refused[0].1,
        quote => panic!("{quote:?}"),
    };
    let unusable = RefusePaymentMethod::Unusable;
    assert_eq!(option(&|r| r.payment.bolt11.as_mut().unwrap().fee_total_sat = Sat(1)), unusable(Unusable::WrongSum));
    let dear = invoice(Sat(1_000_000), HASH, LSP);
    assert_eq!(option(&|r| r.payment.bolt11.as_mut().unwrap().invoice = dear.clone()), unusable(Unusable::WrongAmount));
    let payee = invoice(Sat(LIGHTNING_FEE.0 + BALANCE.0), HASH, OTHER_LSP);
    assert_eq!(option(&|r| r.payment.bolt11.as_mut().unwrap().invoice = payee.clone()), unusable(Unusable::WrongPayee));
    assert_eq!(option(&|r| r.payment.bolt12.as_mut().unwrap().offer = dear.clone()), unusable(Unusable::WrongAmount));
    let foreign = "bc1qvmsy0f3yyes6z9jvddk8xqwznndmdwapvrc0xrmhd3vqj5rhdrrq6hz49h";
    assert_eq!(
        option(&|r| r.payment.onchain.as_mut().unwrap().address = foreign.into()),
        unusable(Unusable::WrongNetwork)
    );
    assert_eq!(
        option(&|r| r.payment.onchain.as_mut().unwrap().refund_onchain_address = Some(foreign.into())),
        unusable(Unusable::WrongRefundAddress)
    );

    let differs = |field| Err(RefuseOrder::Differs(MirrorMismatch { field }));
    assert_eq!(quoted(|r| r.lsp_balance_sat = Sat(1_999)), differs("lsp_balance_sat"));
    assert_eq!(quoted(|r| r.client_balance_sat = Sat(499)), differs("client_balance_sat"));
    assert_eq!(quoted(|r| r.required_channel_confirmations = 2), differs("required_channel_confirmations"));
    assert_eq!(quoted(|r| r.channel_expiry_blocks = 143), differs("channel_expiry_blocks"));
    assert_eq!(quoted(|r| r.announce_channel = true), differs("announce_channel"));
    assert_eq!(quoted(|r| r.token = "t".into()), differs("token"));

    let reply = made("a1", &order());
    assert_eq!(weighs(&completed(&reply)), Err(RefuseOrder::NotNew));
    assert_eq!(weighs(&failed(&reply)), Err(RefuseOrder::NotNew));
    let paid = with_states(&reply, LightningState::Paid, OnchainState::Paid);
    let Err(none @ RefuseOrder::NoPaymentMethod(_)) = weighs(&paid) else { panic!("somebody paid it") };
    assert!(none.to_string().starts_with("the order cannot be paid: by invoice: it is paid or closed"), "{none}");
}

#[test]
fn another_payee_is_fine_for_those_who_say_so() {
    let total = Sat(LIGHTNING_FEE.0 + BALANCE.0);
    let mut reply = made("a1", &order());
    reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, HASH, OTHER_LSP);
    let rules = Rules { pay_only_the_lsp: false, ..Rules::default() };
    let quote = checked(OrderRequest { rules, ..request(order()) }).verify(&reply, &Facts, NOON).unwrap();
    assert_eq!(quote.options.len(), 3);
}

/// L1-053
#[test]
fn case_O12_a_fee_above_the_limits_is_not_paid() {
    let within = |max_total_fee, max_proportional_fee| {
        let limits = FeeLimits { max_total_fee, max_proportional_fee };
        let checked = checked(OrderRequest { limits, ..request(order()) });
        let quote = checked.verify(&made("a1", &order()), &Facts, NOON);
        quote.map(|quote| quote.options.iter().map(|option| option.method()).collect::<Vec<_>>())
    };
    use PaymentMethod::{Bolt11, Bolt12, Onchain};
    assert_eq!(within(Some(Msat(90_000)), None), Ok(vec![Bolt11, Bolt12, Onchain]));
    assert_eq!(within(Some(Msat(89_999)), None), Ok(vec![Onchain]));
    assert_eq!(within(None, Some(Ppm(45_000))), Ok(vec![Bolt11, Bolt12, Onchain]), "4.5 per cent of 2 000 sat");
    assert_eq!(within(None, Some(Ppm(44_999))), Ok(vec![Onchain]));
    let Err(RefuseOrder::NoPaymentMethod(refused)) = within(Some(Msat(79_999)), None) else { panic!("too dear") };
    assert_eq!(refused[2], (Onchain, RefusePaymentMethod::FeeAboveLimit { fee: CHAIN_FEE }));
}

#[test]
fn a_way_that_ends_too_soon_is_left_alone_and_one_on_chain_has_to_outlast_its_blocks() {
    let confirmed_after = |blocks: u16| {
        quoted(|reply| {
            let onchain = reply.payment.onchain.as_mut().unwrap();
            onchain.confirmation = Confirmation::After(blocks.try_into().unwrap());
        })
        .unwrap()
    };
    assert_eq!(NOON + DAY, confirmed_after(6).options[2].pay_by + HOUR_AND_TWO_MINUTES);
    assert_eq!(confirmed_after(u16::MAX).refused, [(PaymentMethod::Onchain, RefusePaymentMethod::EndsTooSoon)]);
    let late = checked(request(order())).verify(&made("a1", &order()), &Facts, NOON + HOUR).unwrap();
    assert_eq!(late.options.len(), 1, "the invoice and the offer are over");
}

/// The invoice expires half an hour before the time that the LSP names.
#[test]
fn a_way_ends_with_its_invoice_or_offer() {
    struct Ending;
    impl ReadInvoices for Ending {
        fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts> {
            Some(PaymentFacts { expires_at: Some(NOON + HOUR / 2), ..Facts.bolt11(invoice, network)? })
        }

        fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
            Some(PaymentFacts { expires_at: Some(NOON + HOUR * 2), ..Facts.bolt12(offer, network)? })
        }
    }
    let quote = checked(request(order())).verify(&made("a1", &order()), &Ending, NOON).unwrap();
    let pay_by: Vec<_> = quote.options.iter().map(|option| option.pay_by.since(NOON).as_secs() / 60).collect();
    assert_eq!(pay_by[..2], [28, 58], "two minutes before the earlier of the two ends");
}

#[test]
fn nothing_is_paid_on_chain_that_could_not_come_back() {
    let order = CreateOrder { refund_onchain_address: None, ..order() };
    let mut reply = made("a1", &order);
    let mut onchain = made("a1", &crate::desk::order()).payment.onchain.unwrap();
    onchain.refund_onchain_address = None;
    reply.payment.onchain = Some(onchain);
    let quote = checked(request(order)).verify(&reply, &Facts, NOON).unwrap();
    assert_eq!(quote.refused, [(PaymentMethod::Onchain, RefusePaymentMethod::NoRefundAddress)]);
}

#[test]
fn the_cheapest_way_that_the_wallet_can_pay_is_taken() {
    let quote = quote(&order());
    let only =
        |is_one: fn(PaymentMethod) -> bool| move |option: &PaymentOption| is_one(option.method()).then_some(Sat::ZERO);
    assert_eq!(quote.cheapest(only(|_| true)), Some(PaymentMethod::Onchain));
    assert_eq!(
        quote.cheapest(only(|method| method != PaymentMethod::Onchain)),
        Some(PaymentMethod::Bolt11),
        "before the offer"
    );
    assert_eq!(quote.cheapest(only(|method| method == PaymentMethod::Bolt12)), Some(PaymentMethod::Bolt12));
    assert_eq!(quote.cheapest(only(|_| false)), None);
}

/// L1-055
#[test]
fn an_order_that_is_left_unpaid_ends_and_then_goes() {
    let mut desk = Desk::new();
    let key = desk.places(&order());
    assert_eq!(desk.effects(), []);
    assert_eq!(desk.state(key), &State::Quoted);
    desk.passes(DAY);
    let State::Ended { end, keep_until } = desk.state(key).clone() else { panic!("it ended") };
    assert_eq!(end.to_string(), "not paid in time");
    assert_eq!(desk.asked, [], "nothing is asked about it");
    desk.passes(keep_until.since(desk.now));
    assert_eq!((desk.client.order(key), desk.store.len()), (None, 0));
}

#[test]
fn two_lsps_may_use_the_same_name_and_one_may_not() {
    let mut desk = Desk::new();
    let ours = desk.places(&order());
    assert_eq!(desk.client.place_order(quote(&order()), NOON), Err(RefusePlace::KnownOrder));
    let total = Sat(LIGHTNING_FEE.0 + BALANCE.0);
    let mut reply = made("a1", &order());
    reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, hash(9), OTHER_LSP);
    let checked = LspOptions { lsp: OTHER_LSP, options: options() }.check(request(order())).unwrap();
    let theirs = desk.places_quote(checked.verify(&reply, &Facts, NOON).unwrap());
    assert_ne!(ours, theirs);
    assert_eq!(desk.order(ours).id(), desk.order(theirs).id());
    for name in desk.store.keys() {
        assert!(name.starts_with("order-") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        assert_eq!(name.parse::<FlowId>().unwrap().to_string(), *name);
    }
}

#[test]
fn the_number_of_orders_is_bounded_and_those_that_are_over_make_room() {
    let mut desk = Desk::with(Config { orders: 2, ..Config::default() });
    let numbered = |n: u8, now| {
        let mut reply = made("a1", &order());
        reply.order_id = OrderId::try_from(format!("order/{n} ü")).unwrap();
        let total = Sat(LIGHTNING_FEE.0 + BALANCE.0);
        reply.payment.bolt11.as_mut().unwrap().invoice = invoice(total, hash(n), LSP);
        checked(request(order())).verify(&reply, &Facts, now).unwrap()
    };
    let first = desk.places_quote(numbered(1, NOON));
    desk.places_quote(numbered(2, NOON));
    assert_eq!(desk.client.place_order(numbered(3, NOON), NOON), Err(RefusePlace::TooMany));
    desk.client.abandon_order(first, NOON).unwrap();
    desk.places_quote(numbered(3, NOON));
    assert_eq!((desk.client.order(first), desk.store.len()), (None, 2));
    assert_eq!(desk.client.place_order(numbered(4, NOON), NOON + DAY), Err(RefusePlace::Expired));
}

const HOUR_AND_TWO_MINUTES: std::time::Duration = std::time::Duration::from_secs(62 * 60);

/// The LSP names a feerate of 20 000 sat/vB above which it opens without confirmation.
#[test]
fn case_X30_a_feerate_out_of_all_proportion_is_not_paid_and_one_confirmation_is_waited_for() {
    let above = |rate: u32| {
        let quote = quoted(|reply| {
            let onchain = reply.payment.onchain.as_mut().unwrap();
            onchain.confirmation = Confirmation::AtOnce { above: Some(FeeRate(rate)) };
        });
        match quote.unwrap().options[2].instructions {
            PaymentInstructions::Address { confirmations, at_once_above, .. } => (confirmations, at_once_above),
            _ => panic!("on-chain"),
        }
    };
    let most = Rules::default().max_fee_rate_at_once;
    assert_eq!(above(most.0), (0, Some(most)));
    assert_eq!(above(most.0 + 1), (1, None));
    assert_eq!(above(5_000_000), (1, None));
    assert_eq!(above(u32::MAX), (1, None));
}

#[test]
fn case_X30_ways_are_compared_with_what_leaves_beside_the_fee() {
    let quote = quote(&order());
    let costs = |mining: u64| {
        move |option: &PaymentOption| Some(if option.method() == PaymentMethod::Onchain { Sat(mining) } else { Sat(1) })
    };
    assert_eq!(quote.cheapest(costs(10)), Some(PaymentMethod::Onchain), "80 + 10 sat");
    assert_eq!(
        quote.cheapest(costs(11)),
        Some(PaymentMethod::Bolt11),
        "80 + 11 and 90 + 1 sat: of equal ones Lightning"
    );
    assert_eq!(quote.ranked(costs(12)), [PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Onchain]);
    let most = Rules::default().max_extra;
    assert_eq!(quote.ranked(costs(most.0)).len(), 3);
    assert_eq!(quote.ranked(costs(most.0 + 1)).len(), 2, "dearer than it may be is no way at all");

    // The limits also cover what may be paid in addition to the fee.
    let extra = |max_total_fee, max_proportional_fee| {
        let checked =
            checked(OrderRequest { limits: FeeLimits { max_total_fee, max_proportional_fee }, ..request(order()) });
        checked
            .verify(&made("a1", &order()), &Facts, NOON)
            .unwrap()
            .options
            .iter()
            .map(|option| option.extra)
            .collect::<Vec<_>>()
    };
    assert_eq!(extra(None, None), [most; 3]);
    assert_eq!(extra(Some(Msat(100_999)), None), [Sat(10), Sat(10), Sat(20)]);
    assert_eq!(extra(None, Some(Ppm(50_000))), [Sat(10), Sat(10), Sat(20)], "5 per cent of 2 000 sat");
    assert_eq!(extra(Some(Msat(95_000)), Some(Ppm(50_000))), [Sat(5), Sat(5), Sat(15)]);
    assert_eq!(extra(Some(Msat(u64::MAX)), None), [most; 3]);
}

/// If two orders had the same invoice, the second would wait forever for the payment of the first.
#[test]
fn case_X34_the_payment_hash_of_another_order_or_purchase_is_not_paid_again() {
    let with_hash = |id: &str, lsp, number| {
        let mut reply = made(id, &order());
        reply.payment.bolt11.as_mut().unwrap().invoice = invoice(Sat(LIGHTNING_FEE.0 + BALANCE.0), hash(number), lsp);
        reply.payment.bolt12 = None;
        LspOptions { lsp, options: options() }.check(request(order())).unwrap().verify(&reply, &Facts, NOON).unwrap()
    };
    let mut desk = Desk::new();
    let first = desk.places_quote(with_hash("a1", LSP, 1));
    let known = Err(RefusePlace::KnownPaymentHash);
    assert_eq!(desk.client.place_order(with_hash("a2", LSP, 1), NOON), known);
    assert_eq!(desk.client.place_order(with_hash("a1", OTHER_LSP, 1), NOON), known, "whoever sells it");
    desk.client.abandon_order(first, NOON).unwrap();
    desk.turn();
    assert_eq!(desk.client.place_order(with_hash("a2", LSP, 1), NOON), known, "nor when the first is over");
    desk.places_quote(with_hash("a2", LSP, 2));

    desk.client.register(&prepared(LSP, &buy(None)), hash(3), NOON).unwrap();
    assert_eq!(desk.client.place_order(with_hash("a3", LSP, 3), NOON), known, "of an invoice of our own");
    assert_eq!(desk.client.orders().count(), 2);
}
