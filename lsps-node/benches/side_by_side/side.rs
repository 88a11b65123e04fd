//! Operations that both sides are measured with, from the bytes of a message to the bytes of its answer.

use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::msgs::Init;
use lightning::types::features::InitFeatures;
use lsps_node::store::MemoryStore;
use lsps_types::{PeerId, Scid};

use crate::tally::Tally;

/// An LSP that can be measured.
pub trait Side: Sized {
    /// Starts an LSP on a store with records.
    fn start(store: MemoryStore) -> Self;
    /// Records of offers that wait for their payment, one for each client.
    fn offers(clients: &[Client]) -> MemoryStore;
    /// Records of one client that has channels, each of which was paid for.
    fn channels(client: &Client, count: u32) -> MemoryStore;
    /// Connects these clients.
    fn connect(&mut self, clients: &[Client]);
    /// Answers a request of a connected client after writing its records.
    fn receives(&mut self, client: &Client, message: &[u8]) -> Vec<u8>;
    /// Takes in one part of a payment that stays incomplete, and writes its records.
    fn part(&mut self, scid: Scid, name: [u8; 32], payment: [u8; 32]);
    /// Handles the passing of time.
    fn tick(&mut self);
    fn store(&self) -> &Arc<Tally>;
}

/// A peer, with its id on both sides.
#[derive(Clone, Copy)]
pub struct Client {
    pub key: PublicKey,
    pub id: PeerId,
}

/// The message with which a peer begins.
pub fn init() -> Init {
    Init { features: InitFeatures::empty(), networks: None, remote_network_address: None }
}

/// Returns this many different clients.
pub fn clients(count: u32) -> Vec<Client> {
    let curve = Secp256k1::new();
    let client = |number: u32| {
        let mut secret = [1; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        let key = SecretKey::from_slice(&secret).expect("a key").public_key(&curve);
        Client { key, id: PeerId(key.serialize()) }
    };
    (0..count).map(client).collect()
}

/// SCID of the offer of the client with this index.
pub fn scid_of(place: usize) -> Scid {
    Scid((u64::try_from(place).expect("a small number") + 1) << 40)
}

/// Source of the SCIDs of new offers, above those of the existing offers.
pub fn fresh_scids() -> impl FnMut() -> Scid + Send + 'static {
    let mut last = 1 << 62;
    move || {
        last += 1 << 16;
        Scid(last)
    }
}
