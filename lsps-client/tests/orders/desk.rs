//! A wallet that orders channels, its LSP and its store, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_client::jit_receive::{FeeLimits, Handled, OpenRequest};
use lsps_client::order::{
    CheckedRequest, Event, LspOptions, Order, OrderKey, OrderRequest, PaymentMethod, Quote, Rules, State,
};
use lsps_client::{Client, Config, Effect, Notice, Released};
use lsps_types::jsonrpc::{Incoming, encode_reply};
use lsps_types::lsps1::{
    Bolt11Payment, Bolt12Payment, Channel, Confirmation, CreateOrder, GetOrder, LightningState, OnchainPayment,
    OnchainState, Options, Order as Reply, OrderId, OrderState, Payment, PaymentFacts, ReadInvoices,
};
use lsps_types::{Address, DateTime, Msat, Network, OutPoint, PaymentHash, PeerId, Sat, Timestamp, Txid};

use crate::common::{DAY, HOUR, Kept, LSP, NOON, OTHER_LSP, answer_in_text, open_request};

pub const ADDRESS: &str = "bcrt1q9e7jcqaf2pawye0v7k6n26y955ee8gszrwzkyg";
/// Fee over Lightning; the tests have a lower one on-chain.
pub const LIGHTNING_FEE: Sat = Sat(90);
pub const CHAIN_FEE: Sat = Sat(80);
pub const BALANCE: Sat = Sat(500);
pub const HASH: PaymentHash = PaymentHash([5; 32]);

pub fn options() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 6,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: Sat(10),
        max_initial_client_balance_sat: Sat(1_000_000),
        min_initial_lsp_balance_sat: Sat(20),
        max_initial_lsp_balance_sat: Sat(100_000_000),
        min_channel_balance_sat: Sat(100),
        max_channel_balance_sat: Sat(100_000_000),
    }
}

pub fn order() -> CreateOrder {
    CreateOrder {
        lsp_balance_sat: Sat(2_000),
        client_balance_sat: BALANCE,
        required_channel_confirmations: 1,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        refund_onchain_address: Some(address()),
        announce_channel: false,
    }
}

pub fn address() -> Address {
    ADDRESS.parse().expect("an address")
}

pub fn request(order: CreateOrder) -> OrderRequest {
    let (limits, rules) = (FeeLimits::UNLIMITED, Rules::default());
    OrderRequest { order, limits, network: Network::Regtest, large_channels: false, rules }
}

pub fn checked(request: OrderRequest) -> CheckedRequest {
    let least = options().min_initial_client_balance_sat.min(request.order.client_balance_sat);
    let options = Options { min_initial_client_balance_sat: least, ..options() };
    LspOptions { lsp: LSP, options }.check(request).expect("it is within the options")
}

/// The LSP's reply to `create_order`.
pub fn made(id: &str, ordered: &CreateOrder) -> Reply {
    let (expires_at, total) = (DateTime::from(NOON + HOUR), Sat(LIGHTNING_FEE.0 + ordered.client_balance_sat.0));
    let (fee_total_sat, order_total_sat) = (LIGHTNING_FEE, total);
    let payment = Payment {
        bolt11: Some(Bolt11Payment {
            state: LightningState::ExpectPayment,
            expires_at: expires_at.clone(),
            fee_total_sat,
            order_total_sat,
            invoice: invoice(total, HASH, LSP),
        }),
        bolt12: Some(Bolt12Payment {
            state: LightningState::ExpectPayment,
            expires_at,
            fee_total_sat,
            order_total_sat,
            offer: invoice(total, HASH, LSP),
        }),
        onchain: ordered.refund_onchain_address.as_ref().map(|refund| OnchainPayment {
            state: OnchainState::ExpectPayment,
            expires_at: DateTime::from(NOON + DAY),
            fee_total_sat: CHAIN_FEE,
            order_total_sat: Sat(CHAIN_FEE.0 + ordered.client_balance_sat.0),
            address: ADDRESS.into(),
            confirmation: Confirmation::AtOnce { above: None },
            refund_onchain_address: Some(refund.as_str().into()),
        }),
        has_others: false,
    };
    Reply {
        order_id: OrderId::try_from(id.to_string()).expect("short"),
        lsp_balance_sat: ordered.lsp_balance_sat,
        client_balance_sat: ordered.client_balance_sat,
        required_channel_confirmations: ordered.required_channel_confirmations,
        funding_confirms_within_blocks: ordered.funding_confirms_within_blocks,
        channel_expiry_blocks: ordered.channel_expiry_blocks,
        token: ordered.token.clone().unwrap_or_default(),
        created_at: DateTime::from(NOON),
        announce_channel: ordered.announce_channel,
        order_state: OrderState::Created,
        payment,
        channel: None,
    }
}

