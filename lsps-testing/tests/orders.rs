//! A wallet's core orders of an LSP's core, in virtual time. Either of them may restart between any two steps.
#![allow(non_snake_case)]

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_client::jit_receive::{FeeLimits, Handled, OpenRequest};
use lsps_client::order::{
    End, LspOptions, OrderKey, OrderRequest, PaymentInstructions, PaymentMethod, Rules, State, Unpaid,
};
use lsps_client::{Client, Config, Effect, Released};
use lsps_service::{ChannelEnd, HeldPayment, Input, MethodTerms, OrderTerms, PaidBy};
use lsps_testing::{Act, Lsp, LspSetup, NOON, an_order, call, outpoint, peer};
use lsps_types::lsps1::{CreateOrder, GetInfo, Options, PaymentFacts, ReadInvoices};
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Sat, Timestamp};

const HOUR: Duration = Duration::from_secs(3_600);
const FEE: Sat = Sat(8_888);
const BALANCE: Sat = Sat(200_000);
const TOTAL: Msat = Msat((FEE.0 + BALANCE.0) * 1_000);

/// L1-002, L1-063, L1-078
#[test]
fn case_O13_both_agree_on_an_order_that_is_paid_and_opened_whoever_restarts_when() {
    for restart in 0..6 {
        for who in [Who::Wallet, Who::Lsp, Who::Both] {
            let mut world = World::new();
            let mut step = 0;
            let mut between = |world: &mut World| {
                if step == restart {
                    world.restarts(who);
                }
                step += 1;
            };
            let key = world.orders();
            between(&mut world);
            let hash = world.pays(key);
            between(&mut world);
            world.arrives(hash);
            between(&mut world);
            world.passes(HOUR / 240);
            assert!(world.paying(key, |paying| paying.held), "the LSP has it");
            between(&mut world);
            let opened = world.opens(key);
            between(&mut world);
            world.lsp.funding_signed(opened);
            between(&mut world);
            let acts = world.lsp.acts();
            assert!(acts.contains(&Act::Claim(hash)), "{acts:?}");
            assert_eq!(world.client.order_settled(key, world.now), Handled::Taken);
            world.passes(HOUR / 2);
            let order = world.client.order(key).expect("it is on record");
            let Some(End::Done { lease, channel }) = order.end() else { panic!("{:?}", order.state()) };
            assert_eq!(lease.funding, outpoint(opened));
            assert!(lease.until >= lease.funded_at + Duration::from_secs(144 * 600));
            assert!(channel.is_some());
        }
    }
}

/// L1-073, L1-081, L1-128
#[test]
fn both_agree_on_an_order_whose_channel_does_not_open() {
    let mut world = World::new();
    let key = world.orders();
    let hash = world.pays(key);
    world.arrives(hash);
    world.passes(HOUR / 20);
    for _ in 0..50 {
        let acts = world.lsp.acts();
        if acts.contains(&Act::FailPayment(hash)) {
            break;
        }
        for act in acts {
            if let Act::Open { key, .. } = act {
                world.lsp.channel_ends(key, ChannelEnd::CannotOpen("no coins".into()));
            }
        }
        world.passes(HOUR / 60);
    }
    world.passes(HOUR / 2);
    assert!(matches!(world.client.order(key).unwrap().state(), State::Refunding(_)), "the LSP says that it failed");
    assert_eq!(world.client.order_returned(key, world.now), Handled::Taken);
    world.passes(HOUR / 60);
    assert_eq!(world.client.order(key).unwrap().end(), Some(&End::Refunded));
}

/// L1-055, L1-082
#[test]
fn both_agree_on_an_order_that_nobody_pays() {
    let mut world = World::new();
    let key = world.orders();
    world.passes(HOUR * 3);
    assert_eq!(world.client.order(key).unwrap().end(), Some(&End::Unpaid(Unpaid::Expired)));
    assert_eq!(world.lsp.acts(), []);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Wallet,
    Lsp,
    Both,
}

