//! The service or the inbox alone: the memory that they use for a crowd, the clients that still have room, and the cost of
//! one more.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lsps_service::{ChannelEnd, ChannelKey, Config, FlowId, HeldHtlc, Input, NodeFacts, PartId, Service};
use lsps_testing::scene::Error;
use lsps_testing::{Lsp, LspSetup, NOON, buys};
use lsps_transport_ldk::{LspsMessageHandler, Role};
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps2::{GetInfo, PromiseKey};
use lsps_types::lsps5::SetWebhook;
use lsps_types::{Msat, Network, PaymentHash, PeerId, Request, Scid, Timestamp};

use crate::Figures;
use crate::attack::{comes, stranger};

/// X59: 200 000 strangers register a webhook each, as fast as the LSP serves strangers.
pub fn hooks() -> Result<Figures, Error> {
    let mut config = Config::default();
    config.webhooks.serve = true;
    let mut lsp = Alone::of(config, LspSetup::default());
    let mut kept = 0;
    let taken = measure(|| {
        kept = (0..200_000)
            .filter(|number| {
                lsp.now = lsp.now + Duration::from_millis(10);
                let set = lsp.sets_hook(peer(*number));
                lsp.told(Input::PeerDisconnected { peer: peer(*number) });
                set
            })
            .count();
    });
    let customer = peer(1_000_000);
    lsp.told(Input::ChannelsWith { peer: customer, any: true });
    if !lsp.sets_hook(customer) {
        return Err("a client with a channel has no room".into());
    }
    Ok(figures(taken.bytes_max, taken.bytes_current, format!("{kept} registered; then a client with a channel")))
}

/// X60: 2 500 strangers send four requests each that are decided elsewhere, with the longest token that is kept and
/// with one of 65 kB.
pub fn tokens() -> Result<Figures, Error> {
    let mut lsp = Alone::of(Config::default(), LspSetup { elsewhere: true, ..LspSetup::default() });
    let customer = peer(1_000_000);
    lsp.told(Input::ChannelsWith { peer: customer, any: true });
    let mut questions = 0;
    let taken = measure(|| {
        for (number, length) in (0..2_500).flat_map(|number| [200, 65_000, 200, 65_000].map(|length| (number, length)))
        {
            questions += lsp.asks(peer(number), &GetInfo { token: Some("t".repeat(length)) });
        }
    });
    if lsp.asks(customer, &GetInfo { token: None }) != 1 {
        return Err("nobody is asked about a client with a channel".into());
    }
    Ok(figures(
        taken.bytes_max,
        taken.bytes_current,
        format!("{questions} questions kept; then one of a client with a channel"),
    ))
}

/// X64: a client refuses each open of the channel that it bought, for one payment after the other.
pub fn refused_opens() -> Result<Figures, Error> {
    let (client, size) = (peer(1), Msat(1_000_000_000));
    let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![Scid(7)], ..LspSetup::default() });
    let scid = buys(&mut lsp, client, Some(size)).jit_channel_scid;
    lsp.connects(client);
    let (mut refused, mut longest) = (0, 0);
    let taken = measure(|| {
        for number in 1..=2_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            lsp.htlc(HeldHtlc {
                part: PartId(id),
                scid,
                payment_hash: PaymentHash(id),
                amount_in: size,
                onion_amount: size,
                cltv_expiry: None,
            });
            lsp.channel_ends(ChannelKey { flow: FlowId::JitChannel(scid), attempt: number }, ChannelEnd::Rejected);
            refused += lsp.acts().iter().filter(|act| matches!(act, lsps_testing::Act::Open { .. })).count();
            longest = lsp.records().values().map(Vec::len).max().unwrap_or_default().max(longest);
        }
    });
    let entries = lsp.book().count();
    if refused != 2_000 || entries > 0 {
        return Err(format!("{refused} opens, {entries} entries in the book").into());
    }
    let about = format!("no entry in the book; the record has at most {longest} B");
    Ok(figures(taken.bytes_max, taken.bytes_current, about))
}

/// X65: 4 000 peers that come and go, beside 40.
pub fn moves() -> Result<Figures, Error> {
    let ids: Vec<PublicKey> = (0..4_000).map(stranger).collect();
    let (few, many) = (time_of_moves(&ids[..40]), time_of_moves(&ids));
    // Were the cost of a move proportional to the number of peers, it would be a hundredfold.
    if many > 50 * few {
        return Err(format!("one move takes {many:?} beside 4 000 peers, {few:?} beside 40").into());
    }
    let (few, many) = (few.as_nanos(), many.as_nanos());
    Ok(Figures { about: format!("one move takes {many} ns; beside 40 peers {few} ns"), ..Figures::default() })
}

/// Time for one peer to come or to go, of all that do so in turn.
#[allow(clippy::disallowed_methods, reason = "a bench runs on the wall clock")]
fn time_of_moves(ids: &[PublicKey]) -> Duration {
    let handler = LspsMessageHandler::new(Role::Service);
    let rounds = 400_000 / (2 * ids.len());
    let begun = Instant::now();
    for _ in 0..rounds {
        ids.iter().for_each(|id| comes(&handler, *id));
        drop(handler.take());
        ids.iter().for_each(|id| handler.peer_disconnected(*id));
    }
    begun.elapsed() / 400_000
}

#[expect(clippy::cast_precision_loss, reason = "statistics")]
fn figures(most: u64, at_last: i64, about: String) -> Figures {
    let about = format!("{about}; {:.1} MB at last", at_last as f64 / 1e6);
    Figures { grown_mb: most as f64 / 1e6, about, ..Figures::default() }
}

struct Alone {
    service: Service,
    now: Timestamp,
}

impl Alone {
    fn of(mut config: Config, setup: LspSetup) -> Self {
        config.orders.network = Some(Network::Bitcoin);
        let key = PromiseKey::new([42; 32]);
        let service = Service::new(config, setup, || lsps_types::Scid(7), key).expect("valid settings");
        let mut lsp = Self { service, now: NOON };
        lsp.told(Input::NodeFacts(NodeFacts::default()));
        lsp
    }

    fn told(&mut self, input: Input) {
        let _ = self.service.handle(&input, self.now);
        drop(self.service.drain().written());
    }

    /// Whether the registration is accepted.
    fn sets_hook(&mut self, client: PeerId) -> bool {
        let set = SetWebhook { app_name: "app".into(), webhook: "https://example.org/hook".into() };
        self.told(Input::PeerConnected { peer: client });
        let _ = self.service.handle(&payload(client, &set), self.now);
        let messages = self.service.drain().written().messages;
        messages.iter().any(|(_, answer)| String::from_utf8_lossy(answer).contains("num_webhooks"))
    }

    /// Number of questions to the operator.
    fn asks(&mut self, client: PeerId, request: &impl Request) -> usize {
        self.told(Input::PeerConnected { peer: client });
        let _ = self.service.handle(&payload(client, request), self.now);
        self.service.drain().written().pending_decisions.len()
    }
}

fn payload(peer: PeerId, request: &impl Request) -> Input {
    Input::Message { peer, payload: encode_request("a", request).expect("a request") }
}

fn peer(number: u32) -> PeerId {
    let mut id = [3; 33];
    id[1..5].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}
