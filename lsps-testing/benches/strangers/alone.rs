//! The service alone, in virtual time: the memory that it uses for a crowd, and the clients that still have room.

use std::time::Duration;

use allocation_counter::measure;
use lsps_service::{Config, Input, NodeFacts, Service};
use lsps_testing::scene::Error;
use lsps_testing::{LspSetup, NOON};
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps2::{GetInfo, PromiseKey};
use lsps_types::lsps5::SetWebhook;
use lsps_types::{Network, PeerId, Request, Timestamp};

use crate::Figures;

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