pub fn completed(reply: &Reply) -> Reply {
    let channel = Channel {
        funded_at: DateTime::from(NOON + HOUR / 2),
        funding_outpoint: OUTPOINT,
        expires_at: DateTime::from(NOON + DAY * 30),
    };
    Reply { order_state: OrderState::Completed, channel: Some(channel), ..reply.clone() }
}

pub fn failed(reply: &Reply) -> Reply {
    Reply { order_state: OrderState::Failed, ..reply.clone() }
}

pub fn with_states(reply: &Reply, lightning: LightningState, onchain: OnchainState) -> Reply {
    let mut reply = reply.clone();
    reply.payment.bolt11.iter_mut().for_each(|way| way.state = lightning);
    reply.payment.bolt12.iter_mut().for_each(|way| way.state = lightning);
    reply.payment.onchain.iter_mut().for_each(|way| way.state = onchain);
    reply
}

/// Invoices and offers in these tests consist of the facts that they are parsed into.
pub fn invoice(total: Sat, hash: PaymentHash, payee: PeerId) -> String {
    format!("{}:{hash}:{payee}", total.0 * 1_000)
}

pub struct Facts;

impl ReadInvoices for Facts {
    fn bolt11(&self, invoice: &str, _: Network) -> Option<PaymentFacts> {
        let mut parts = invoice.split(':');
        let amount = parts.next()?.parse().ok().map(Msat);
        let payment_hash = parts.next()?.parse().ok();
        let payee = parts.next()?.parse().ok();
        Some(PaymentFacts { amount, is_on_network: true, payee, expires_at: None, payment_hash })
    }

    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
        Some(PaymentFacts { payment_hash: None, ..self.bolt11(offer, network)? })
    }
}

/// How the LSP answers `get_order`.
#[derive(Clone, Debug)]
pub enum Manner {
    Tells(Box<Reply>),
    /// One reply per order, found by the order's ID.
    TellsEach(Vec<Reply>),
    /// A result or an error in words of our own.
    Says(&'static str, &'static str),
    Silent,
}

