//! The URL that a wallet makes for itself at its notification service.

use alloc::{format, string::String};
use core::fmt::Write;

use super::{InvalidUrl, WebhookUrl};
use crate::units::PeerId;

/// What a notification service has to find in the URL of a post. Spec: LSPS5 `lsps5.set_webhook`, "URL Schema".
#[derive(Clone, Copy, Debug)]
pub struct HookAddress<'a> {
    /// Where the service takes posts: an `https` URL or IRI, perhaps with a query.
    pub service: &'a str,
    /// Whose signature it is to expect.
    pub lsp: PeerId,
    /// The device to wake, by whatever name the service knows it; empty where the secret says it.
    pub device: &'a str,
    /// 256 random bits that the service gave to this device or was told by it: who does not know them cannot make the URL.
    pub secret: &'a [u8; 32],
}

impl HookAddress<'_> {
    /// `service?lsp=<node id>&device=<name>&secret=<hex>`.
    ///
    /// # Errors
    ///
    /// When that is too long, or the service's own part is not of `https`.
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

/// With everything percent-encoded that could mean something in a query.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => String::from(char::from(byte)),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