struct World {
    lsp: Lsp,
    client: Client,
    now: Timestamp,
    store: BTreeMap<String, Vec<u8>>,
    effects: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let option = MethodTerms { fee: FEE, expires_at: NOON + HOUR };
        let terms = OrderTerms { bolt11: Some(option), bolt12: Some(option), onchain: None, remember_until: None };
        let setup = LspSetup { orders: Some((options(), terms)), ..LspSetup::default() };
        let (store, effects) = Default::default();
        let mut world = Self { lsp: Lsp::at(NOON, setup), client: client(), now: NOON, store, effects };
        world.lsp.block(800_000);
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.client.peer_connected(lsp());
        self.lsp.connects(wallet());
    }

    fn restarts(&mut self, who: Who) {
        if who != Who::Wallet {
            self.client.peer_disconnected(lsp());
            self.lsp.disconnects(wallet());
            self.lsp.restarts();
        }
        if who != Who::Lsp {
            self.lsp.disconnects(wallet());
            self.client = client();
            for (name, bytes) in &self.store {
                self.client.load(name, bytes).expect("we wrote it");
            }
        }
        self.connect();
        self.turn();
    }

    fn orders(&mut self) -> OrderKey {
        let options = call(&mut self.lsp, wallet(), &GetInfo {}).expect("options");
        let (limits, rules) = (FeeLimits::UNLIMITED, Rules::default());
        let request = OrderRequest { order: order(), limits, network: Network::Bitcoin, large_channels: false, rules };
        let checked = LspOptions { lsp: lsp(), options }.check(request).expect("it is offered");
        let made = call(&mut self.lsp, wallet(), checked.create_order()).expect("it is sold");
        let quote = checked.verify(&made, &Facts, self.now).expect("it is as ordered");
        let key = self.client.place_order(quote, self.now).expect("there is room");
        self.turn();
        key
    }

    fn pays(&mut self, key: OrderKey) -> PaymentHash {
        self.client.pay_order(key, PaymentMethod::Bolt11, self.now).expect("in time");
        self.turn();
        let [Effect::PayOrder { option, .. }] = &self.effects[..] else { panic!("{:?}", self.effects) };
        let PaymentInstructions::Invoice { payment_hash, .. } = option.instructions else { panic!("by invoice") };
        self.effects.clear();
        payment_hash
    }

    fn arrives(&mut self, payment_hash: PaymentHash) {
        let claim_before = Some(BlockHeight(801_000));
        let (by, id, claimable, preimage) = (PaidBy::Invoice, None, true, None);
        let held = HeldPayment { by, payment_hash, id, claimable, preimage, amount: TOTAL, claim_before };
        self.lsp.feed(Input::PaymentHeld(held));
    }

    /// The LSP requests the channel as its node was told to, and the wallet accepts it.
    fn opens(&mut self, order: OrderKey) -> lsps_service::ChannelKey {
        let acts = self.lsp.acts();
        let asked = acts.iter().rev().find_map(|act| match act {
            Act::Open { key, terms, .. } => Some((*key, *terms)),
            _ => None,
        });
        let (key, terms) = asked.expect("the LSP opens");
        let request = OpenRequest {
            lsp: lsp(),
            key: lsps_client::ChannelKey(7),
            announced: terms.announce,
            scid_alias: true,
            zero_conf: false,
            funding: Sat(terms.capacity_sat),
            pushed: terms.push,
        };
        self.client.open_requested(&request, self.now).expect("it is as ordered");
        self.turn();
        assert!(self.effects.iter().any(|effect| matches!(effect, Effect::AcceptChannel { .. })));
        let funded = self.client.channel_funded(lsps_client::ChannelKey(7), outpoint(key), self.now);
        assert_eq!(funded, Handled::Taken);
        assert!(self.client.order(order).unwrap().channel().is_some_and(|channel| channel.pending));
        self.turn();
        self.lsp.accepts_channel(key, None);
        key
    }

    fn paying(&self, key: OrderKey, is: impl Fn(&lsps_client::order::Paying) -> bool) -> bool {
        self.client.order(key).and_then(|order| order.paying()).is_some_and(is)
    }

    fn turn(&mut self) {
        loop {
            self.client.tick(self.now);
            let batch = self.client.drain();
            if batch.is_empty() {
                return;
            }
            for (name, bytes) in batch.records() {
                match bytes {
                    Some(bytes) => drop(self.store.insert(name.to_string(), bytes.to_vec())),
                    None => drop(self.store.remove(&name.to_string())),
                }
            }
            let Released { messages, effects, .. } = batch.written();
            self.effects.extend(effects);
            for (_, payload) in messages {
                for reply in self.lsp.receives(wallet(), &payload) {
                    self.client.receive(lsp(), &reply);
                }
            }
        }
    }

    fn passes(&mut self, span: Duration) {
        let end = self.now + span;
        self.turn();
        while let Some((at, _)) = self.client.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.lsp.wait_until(self.now);
            self.turn();
        }
        self.now = end;
        self.lsp.wait_until(end);
        self.turn();
    }
}

/// Reads the invoices and offers that [`Lsp`] writes; each is over the order's total.
struct Facts;

impl ReadInvoices for Facts {
    fn bolt11(&self, invoice: &str, _: Network) -> Option<PaymentFacts> {
        let payment_hash = invoice.strip_prefix("invoice ")?.parse().ok();
        Some(PaymentFacts { amount: Some(TOTAL), is_on_network: true, payee: None, expires_at: None, payment_hash })
    }

    fn bolt12(&self, _: &str, _: Network) -> Option<PaymentFacts> {
        Some(PaymentFacts {
            amount: Some(TOTAL),
            is_on_network: true,
            payee: None,
            expires_at: None,
            payment_hash: None,
        })
    }
}

fn client() -> Client {
    Client::new(Config::default(), [7; 32])
}

fn order() -> CreateOrder {
    let lsp_balance_sat = Sat(1_000_000);
    CreateOrder { lsp_balance_sat, client_balance_sat: BALANCE, required_channel_confirmations: 1, ..an_order() }
}

fn options() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 6,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(1_000_000),
        min_initial_lsp_balance_sat: Sat(20_000),
        max_initial_lsp_balance_sat: Sat(10_000_000),
        min_channel_balance_sat: Sat(20_000),
        max_channel_balance_sat: Sat(10_000_000),
    }
}

fn wallet() -> PeerId {
    peer(1)
}

fn lsp() -> PeerId {
    peer(2)
}
