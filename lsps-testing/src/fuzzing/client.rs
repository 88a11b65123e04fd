//! Script of a wallet's core: an LSP that sells, damages its answers or is silent, a node that reports arbitrary
//! events, clock changes and crashes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lsps_client::jit_receive::{
    FeeLimits, InvoiceParams, OpenRequest, Payment, Purchase, ReceiveRequest, Rules, choose, prepare,
};
use lsps_client::{ChannelKey, Client, Config, Input, Ticket, Turn, replay};
use lsps_types::lsps2::{Buy, GetInfo, Menu};
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{Msat, PaymentHash, PeerId, Preimage, Sat, Timestamp};

use crate::{Lsp, LspSetup, NOON, peer};

/// Plays a script against a wallet's core, and returns its purchases at the end.
///
/// Each byte is a step, and some steps read the bytes after it. No script may cause a panic; the tape of each run
/// replays, a restart restores the records, and deadlines that are due have ended after at most four turns.
///
/// # Panics
///
/// When one of these conditions does not hold.
#[must_use]
pub fn client_script(bytes: &[u8]) -> Vec<Purchase> {
    let (mut script, mut bytes) = (Script::new(), bytes.iter().copied());
    while let Some(step) = bytes.next() {
        script.plays(step, &mut bytes);
    }
    script.restarts();
    script.client.purchases().cloned().collect()
}

struct Script {
    client: Client,
    tape: Arc<Mutex<Vec<Turn>>>,
    store: BTreeMap<String, Vec<u8>>,
    lives: u8,
    now: Timestamp,
    lsp: Lsp,
    to_lsp: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    asked: Option<Ticket<GetInfo>>,
    menu: Option<Menu>,
    buying: Option<(Buy, Ticket<Buy>)>,
}

impl Script {
    fn new() -> Self {
        let (client, tape) = born(0);
        Self {
            client,
            tape,
            store: BTreeMap::new(),
            lives: 0,
            now: NOON,
            lsp: Lsp::at(NOON, LspSetup::default()),
            to_lsp: VecDeque::new(),
            to_client: VecDeque::new(),
            asked: None,
            menu: None,
            buying: None,
        }
    }

    fn plays(&mut self, step: u8, bytes: &mut impl Iterator<Item = u8>) {
        let mut next = || bytes.next().unwrap_or_default();
        match step % 20 {
            0 => {
                self.lsp.connects(WALLET);
                self.tells(Input::PeerConnected { peer: LSP });
            }
            1 => {
                self.lsp.disconnects(WALLET);
                self.tells(Input::PeerDisconnected { peer: LSP });
            }
            2 => self.asks(),
            3 => self.buys(),
            4 => self.registers(next()),
            5 => self.lsp_hears(),
            6 => self.hears(|_| ()),
            7 => {
                let (at, with) = (next(), next());
                self.hears(|payload| {
                    let at = usize::from(at) % payload.len().max(1);
                    payload.splice(at..(at + 1).min(payload.len()), [with]);
                });
            }
            8 => self.waits(Duration::from_secs(1 << (next() % 24))),
            9 => self.restarts(),
            10 => self.tells(open_request(next(), next())),
            11 | 12 => self.tells(of_channel(next())),
            13 | 14 => self.tells(of_payment(next(), next())),
            15 => self.tells(of_webhook(next())),
            16 => {
                self.tells(Input::ClockSet { from: self.now, to: self.now + Duration::from_secs(1 << (next() % 24)) })
            }
            17 => {
                let payload = (0..next()).map(|_| next()).collect();
                self.tells(Input::Message { peer: if step < 128 { LSP } else { peer(3) }, payload });
            }
            18 => {
                // Any input of a host, those of orders included, decoded as the tape encodes it.
                let record: Vec<u8> = (0..next()).map(|_| next()).collect();
                if let Ok(input) = postcard::from_bytes(&record) {
                    self.tells(input);
                }
            }
            _ => self.tells(Input::Tick),
        }
    }

    fn tells(&mut self, input: Input) {
        let _any = self.client.handle(&input, self.now);
        self.writes();
    }

    /// Writes the records to the store, then queues the messages.
    fn writes(&mut self) {
        let batch = self.client.drain();
        for (id, content) in batch.records() {
            match content {
                Some(content) => drop(self.store.insert(id.to_string(), content.to_vec())),
                None => drop(self.store.remove(&id.to_string())),
            }
        }
        self.to_lsp
            .extend(batch.written().messages.into_iter().filter(|(to, _)| *to == LSP).map(|(_, payload)| payload));
    }

    fn asks(&mut self) {
        self.asked = self.client.call(LSP, &GetInfo { token: None }, self.now).ok();
        self.writes();
    }

    fn buys(&mut self) {
        let menu = self.asked.as_ref().and_then(|ticket| self.client.take(ticket)).and_then(Result::ok);
        self.menu = menu.or(self.menu.take());
        let request = ReceiveRequest { payment: Payment::Fixed(AMOUNT), limits: FeeLimits::UNLIMITED, expiry: None };
        let Some(choice) = self.menu.as_ref().and_then(|menu| choose(menu, &request, &Rules::default(), self.now).ok())
        else {
            return;
        };
        let buy = choice.buy();
        self.buying = self.client.call(LSP, &buy, self.now).ok().map(|ticket| (buy, ticket));
        self.writes();
    }

