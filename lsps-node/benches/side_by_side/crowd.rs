//! One flow among many: a notification to one of the clients with webhooks, and a step of one of the open orders.

use std::time::Duration;

use lightning::sign::{KeysManager, NodeSigner as _};
use lightning::util::persist::KVStoreSync as _;
use lsps_node::store::MemoryStore;
use lsps_service::{
    Config, Effect, HeldPayment, Input, MethodTerms, NodeFacts, OrderTerms, PaidBy, Prepared, Record, Released,
    Service, WakeReason, WebhookConfig,
};
use lsps_testing::{LspSetup, NOON, anything, many, peer};
use lsps_transport_ldk::PromiseKey;
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps5::{SetWebhook, signed_text};
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Sat, Timestamp};

use crate::clock::{median, per_piece};
use crate::report::{Report, micros, times};
use crate::serve::ID;
use crate::tally::Tally;

/// Measures our side only: `lightning-liquidity` signs a notification when it is told to, leaves the rest to its
/// operator, and serves no orders.
pub fn run(report: &mut Report) {
    let (mut rows, mut ratios) = (vec![], vec![]);
    for (cache, is_cold) in [("as it comes", false), ("nothing in the cache", true)] {
        let calls = in_turns([&mut Called::beside(100), &mut Called::beside(100_000)], is_cold);
        let unsigned = |clients| Called { signs: false, ..Called::beside(clients) };
        let unsigned = in_turns([&mut unsigned(100), &mut unsigned(100_000)], is_cold);
        let orders = in_turns([&mut Ordered::beside(10), &mut Ordered::beside(10_000)], is_cold);
        for (what, [few, many]) in [(CALL, calls), (UNSIGNED, unsigned), (ORDER, orders)] {
            rows.push(vec![format!("{what}; {cache}"), micros(few), micros(many), times(many / few)]);
            ratios.push(many / few);
        }
    }
    report.table("One among many", ABOUT, &["what", "beside few", "beside many", "many / few"], &rows);
    let [call, _, order, cold_call, _, cold_order] = ratios[..] else { panic!("six") };
    report.target("a notification with 100 000 clients", 1.2, call, "× with 100", HOLDS);
    report.target("the same, nothing in the cache", 1.2, cold_call, "× with 100", HOLDS_COLD);
    report.target("a payment for an order beside 10 000", 1.2, order, "× beside 10", HOLDS);
    report.target("the same, nothing in the cache", 1.2, cold_order, "× beside 10", HOLDS_COLD);
}

/// A crowd of flows on which the same operation is done one after another.
trait Crowd {
    /// Prepares the next sample.
    fn prepare(&mut self);
    /// Does the operation on `count` flows, each on its own, including the records to be written.
    fn work(&mut self, count: usize);
}

/// Takes samples of both crowds in turns, so that a disturbance affects both, and returns the median of each. With a
/// cold cache a sample is a single operation, because earlier ones would warm the cache for later ones, the more so in
/// the smaller crowd.
fn in_turns(mut crowds: [&mut dyn Crowd; 2], is_cold: bool) -> [f64; 2] {
    let (count, rounds) = if is_cold { (1, 10 * SAMPLES) } else { (AT_ONCE, SAMPLES) };
    let (mut samples, mut others) = ([vec![], vec![]], vec![1_u64; if is_cold { CACHE } else { 0 }]);
    for _ in 0..rounds {
        for (samples, crowd) in samples.iter_mut().zip(&mut crowds) {
            crowd.prepare();
            others.iter_mut().for_each(|other| *other = std::hint::black_box(*other + 1));
            samples.push(per_piece(count, || crowd.work(count)).0);
        }
    }
    samples.map(median)
}

/// A service whose clients have one webhook each, and are away.
struct Called {
    host: Host,
    clients: u32,
    next: u32,
    posts: Vec<Effect>,
    keys: KeysManager,
    signs: bool,
}

impl Called {
    fn beside(clients: u32) -> Self {
        let template = Self::template();
        let mut host = Self::host();
        for place in 0..clients {
            host.service.load(&many::copy_webhooks(&template, client(place))).expect("it is ours");
        }
        Self { host, clients, next: 0, posts: vec![], keys: KeysManager::new(&[7; 32], 0, 0, true), signs: true }
    }

    fn host() -> Host {
        Host::of(Config { webhooks: WebhookConfig { serve: true, ..WebhookConfig::default() }, ..Config::default() })
    }

    /// Record of a client whose webhook has received `lsps5.webhook_registered`.
    fn template() -> Record {
        let mut host = Self::host();
        let webhook = "https://push.example.org/wake?device=6f1ed002ab5595859014ebf0951522d9".into();
        host.asks(peer(1), &SetWebhook { app_name: "phone".into(), webhook });
        let released = host.settle();
        let [Effect::PostWebhook { key, .. }] = released.effects[..] else { panic!("one post") };
        let _ = host.service.handle(&Input::WebhookDelivered { key }, NOON);
        let batch = host.service.drain();
        let (name, bytes) = batch.records().next().expect("its record");
        Record { name: name.to_string(), bytes: bytes.expect("it is kept").to_vec() }
    }
}

impl Crowd for Called {
    /// All posts have been delivered, and clients that were called before may be called again.
    fn prepare(&mut self) {
        for post in self.posts.drain(..) {
            let Effect::PostWebhook { key, .. } = post else { continue };
            self.host.told(Input::WebhookDelivered { key });
        }
        self.host.now = self.host.now + Duration::from_secs(60 * 60);
        self.host.told(Input::Tick);
    }

