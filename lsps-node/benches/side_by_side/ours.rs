//! Our LSP: the message handler of the LDK binding, the service, and a store.

use std::sync::Arc;

use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::CustomMessageReader;
use lightning::util::persist::KVStoreSync;
use lsps_node::store::MemoryStore;
use lsps_service::{Config, HeldHtlc, Input, NodeFacts, PartId, Record, Service, StandardPolicy};
use lsps_testing::{NOON, many};
use lsps_transport_ldk::{LspsMessageHandler, PeerEvent, PromiseKey, Role};
use lsps_types::jsonrpc::MESSAGE_TYPE;
use lsps_types::{Msat, PaymentHash, PeerId, Scid};

use crate::SIZE;
use crate::side::{Client, Side, fresh_scids, init, scid_of};
use crate::tally::Tally;

pub struct Ours {
    messages: Arc<LspsMessageHandler>,
    service: Service,
    store: Arc<Tally>,
}

impl Side for Ours {
    fn start(store: MemoryStore) -> Self {
        let key = PromiseKey::new([42; 32]);
        let policy = StandardPolicy::default();
        let mut service = Service::new(Config::default(), policy, fresh_scids(), key).expect("valid settings");
        for name in store.list(PRIMARY, SECONDARY).expect("a list") {
            let bytes = store.read(PRIMARY, SECONDARY, &name).expect("a record");
            service.load(&Record { name, bytes }).expect("it is ours");
        }
        let facts = NodeFacts { spendable_sat: u64::MAX, inbound: Msat(u64::MAX), ..NodeFacts::default() };
        let _ = service.handle(&Input::NodeFacts(facts), NOON);
        Self { messages: LspsMessageHandler::new(Role::Service), service, store: Arc::new(Tally::over(store)) }
    }

    fn offers(clients: &[Client]) -> MemoryStore {
        let sold = many::sold(SIZE);
        stored(clients.iter().enumerate().map(|(place, client)| many::copy(&sold, scid_of(place), client.id)))
    }

    fn channels(client: &Client, count: u32) -> MemoryStore {
        let paid = many::paid(SIZE);
        stored((0..count).map(|place| many::copy(&paid, Scid(u64::from(place + 1) << 40), client.id)))
    }

    fn connect(&mut self, clients: &[Client]) {
        clients.iter().for_each(|client| self.messages.peer_connected(client.key, &init(), true).expect("it may come"));
        for event in self.messages.take() {
            let PeerEvent::Connected(peer) = event else { panic!("a connection") };
            let _ = self.service.handle(&Input::PeerConnected { peer }, NOON);
        }
        self.settle();
    }

    fn receives(&mut self, client: &Client, message: &[u8]) -> Vec<u8> {
        let read = self.messages.read(MESSAGE_TYPE, &mut &*message).expect("it can be read").expect("it is ours");
        self.messages.handle_custom_message(read, client.key).expect("it is taken");
        for event in self.messages.take() {
            let PeerEvent::Message(peer, payload) = event else { panic!("a message") };
            let _ = self.service.handle(&Input::Message { peer, payload }, NOON);
        }
        let answers = self.settle();
        self.messages.send(answers);
        self.messages.get_and_clear_pending_msg().pop().expect("an answer").1.payload
    }

    fn part(&mut self, scid: Scid, name: [u8; 32], payment: [u8; 32]) {
        let (part, payment_hash, amount) = (PartId(name), PaymentHash(payment), Msat(SIZE.0 / 1_000));
        let _ = self.service.handle(
            &Input::HtlcHeld(HeldHtlc {
                part,
                scid,
                payment_hash,
                amount_in: amount,
                onion_amount: amount,
                cltv_expiry: None,
            }),
            NOON,
        );
        self.settle();
    }

    fn tick(&mut self) {
        let _ = self.service.handle(&Input::Tick, NOON);
        self.settle();
    }

    fn store(&self) -> &Arc<Tally> {
        &self.store
    }
}

impl Ours {
    fn settle(&mut self) -> Vec<(PeerId, Vec<u8>)> {
        let batch = self.service.drain();
        for (name, content) in batch.records() {
            let bytes = content.expect("nothing ends here").to_vec();
            self.store.write(PRIMARY, SECONDARY, &name.to_string(), bytes).expect("it is counted");
        }
        batch.written().messages
    }
}

fn stored(records: impl Iterator<Item = Record>) -> MemoryStore {
    let store = MemoryStore::new();
    for Record { name, bytes } in records {
        store.write(PRIMARY, SECONDARY, &name, bytes).expect("memory");
    }
    store
}

const PRIMARY: &str = "lsps";
const SECONDARY: &str = "service";
