//! Clients that want to be called while they are away.

mod calls;
mod registrations;

use lsps_service::{Config, Input, Limits, Record, WakeReason, WebhookConfig};
use lsps_testing::{Act, Lsp, LspSetup, NOON, call, peer};
use lsps_types::PeerId;
use lsps_types::codes::SetWebhookError;
use lsps_types::jsonrpc::ErrorReply;
use lsps_types::lsps5::{ListWebhooks, RemoveWebhook, SetWebhook, WebhookSet};

use crate::SCID;

pub fn serving() -> Config {
    // The limit on sales to strangers at one instant is tested in `crowd`.
    let limits = Limits { sales_to_strangers: usize::MAX, ..Limits::default() };
    Config { webhooks: WebhookConfig { serve: true, ..WebhookConfig::default() }, limits, ..Config::default() }
}

/// The record of a client with one webhook.
pub fn record() -> Record {
    let mut lsp = lsp();
    sets(&mut lsp, peer(1), "app", "a");
    let (name, bytes) = lsp.records().iter().next().expect("one");
    Record { name: name.clone(), bytes: bytes.clone() }
}

fn lsp_with(config: Config) -> Lsp {
    Lsp::at(NOON, LspSetup { config, scids: vec![SCID], ..LspSetup::default() })
}

fn lsp() -> Lsp {
    lsp_with(serving())
}

/// An LSP whose posts are answered by the test.
fn silent() -> Lsp {
    Lsp::at(NOON, LspSetup { config: serving(), hooks_are_silent: true, ..LspSetup::default() })
}

/// An LSP whose client registered two apps and is away.
fn lsp_with_two() -> Lsp {
    let mut lsp = lsp();
    sets(&mut lsp, peer(1), "one", "a");
    sets(&mut lsp, peer(1), "two", "b");
    lsp.acts();
    lsp
}

fn set(lsp: &mut Lsp, client: PeerId, app: &str, host: &str) -> Result<WebhookSet, ErrorReply<SetWebhookError>> {
    let webhook = format!("https://{host}.example.org/");
    call(lsp, client, &SetWebhook { app_name: app.into(), webhook })
}

pub fn sets(lsp: &mut Lsp, client: PeerId, app: &str, host: &str) -> WebhookSet {
    set(lsp, client, app, host).expect("it may")
}

fn removes(lsp: &mut Lsp, client: PeerId, app: &str) -> bool {
    call(lsp, client, &RemoveWebhook { app_name: app.into() }).is_ok()
}

pub fn apps(lsp: &mut Lsp, client: PeerId) -> Vec<String> {
    call(lsp, client, &ListWebhooks {}).expect("a list, whatever there is").app_names
}

pub fn occurs(lsp: &mut Lsp, reason: WakeReason) {
    lsp.feed(Input::WakeUp { peer: peer(1), reason });
}

fn has_channels(lsp: &mut Lsp, any: bool) {
    lsp.feed(Input::ChannelsWith { peer: peer(1), any });
}

/// PostReporter notifications: the first letter of the host, and the method without its prefix.
pub fn posts(lsp: &mut Lsp) -> Vec<(String, String)> {
    let post = |act| match act {
        Act::Post { url, body, .. } => {
            let method = body.split('"').nth(7).expect("a method");
            Some((url["https://".len()..][..1].into(), method.trim_start_matches("lsps5.").into()))
        }
        _ => None,
    };
    lsp.acts().into_iter().filter_map(post).collect()
}

fn to_both(method: &str) -> [(String, String); 2] {
    ["a", "b"].map(|host| (host.into(), method.into()))
}

fn to_one(host: &str, method: &str) -> [(String, String); 1] {
    [(host.into(), method.into())]
}

const NOTHING: [(String, String); 0] = [];
