//! A crowd of strangers and its messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::msgs::Init;
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lightning::types::features::InitFeatures;
use lsps_testing::scene::LspNode;
use lsps_transport_ldk::{LspsMessage, LspsMessageHandler};
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps2::{Buy, GetInfo, PromiseKey, Unpromised};
use lsps_types::lsps5::SetWebhook;
use lsps_types::{DateTime, Msat, PeerId, Ppm, Sat};

/// Attack that all strangers make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    Nothing,
    Buys,
    Menus,
    LongMenus,
    Hooks,
    Flaps,
    Orders,
}

/// Strangers that attack the LSP.
pub struct Crowd {
    messages: Arc<LspsMessageHandler>,
    ids: Vec<PublicKey>,
    buys: Vec<Buy>,
    junk: Vec<u8>,
}

impl Crowd {
    /// Connects all strangers.
    pub fn of(messages: &Arc<LspsMessageHandler>) -> Self {
        let ids: Vec<PublicKey> = (0..STRANGERS).map(stranger).collect();
        let buys = ids.iter().map(|id| buy(*id)).collect();
        let names = "n".repeat(64_800);
        let junk = format!(r#"{{"jsonrpc":"2.0","method":"lsps2.get_info","id":"a","params":{{"{names}":0}}}}"#);
        ids.iter().for_each(|id| comes(messages, *id));
        Self { messages: Arc::clone(messages), ids, buys, junk: junk.into_bytes() }
    }

    /// Attacks until `stop` is set, and returns the number of messages sent.
    #[allow(clippy::disallowed_methods, reason = "a bench runs on the wall clock")]
    pub fn attacks(&self, attack: Attack, stop: &AtomicBool) -> u64 {
        let mut sent = 0;
        for round in 0_u64.. {
            for (number, id) in self.ids.iter().enumerate() {
                if stop.load(Ordering::SeqCst) {
                    return sent;
                }
                sent += self.acts(attack, round, number, *id);
            }
            match attack {
                Attack::Nothing | Attack::Buys | Attack::Orders => std::thread::sleep(Duration::from_secs(1)),
                Attack::Menus | Attack::LongMenus | Attack::Hooks | Attack::Flaps => std::thread::yield_now(),
            }
        }
        sent
    }

    fn acts(&self, attack: Attack, round: u64, number: usize, id: PublicKey) -> u64 {
        let name = |nth: u64| format!("{round}-{nth}");
        match attack {
            Attack::Nothing => 0,
            Attack::Buys => {
                let buy = |nth| encode_request(&name(nth), &self.buys[number]).expect("short");
                self.send(id, (0..20).map(buy))
            }
            Attack::Menus => {
                self.send(id, [encode_request(&name(0), &GetInfo { token: None }).expect("short")].into_iter())
            }
            Attack::LongMenus => self.send(id, [self.junk.clone()].into_iter()),
            Attack::Hooks => {
                // Half of the URLs are at four hosts, the others at names of one domain.
                let host = if number.is_multiple_of(2) {
                    format!("slow{}.test", number % 8)
                } else {
                    format!("h{number}.slow.test")
                };
                let set =
                    SetWebhook { app_name: format!("app{}", round % 2), webhook: format!("https://{host}/{round}") };
                self.send(id, [encode_request(&name(0), &set).expect("short")].into_iter())
            }
            Attack::Flaps => {
                comes(&self.messages, id);
                let sent = self.send(id, (0..64).map(|_| self.junk.clone()));
                self.messages.peer_disconnected(id);
                sent
            }
            Attack::Orders => {
                let order = CreateOrder {
                    lsp_balance_sat: Sat(500_000),
                    channel_expiry_blocks: 4_320,
                    ..lsps_testing::an_order()
                };
                self.send(id, (0..5).map(|nth| encode_request(&name(nth), &order).expect("short")))
            }
        }
    }

    fn send(&self, id: PublicKey, payloads: impl Iterator<Item = Vec<u8>>) -> u64 {
        payloads.map(|payload| hears(&self.messages, id, payload)).map(|()| 1).sum()
    }
}

/// Connects a peer.
pub fn comes(messages: &LspsMessageHandler, peer: PublicKey) {
    let init = Init { features: InitFeatures::empty(), networks: None, remote_network_address: None };
    messages.peer_connected(peer, &init, true).expect("all are welcome");
}

/// Delivers a message of a peer.
pub fn hears(messages: &LspsMessageHandler, peer: PublicKey, payload: Vec<u8>) {
    messages.handle_custom_message(LspsMessage { payload }, peer).expect("it is queued or dropped");
}

/// Node ID of a stranger; there are as many as anybody wants.
pub fn stranger(number: usize) -> PublicKey {
    let mut secret = [1; 32];
    secret[24..].copy_from_slice(&u64::try_from(number + 1).expect("few").to_be_bytes());
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&secret).expect("a key"))
}

/// A purchase on terms that the LSP of a scene offered.
pub fn buy(client: PublicKey) -> Buy {
    buy_with(&LspNode::promise_key(), PeerId(client.serialize()))
}

/// A purchase on terms that were promised with this key.
pub fn buy_with(key: &PromiseKey, client: PeerId) -> Buy {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = u64::try_from(since_epoch.as_millis()).expect("before the end");
    let terms = Unpromised {
        min_fee_msat: Msat(1_000),
        proportional: Ppm(1_000),
        valid_until: DateTime::from(lsps_types::Timestamp::from_unix_millis(now) + Duration::from_secs(3_600)),
        min_lifetime: 144,
        max_client_to_self_delay: 2016,
        min_payment_size_msat: Msat(1),
        max_payment_size_msat: Msat(1_000_000_000),
    };
    let opening_fee_params = key.issue(terms, client, None).expect("valid terms");
    Buy { opening_fee_params, payment_size_msat: None }
}

const STRANGERS: usize = 1_000;
