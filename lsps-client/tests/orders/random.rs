//! Random LSPs, nodes, times and crashes. Nothing is paid twice, nothing is paid that was not checked, and every order
//! ends or reports why not.

use std::collections::BTreeSet;
use std::time::Duration;

use lsps_client::jit_receive::{Handled, OpenRequest};
use lsps_client::order::{End, Order, OrderKey, Payment, PaymentInstructions, PaymentMethod};
use lsps_client::{ChannelKey, Effect};
use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply, OrderState};
use lsps_types::{OutPoint, Sat, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::{DAY, LSP, state};
use crate::desk::{Desk, Facts, Manner, OUTPOINT, checked, completed, invoice, made, open_as_ordered, order, request};

/// Next event of the random script.
#[derive(Clone, Debug)]
enum Step {
    Chooses(Vec<PaymentMethod>),
    /// The LSP asks to open a channel, as ordered or not.
    Opens(u8),
    /// Our node reports the funding of a channel, or its end.
    Funds(u8),
    Ends(u8),
    LspTells(Box<Reply>),
    LspForgets,
    LspIsSilent,
    LspTalksNonsense,
    Passes(u64),
    Restarts,
    Reconnects,
    NodePays,
    NodeFails,
    GivesUp,
}

/// The host's node and wallet: its requests and actions.
#[derive(Default)]
struct Node {
    asked: Vec<PaymentMethod>,
    paid: Vec<String>,
    signed: Vec<Vec<u8>>,
    /// Signed transactions that were on record.
    recorded: BTreeSet<Vec<u8>>,
    /// Broadcast transactions, with the time of each broadcast.
    broadcast: Vec<(Vec<u8>, Timestamp)>,
    /// Transactions whose inputs were freed.
    free: Vec<Vec<u8>>,
    lightning: Option<bool>,
    /// Whether the payment method in use may still spend money.
    under_way: bool,
    funded: Vec<ChannelKey>,
}

impl Node {
    fn does(&mut self, desk: &mut Desk, key: OrderKey) {
        let effects = desk.effects();
        let payment = desk.client.order(key).and_then(Order::paying).map(|paying| &paying.payment);
        if let Some(Payment::Signed(tx)) = payment.filter(|_| desk.client.is_idle()) {
            self.recorded.insert(tx.clone());
        }
        for effect in effects {
            match effect {
                Effect::PayOrder { option, .. } => {
                    assert!(desk.order(key).payment_options().contains(&option), "only what was weighed");
                    self.asked.push(option.method());
                    match option.instructions {
                        // The node pays an id once, and does not repeat a settled payment.
                        PaymentInstructions::Invoice { invoice: what, .. }
                        | PaymentInstructions::Offer { offer: what } => {
                            let (what, settled) =
                                (format!("{:?} {what}", self.asked.last()), self.lightning == Some(true));
                            if !settled && desk.now < option.pay_by && !self.paid.contains(&what) {
                                assert!(!self.under_way && self.broadcast.is_empty(), "one at a time");
                                self.paid.push(what);
                                (self.under_way, self.lightning) = (true, None);
                            }
                        }
                        PaymentInstructions::Address { .. } => {
                            assert!(!self.under_way && self.lightning != Some(true), "nothing else is out");
                            let tx = vec![u8::try_from(self.signed.len()).unwrap_or(u8::MAX)];
                            self.signed.push(tx.clone());
                            let _ = desk.client.order_signed(key, tx, desk.now);
                        }
                    }
                }
                Effect::StopPaying { .. } => {
                    if !self.under_way && self.lightning != Some(true) {
                        let _ = desk.client.order_not_sent(key, desk.now);
                    }
                }
                Effect::AcceptChannel { .. } => {}
                Effect::BroadcastPayment { transaction, .. } => {
                    assert!(desk.store.contains_key(&format!("order-{key}")));
                    if desk.client.broadcasts_payment(key, desk.now) {
                        assert!(!self.free.contains(&transaction), "its inputs may pay for something else");
                        self.broadcast.push((transaction, desk.now));
                    }
                }
                Effect::ReservePayment { transaction, .. } => {
                    assert!(!self.free.contains(&transaction), "it was freed");
                }
                Effect::ForgetPayment { transaction, .. } => {
                    let is_out =
                        |(other, at): &(Vec<u8>, Timestamp)| *other == transaction && desk.now < *at + DAY * 14;
                    assert!(!self.broadcast.iter().any(is_out), "a mempool may have it");
                    self.free.push(transaction);
                    let _ = desk.client.payment_forgotten(key, desk.now);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let lightning = prop_oneof![
        Just(LightningState::ExpectPayment),
        Just(LightningState::Hold),
        Just(LightningState::Paid),
        Just(LightningState::Refunded)
    ];
    let onchain = prop_oneof![
        Just(OnchainState::ExpectPayment),
        Just(OnchainState::Seen),
        Just(OnchainState::Paid),
        Just(OnchainState::Refunded)
    ];
    let order_state =
        prop_oneof![4 => Just(OrderState::Created), 1 => Just(OrderState::Completed), 2 => Just(OrderState::Failed)];
    (order_state, lightning, onchain, any::<bool>(), 0u8..12).prop_map(|(state, lightning, onchain, channel, lie)| {
        let mut reply = crate::desk::with_states(&made("a1", &order()), lightning, onchain);
        reply.order_state = state;
        if channel || state == OrderState::Completed {
            reply.channel = completed(&reply).channel;
        }
        match lie {
            0 => reply.lsp_balance_sat = Sat(1),
            1 => reply
                .payment
                .bolt11
                .iter_mut()
                .for_each(|option| option.invoice = invoice(option.order_total_sat, crate::common::hash(9), LSP)),
            2 => reply.channel = None,
            3 => reply
                .channel
                .iter_mut()
                .for_each(|its| its.funding_outpoint = OutPoint { index: 7, ..its.funding_outpoint }),
            _ => {}
        }
        reply
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let method = prop_oneof![Just(PaymentMethod::Bolt11), Just(PaymentMethod::Bolt12), Just(PaymentMethod::Onchain)];
    prop_oneof![
        3 => vec(method, 0..4).prop_map(Step::Chooses),
        1 => (0u8..4).prop_map(Step::Opens),
        2 => (0u8..4).prop_map(Step::Funds),
        1 => (0u8..4).prop_map(Step::Ends),
        6 => any_reply().prop_map(|reply| Step::LspTells(Box::new(reply))),
        1 => Just(Step::LspForgets),
        1 => Just(Step::LspIsSilent),
        1 => Just(Step::LspTalksNonsense),
        6 => (0u64..200_000).prop_map(Step::Passes),
        3 => Just(Step::Restarts),
        1 => Just(Step::Reconnects),
        1 => Just(Step::NodePays),
        1 => Just(Step::NodeFails),
        1 => Just(Step::GivesUp),
    ]
}

proptest! {
    #[test]
    fn case_O11_nothing_is_paid_twice_and_every_order_ends(
        steps in vec(any_step(), 0..40), tells_in_the_end in any::<bool>(),
    ) {
        let (mut desk, mut node) = (Desk::new(), Node::default());
        desk.broadcasts = false;
        let (key, mut called_off) = (desk.places(&order()), false);
        for step in steps {
            match step {
                Step::Chooses(methods) => drop(desk.client.pay_order_in_turn(key, &methods, desk.now)),
                Step::Opens(n) => {
                    let request = open_as_ordered(n.into());
                    let request = OpenRequest { funding: Sat(2_499 + u64::from(n)), ..request };
                    let _ = desk.client.open_requested(&request, desk.now);
                }
                Step::Funds(n) => {
                    let funding = OutPoint { index: if n < 3 { 1 } else { 7 }, ..OUTPOINT };
                    let channel = ChannelKey(n.into());
                    if desk.client.channel_funded(channel, funding, desk.now) == Handled::Taken && n < 3 {
                        node.funded.push(channel);
                    }
                }
                Step::Ends(n) => {
                    let _ = desk.client.channel_ended(ChannelKey(n.into()), desk.now);
                }
                Step::LspTells(reply) => desk.lsp = Manner::Tells(reply),
                Step::LspForgets => desk.lsp = Manner::Says("error", r#"{"code":101,"message":"?","data":{}}"#),
                Step::LspIsSilent => desk.lsp = Manner::Silent,
                Step::LspTalksNonsense => desk.lsp = Manner::Says("result", "[]"),
                Step::Passes(seconds) => desk.passes(Duration::from_secs(seconds)),
                Step::Restarts => desk.restarts(),
                Step::Reconnects => {
                    desk.client.peer_disconnected(LSP);
                    desk.client.peer_connected(LSP);
                }
                Step::NodePays if node.under_way => {
                    (node.under_way, node.lightning) = (false, Some(true));
                    let _ = desk.client.order_settled(key, desk.now);
                }
                Step::NodeFails if node.under_way => {
                    (node.under_way, node.lightning) = (false, Some(false));
                    let _ = desk.client.order_returned(key, desk.now);
                }
                Step::NodePays | Step::NodeFails => {}
                Step::GivesUp => called_off |= desk.client.abandon_order(key, desk.now).is_ok(),
            }
            if desk.client.order(key).is_none() {
                break;
            }
            node.does(&mut desk, key);
            if let Some(End::Done { channel, .. }) = desk.client.order(key).and_then(|order| order.end().cloned()) {
                let its = channel.expect("it is known").key;
                prop_assert!(node.funded.contains(&its), "our own node told of it");
            }
        }
        let first = node.broadcast.first().map(|(tx, _)| tx.clone());
        prop_assert!(node.broadcast.iter().all(|(tx, _)| Some(tx) == first.as_ref()), "one transaction");
        prop_assert!(node.lightning != Some(true) || node.broadcast.is_empty(), "one payment");

        prop_assert_eq!(state(&desk.tape.replays()), state(&desk.client), "its tape brings it to where it is");

        // From now on the LSP is silent, and the node reports the outcome of the payment, or nothing.
        desk.lsp = Manner::Silent;
        desk.passes(DAY * 2);
        node.does(&mut desk, key);
        if desk.client.order(key).is_some_and(|order| order.end().is_none()) {
            if node.under_way && tells_in_the_end {
                let _ = desk.client.order_returned(key, desk.now);
            }
            for _ in 0..31 {
                if desk.client.order(key).is_none_or(|order| order.end().is_some()) {
                    break;
                }
                desk.passes(DAY);
                node.does(&mut desk, key);
            }
        }
        if let Some(order) = desk.client.order(key) {
            prop_assert!(order.end().is_some(), "every order ends by itself: {:?}", order.state());
            let is_out = node.under_way || node.lightning == Some(true) || !node.broadcast.is_empty();
            let gave_up = order.end() == Some(&End::GivenUp);
            prop_assert!(!gave_up || called_off || is_out || !node.signed.is_empty(), "nothing is out that could be given up");
            desk.passes(DAY * 60);
            node.does(&mut desk, key);
        }
        if desk.client.order(key).is_none() {
            prop_assert!(node.recorded.iter().all(|tx| node.free.contains(tx)), "no coins are left reserved: {:?}", node.free);
        }
    }

    /// Payment methods that fail the check are not offered.
    #[test]
    fn case_O12_what_cannot_be_used_is_never_a_way(
        total in prop_oneof![Just(590u64), 0u64..2_000], payee in 1u8..4, fee in prop_oneof![Just(90u64), 0u64..200],
    ) {
        let mut reply = made("a1", &order());
        reply.payment.bolt11.iter_mut().for_each(|option| {
            (option.fee_total_sat, option.invoice) = (Sat(fee), invoice(Sat(total), crate::desk::HASH, lsps_types::PeerId([payee; 33])));
        });
        let quote = checked(request(order())).verify(&reply, &Facts, crate::common::NOON).unwrap();
        let good = (total, payee, fee) == (590, 2, 90);
        prop_assert_eq!(quote.options.iter().any(|option| option.method() == PaymentMethod::Bolt11), good);
    }
}
