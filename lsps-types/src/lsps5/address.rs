//! The webhook URL that a wallet builds for its notification service.

use alloc::{format, string::String};
use core::fmt::Write;

use super::{InvalidUrl, WebhookUrl};
use crate::units::PeerId;

/// Parts of a webhook URL that a notification service needs to verify and deliver a post. Spec: LSPS5
/// `lsps5.set_webhook`, "URL Schema".
#[derive(Clone, Copy, Debug)]
pub struct HookAddress<'a> {
    /// Endpoint of the service: an `https` URL or IRI, with or without a query.
    pub service: &'a str,
    /// Node id of the LSP whose signature the service expects.
    pub lsp: PeerId,
    /// Name by which the service knows the device; empty if the secret identifies it.
    pub device: &'a str,
    /// 256 random bits, shared by the service and this device. Nobody else can build the URL.
    pub secret: &'a [u8; 32],
}

impl HookAddress<'_> {
    /// Builds `service?lsp=<node id>&device=<name>&secret=<hex>`.
    ///
    /// # Errors
    ///
    /// The URL is too long, or the endpoint is not an `https` URL.
    pub fn url(&self) -> Result<WebhookUrl, InvalidUrl> {
        let mut url = String::from(self.service);
        let joint = if self.service.contains('?') { '&' } else { '?' };
        let mut add = |text: core::fmt::Arguments<'_>| url.write_fmt(text).map_err(|_| InvalidUrl::Malformed);
        add(format_args!("{joint}lsp={}", self.lsp))?;
        if !self.device.is_empty() {
            add(format_args!("&device={}", encoded(self.device)))?;
        }
        add(format_args!("&secret="))?;
        for byte in self.secret {
            add(format_args!("{byte:02x}"))?;
        }
        WebhookUrl::from_iri(&url)
    }
}

/// Percent-encodes every character that could have a meaning in a query.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => String::from(char::from(byte)),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