    fn registers(&mut self, hash: u8) {
        let Some((buy, ticket)) = &self.buying else { return };
        let Some(Ok(bought)) = self.client.take(ticket) else { return };
        let params = InvoiceParams {
            normal_min_final_cltv_expiry_delta: 18,
            confirmations_to_wait: u16::from(hash >> 6),
            expiry: None,
            max_proportional_fee: None,
        };
        if let Ok(prepared) = prepare(LSP, buy, &bought, &params, &Rules::default(), self.now) {
            self.tells(Input::RegisterPurchase { prepared, payment_hash: payment_hash(hash) });
        }
    }

    fn lsp_hears(&mut self) {
        if let Some(payload) = self.to_lsp.pop_front() {
            self.to_client.extend(self.lsp.receives(WALLET, &payload));
        }
    }

    fn hears(&mut self, damaged: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut payload) = self.to_client.pop_front() {
            damaged(&mut payload);
            self.tells(Input::Message { peer: LSP, payload });
        }
    }

    /// Lets time pass for wallet and LSP, and checks that no deadline stays due.
    fn waits(&mut self, time: Duration) {
        self.now = self.now + time;
        self.lsp.wait_until(self.now);
        // After a long wait a purchase expires in one turn and is removed in a later one.
        let is_over = (0..4).any(|_| {
            self.tells(Input::Tick);
            self.client.next_wake().is_none_or(|(at, _)| at > self.now)
        });
        assert!(is_over, "{:?} is due again and again at {:?}", self.client.next_wake(), self.now);
    }

    /// Replays the tape, then restarts the core from its store.
    fn restarts(&mut self) {
        let turns = std::mem::take(&mut *self.tape.lock().unwrap_or_else(PoisonError::into_inner));
        let again = replay(&turns, |ids| Client::new(Config::default(), ids));
        drop(again.unwrap_or_else(|why| panic!("{why}")));
        let (purchases, orders): (Vec<_>, Vec<_>) =
            (self.client.purchases().cloned().collect(), self.client.orders().cloned().collect());

        self.lives = self.lives.wrapping_add(1);
        (self.client, self.tape) = born(self.lives);
        for (name, bytes) in &self.store {
            self.client.load(name, bytes).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        assert!(self.client.purchases().eq(&purchases), "the purchases on record");
        assert!(self.client.orders().eq(&orders), "the orders on record");
        self.lsp.disconnects(WALLET);
        (self.asked, self.buying) = (None, None);
        self.to_lsp.clear();
        self.to_client.clear();
        self.writes();
    }
}

/// A client whose request ids no earlier run used, and its tape.
fn born(life: u8) -> (Client, Arc<Mutex<Vec<Turn>>>) {
    let (mut client, tape) = (Client::new(Config::default(), [life; 32]), Arc::<Mutex<Vec<Turn>>>::default());
    let kept = Arc::clone(&tape);
    client.record_on(Box::new(move |turn| kept.lock().unwrap_or_else(PoisonError::into_inner).push(turn)));
    (client, tape)
}

fn open_request(key: u8, how: u8) -> Input {
    Input::ChannelRequested(OpenRequest {
        lsp: if how & 1 == 0 { LSP } else { peer(3) },
        key: channel(key),
        announced: how & 2 != 0,
        scid_alias: how & 4 == 0,
        zero_conf: how & 8 == 0,
        funding: Sat(200_000),
        pushed: Msat(u64::from(how >> 4)),
    })
}

fn of_channel(which: u8) -> Input {
    let key = channel(which);
    match which >> 6 {
        0 => Input::ChannelFunded { key, funding: None },
        1 => Input::ChannelEnded { key },
        2 => Input::ChannelConfirmed { key },
        _ => Input::ChannelWith { peer: LSP },
    }
}

fn of_payment(which: u8, kept: u8) -> Input {
    let (payment_hash, over) = (payment_hash(which), vec![channel(which >> 3)]);
    // Half of the skims equal the opening fee of the LSP.
    let skimmed = if kept < 128 { Msat(1_000_000) } else { Msat(u64::from(kept) << 16) };
    let received = Msat(AMOUNT.0.saturating_sub(skimmed.0));
    match which >> 6 {
        0 => Input::PaymentClaimed { payment_hash, received, skimmed, over },
        1 => Input::PaymentHeld { payment_hash, received, skimmed, preimage: Some(Preimage([which; 32])), over },
        2 => Input::HeldPaymentFailed { payment_hash },
        _ => Input::AbandonPurchase { payment_hash },
    }
}

fn of_webhook(which: u8) -> Input {
    let app = AppName::new(format!("app {}", which & 3)).expect("a short name");
    if which < 192 {
        let url = WebhookUrl::new(format!("https://push.test/{which}")).expect("a URL");
        Input::KeepWebhook { lsp: LSP, app, url }
    } else {
        Input::RemoveWebhook { lsp: LSP, app }
    }
}

fn payment_hash(number: u8) -> PaymentHash {
    PaymentHash([number & 3; 32])
}

fn channel(number: u8) -> ChannelKey {
    ChannelKey(u128::from(number & 3))
}

const WALLET: PeerId = PeerId([2; 33]);
const LSP: PeerId = PeerId([3; 33]);
const AMOUNT: Msat = Msat(40_000_000);
