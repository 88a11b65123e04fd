//! Targets of a fuzzer, as plain functions: `fuzz/` calls them with random bytes, the tests here with the vectors.

mod client;

use lsps_service::Trust;
use lsps_types::jsonrpc::{FromLsp, Incoming, Raw, RequestId, encode_reply, encode_request};
use lsps_types::lsps1::{CreateOrder, GetOrder};
use lsps_types::lsps2::fee::{FeeTerms, opening_fee, split};
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::lsps5::{AppName, ListWebhooks, Notification, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::signature::LnSignature;
use lsps_types::units::{Blob, ConnectionString};
use lsps_types::{Address, DateTime, Msat, OutPoint, Ppm, Request, lsps0, lsps1};

use crate::order_world::{self, OrderWorld};
use crate::world::{Step, World};

pub use client::client_script;

/// Passes any bytes to every parser. None panics, and a parsed message survives being written and parsed again.
pub fn decode(payload: &[u8]) {
    if let Ok(incoming) = Incoming::decode(payload) {
        each_method(|method| method.request(&incoming));
    }
    if let Ok(FromLsp::Response { outcome, id }) = FromLsp::decode(payload) {
        let id = id.unwrap_or(RequestId::Number(0));
        if let Ok(result) = outcome {
            each_method(|method| method.reply(&id, &result));
        }
    }
    if let Ok(notification) = Notification::parse(payload)
        && let Some(body) = notification.body()
    {
        assert_eq!(Notification::parse(body.as_bytes()), Ok(notification));
    }
    if let Ok(text) = std::str::from_utf8(payload) {
        texts(text);
    }
}

/// Plays a script of payers, clients, node failures and crashes, and checks all balances.
pub fn service_script(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let trust = if first & 1 == 0 { Trust::LspTrustsClient } else { Trust::ClientTrustsLsp };
    let _ = World::new(trust).play(&Step::script(rest)).comes_to_rest();
}

/// Plays a script of clients who order channels, and of a chain that reorganises.
pub fn order_script(bytes: &[u8]) {
    let _ = OrderWorld::new().play(&order_world::Step::script(bytes)).comes_to_rest();
}

/// Computes a fee from random amounts: the fee matches the formula, and a split takes it exactly or not at all.
pub fn fee(bytes: &[u8]) {
    let mut words = bytes.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes")));
    let mut next = || words.next().unwrap_or_default();
    let (size, min_fee, share, minimum) = (next(), next(), next(), next());
    let ppm = u32::try_from(share & u64::from(u32::MAX)).expect("masked");
    let model = u64::try_from(u128::from(size) * u128::from(ppm) + 999_999).ok();
    let scaled_fits = u64::try_from(u128::from(size) * u128::from(ppm)).is_ok();
    let model = model.filter(|_| scaled_fits).map(|sum| Msat((sum / 1_000_000).max(min_fee)));
    assert_eq!(opening_fee(Msat(size), Msat(min_fee), Ppm(ppm)), model);

    let terms = FeeTerms {
        min_fee: Msat(min_fee),
        proportional: Ppm(ppm),
        min_payment_size: Msat(0),
        max_payment_size: Msat(u64::MAX),
    };
    if let Some(fee) = terms.fee_on_single_part(Msat(size), Msat(minimum)) {
        assert!(u128::from(fee.0) + u128::from(minimum.max(1)) <= u128::from(size));
    }

    let parts: Vec<Msat> = words.map(Msat).collect();
    if let Some(shares) = split(Msat(min_fee), &parts, Msat(minimum)) {
        assert_eq!(shares.iter().map(|share| u128::from(share.0)).sum::<u128>(), u128::from(min_fee));
        assert!(shares.iter().zip(&parts).all(|(share, part)| part.0 - share.0 >= minimum.max(1)));
    }
}

fn each_method(visit: impl Fn(&dyn Codec)) {
    let methods: [&dyn Codec; 9] = [
        &Of::<lsps0::ListProtocols>::NEW,
        &Of::<lsps1::GetInfo>::NEW,
        &Of::<CreateOrder>::NEW,
        &Of::<GetOrder>::NEW,
        &Of::<GetInfo>::NEW,
        &Of::<Buy>::NEW,
        &Of::<SetWebhook>::NEW,
        &Of::<ListWebhooks>::NEW,
        &Of::<RemoveWebhook>::NEW,
    ];
    assert_eq!(methods.len(), lsps_types::Method::ALL.len(), "every method is fuzzed");
    methods.into_iter().for_each(visit);
}

trait Codec {
    fn request(&self, incoming: &Incoming<'_>);
    fn reply(&self, id: &RequestId, result: &Raw<'_>);
}

struct Of<R>(std::marker::PhantomData<R>);

impl<R> Of<R> {
    const NEW: Self = Self(std::marker::PhantomData);
}

impl<R: Request> Codec for Of<R> {
    fn request(&self, incoming: &Incoming<'_>) {
        let Ok(request) = incoming.params::<R>() else { return };
        // The respelled text may have been shorter than the written one.
        let Ok(written) = encode_request("i", &request) else { return };
        let again = Incoming::decode(&written).expect("we wrote it").params::<R>().expect("we wrote it");
        assert_eq!(encode_request("i", &again).expect("as long as before"), written);
    }

    fn reply(&self, id: &RequestId, result: &Raw<'_>) {
        let Ok(reply) = result.reply::<R>() else { return };
        let written = encode_reply::<R>(id, &reply);
        let Ok(FromLsp::Response { id: echoed, outcome }) = FromLsp::decode(&written) else { panic!("we wrote it") };
        assert_eq!(echoed.as_ref(), Some(id));
        // On an error the reply was too long for one message.
        if let Ok(result) = outcome {
            assert_eq!(encode_reply::<R>(id, &result.reply::<R>().expect("we wrote it")), written);
        }
    }
}

fn texts(text: &str) {
    same::<DateTime>(text, |value| value.as_str().into());
    same::<Address>(text, ToString::to_string);
    same::<ConnectionString>(text, ToString::to_string);
    same::<OutPoint>(text, ToString::to_string);
    same::<Blob>(text, ToString::to_string);
    same::<LnSignature>(text, ToString::to_string);
    let _ = AppName::new(text.into());
    if let Ok(url) = WebhookUrl::from_iri(text) {
        assert_eq!(WebhookUrl::new(url.as_str().into()), Ok(url));
    }
    let shown = lsps_types::PeerText::from(text).to_string();
    assert!(shown.chars().count() <= 257 && !shown.chars().any(char::is_control));
}

fn same<T: std::str::FromStr + PartialEq + std::fmt::Debug>(text: &str, write: impl Fn(&T) -> String) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(write(&value).parse::<T>().ok(), Some(value));
    }
}