    fn work(&mut self, count: usize) {
        for _ in 0..count {
            // The order of the clients is one that no cache can predict.
            let client = client(self.next.wrapping_mul(7_919) % self.clients);
            self.next += 1;
            let input = Input::WakeUp { peer: client, reason: WakeReason::PaymentIncoming };
            let _ = self.host.service.handle(&input, self.host.now);
            let released = self.host.settle();
            let [Effect::PostWebhook { body, timestamp, .. }] = &released.effects[..] else { panic!("one post") };
            if self.signs {
                let text = signed_text(timestamp.as_str(), body);
                std::hint::black_box(self.keys.sign_message(text.as_bytes())).expect("it has the key");
            }
            self.posts.extend(released.effects);
        }
    }
}

/// A service with one open order per client.
struct Ordered {
    host: Host,
    hashes: Vec<PaymentHash>,
    count: u32,
    next: usize,
}

impl Ordered {
    fn beside(count: u32) -> Self {
        let (host, hashes) = Self::open(count);
        Self { host, hashes, count, next: 0 }
    }

    fn open(count: u32) -> (Host, Vec<PaymentHash>) {
        let mut host = Host::of(Config::default());
        let hashes = (0..count).map(|place| host.makes_order(client(place))).collect();
        (host, hashes)
    }
}

impl Crowd for Ordered {
    /// An order is paid once. When all orders of a small crowd are used up, new ones are made.
    fn prepare(&mut self) {
        if self.next + AT_ONCE > self.hashes.len() {
            (self.host, self.hashes) = Self::open(self.count);
            self.next = 0;
        }
    }

    fn work(&mut self, count: usize) {
        for _ in 0..count {
            let place = self.next.wrapping_mul(7_919) % self.hashes.len();
            self.next += 1;
            let held = HeldPayment {
                by: PaidBy::Invoice,
                payment_hash: self.hashes[place],
                id: None,
                claimable: true,
                preimage: None,
                amount: Msat(108_888_000),
                claim_before: Some(BlockHeight(1_000_000)),
            };
            let _ = self.host.service.handle(&Input::PaymentHeld(held), NOON);
            let released = self.host.settle();
            assert!(matches!(released.effects[..], [Effect::OpenChannel { .. }]), "it is opened");
        }
    }
}

struct Host {
    service: Service,
    now: Timestamp,
    store: Tally,
}

impl Host {
    fn of(config: Config) -> Self {
        let setup = LspSetup { orders: Some((anything(), terms())), ..LspSetup::default() };
        let key = PromiseKey::new([42; 32]);
        let mut service = Service::new(config, setup, || lsps_types::Scid(7), key).expect("valid settings");
        let facts = NodeFacts { spendable_sat: u64::MAX, inbound: Msat(u64::MAX), ..NodeFacts::default() };
        let _ = service.handle(&Input::NodeFacts(facts), NOON);
        Self { service, now: NOON, store: Tally::over(MemoryStore::new()) }
    }

    fn told(&mut self, input: Input) -> Released {
        let _ = self.service.handle(&input, self.now);
        self.settle()
    }

    fn asks<R: lsps_types::Request>(&mut self, client: PeerId, request: &R) {
        let payload = encode_request(ID, request).expect("a short request");
        let _ = self.service.handle(&Input::Message { peer: client, payload }, self.now);
    }

    fn settle(&mut self) -> Released {
        let batch = self.service.drain();
        for (name, content) in batch.records() {
            let bytes = content.expect("nothing ends here").to_vec();
            self.store.write("lsps", "service", &name.to_string(), bytes).expect("it is counted");
        }
        batch.written()
    }

    /// Makes an order and returns the payment hash of its invoice.
    fn makes_order(&mut self, client: PeerId) -> PaymentHash {
        self.told(Input::PeerConnected { peer: client });
        self.asks(client, &order());
        let released = self.settle();
        let [Effect::PrepareOrder { order, invoice: Some((hash, _)), .. }] = released.effects[..] else {
            panic!("an invoice is wanted: {:?}", released.effects)
        };
        let invoice = Some(format!("invoice {hash}"));
        self.told(Input::OrderPrepared { order, prepared: Prepared { invoice, ..Prepared::default() } });
        hash
    }
}

fn client(place: u32) -> PeerId {
    let mut client = [2; 33];
    client[1..5].copy_from_slice(&place.to_be_bytes());
    PeerId(client)
}

fn order() -> CreateOrder {
    CreateOrder { client_balance_sat: Sat(100_000), channel_expiry_blocks: 4_320, ..lsps_testing::an_order() }
}

fn terms() -> OrderTerms {
    let way = MethodTerms { fee: Sat(8_888), expires_at: NOON + Duration::from_secs(3_600) };
    OrderTerms { bolt11: Some(way), bolt12: None, onchain: None, remember_until: None }
}

const SAMPLES: usize = 51;
/// Operations per sample; at most the number of orders in the smaller crowd.
const AT_ONCE: usize = 10;
/// Number of words of eight bytes that displace everything else from the caches of most machines.
const CACHE: usize = 8 << 20;

const CALL: &str = "a notification to one of 100 or 100 000 clients: raised, written, signed";
const UNSIGNED: &str = "of that, what the service does";
const ORDER: &str = "the payment for one of 10 or 10 000 open orders, with its write";
const ABOUT: &str = "A client that is away is called by its one webhook; an order is paid, and its channel is to be opened. \
Samples of both sizes in turns. Ours alone.";
const HOLDS: &str = "the cache: few stay in it and many do not, as the row below shows";
const HOLDS_COLD: &str = "the depth of the maps";