pub struct Desk {
    pub client: Client,
    pub now: Timestamp,
    pub store: BTreeMap<String, Vec<u8>>,
    pub lsp: Manner,
    pub effects: Vec<Effect>,
    pub events: Vec<Event>,
    /// Times at which the LSP was asked about an order.
    pub asked: Vec<Timestamp>,
    /// Whether the test host broadcasts signed transactions as a real host does. Otherwise the test does.
    pub broadcasts: bool,
    /// Request that was not answered.
    open: Option<(PeerId, Vec<u8>)>,
    config: Config,
    /// Tape of the client since the last restart.
    pub tape: Kept,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let (effects, events, asked, store) = Default::default();
        let tape = Kept::new(config.clone());
        let mut client = Client::new(config.clone(), [7; 32]);
        let copy = tape.copy();
        client.record_on(Box::new(tape));
        let mut desk = Self {
            client,
            now: NOON,
            store,
            lsp: Manner::Silent,
            effects,
            events,
            asked,
            broadcasts: true,
            open: None,
            config,
            tape: copy,
        };
        desk.connects();
        desk
    }

    pub fn connects(&mut self) {
        self.client.peer_connected(LSP);
        self.client.peer_connected(OTHER_LSP);
    }

    /// Places an order without paying it.
    pub fn places(&mut self, ordered: &CreateOrder) -> OrderKey {
        self.places_quote(quote(ordered))
    }

    pub fn places_quote(&mut self, quote: Quote) -> OrderKey {
        let key = self.client.place_order(quote, self.now).expect("there is room");
        self.turn();
        key
    }

    /// Places an order and pays it. The LSP reports the order as it was made.
    pub fn pays(&mut self, method: PaymentMethod) -> OrderKey {
        let key = self.places(&order());
        self.lsp = Manner::Tells(Box::new(made("a1", &order())));
        self.client.pay_order(key, method, self.now).expect("it can be paid so");
        self.turn();
        self.effects.clear();
        key
    }

    pub fn tells(&mut self, reply: Reply) {
        self.lsp = Manner::Tells(Box::new(reply));
    }

    /// Executes effects until none is left.
    pub fn turn(&mut self) {
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
            let Released { messages, mut effects, notices } = batch.written();
            effects.retain(|effect| match effect {
                Effect::BroadcastPayment { order, .. } if self.broadcasts => {
                    self.client.broadcasts_payment(*order, self.now)
                }
                _ => true,
            });
            self.effects.extend(effects);
            self.events.extend(notices.into_iter().filter_map(|notice| match notice {
                Notice::Order(_, event) => Some(event),
                _ => None,
            }));
            for (lsp, question) in messages {
                self.answers(lsp, &question);
            }
        }
    }

    fn answers(&mut self, lsp: PeerId, question: &[u8]) {
        self.asked.push(self.now);
        let id = Incoming::decode(question).expect("a request").id().clone();
        match &self.lsp {
            Manner::Tells(reply) => drop(self.client.receive(lsp, &encode_reply::<GetOrder>(&id, reply))),
            Manner::TellsEach(replies) => {
                let asked: GetOrder = Incoming::decode(question).expect("a request").params().expect("an order");
                let of = |reply: &&Reply| reply.order_id.as_str() == asked.order_id;
                let reply = replies.iter().find(of).expect("it is told of");
                let _ = self.client.receive(lsp, &encode_reply::<GetOrder>(&id, reply));
            }
            Manner::Says(member, text) => drop(self.client.receive(lsp, &answer_in_text(question, member, text))),
            Manner::Silent => self.open = Some((lsp, question.to_vec())),
        }
    }

    /// The LSP opens a channel exactly as ordered, funded by [`OUTPOINT`].
    pub fn has_channel(&mut self) {
        self.opens(open_as_ordered(77), OUTPOINT);
    }

    pub fn opens(&mut self, request: OpenRequest, funding: OutPoint) {
        self.client.open_requested(&request, self.now).expect("it is as ordered");
        self.turn();
        self.effects.retain(|effect| !matches!(effect, Effect::AcceptChannel { .. }));
        assert_eq!(self.client.channel_funded(request.key, funding, self.now), Handled::Taken);
        self.turn();
    }

    /// Delivers the answer that the LSP should have given when it was silent.
    pub fn answers_late(&mut self, reply: &Reply) {
        let (lsp, question) = self.open.take().expect("a question is open");
        let id = Incoming::decode(&question).expect("a request").id().clone();
        let _ = self.client.receive(lsp, &encode_reply::<GetOrder>(&id, reply));
    }

    pub fn passes(&mut self, span: Duration) {
        let end = self.now + span;
        self.turn();
        while let Some((at, _)) = self.client.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// The process dies, and starts again from its records.
    pub fn restarts(&mut self) {
        let tape = Kept::new(self.config.clone());
        self.client = Client::new(self.config.clone(), [8; 32]);
        self.tape = tape.copy();
        self.client.record_on(Box::new(tape));
        for (name, bytes) in &self.store {
            self.client.load(name, bytes).expect("we wrote it");
        }
        self.effects.clear();
        self.connects();
        self.turn();
    }

    pub fn order(&self, key: OrderKey) -> &Order {
        self.client.order(key).expect("it is on record")
    }

    pub fn state(&self, key: OrderKey) -> &State {
        self.order(key).state()
    }

    /// Effects that the host got since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.turn();
        std::mem::take(&mut self.effects)
    }
}

pub fn quote(ordered: &CreateOrder) -> Quote {
    checked(request(ordered.clone())).verify(&made("a1", ordered), &Facts, NOON).expect("nothing is wrong with it")
}

pub fn open_as_ordered(key: u128) -> OpenRequest {
    OpenRequest { zero_conf: false, funding: Sat(2_500), pushed: Msat(500_000), ..open_request(key) }
}

pub const OUTPOINT: OutPoint = OutPoint { txid: Txid([4; 32]), index: 1 };
