//! Names and URLs that an LSP stores for clients.

use alloc::{format, string::String};
use core::fmt;

use fluent_uri::Uri;
use serde::{Deserialize, Serialize};

use crate::text::PeerText;

/// Name of an app: at most 64 bytes as JSON text without quotes (reading R-26). Names are compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    /// Validates the length of a name.
    ///
    /// # Errors
    ///
    /// The name is too long.
    pub fn new(name: String) -> Result<Self, NameTooLong> {
        if escaped_len(&name) > LONGEST_NAME { Err(NameTooLong) } else { Ok(Self(name)) }
    }

    /// The name as the client wrote it; `Display` makes it safe to show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PeerText::from(self.as_str()).fmt(f)
    }
}

impl TryFrom<String> for AppName {
    type Error = NameTooLong;

    fn try_from(name: String) -> Result<Self, NameTooLong> {
        Self::new(name)
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> Self {
        name.0
    }
}

/// Length in bytes of the shortest JSON string for `text`, without its quotes.
fn escaped_len(text: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    };
    text.chars().map(escaped).fold(0, usize::saturating_add)
}

/// Error for a name that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name is longer than 64 bytes")]
pub struct NameTooLong;

/// URL to post notifications to: an `https` URL of at most 1024 ASCII characters, without credentials or fragment.
///
/// Whether the host may be contacted is checked at delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// Validates a URL and keeps its spelling.
    ///
    /// # Errors
    ///
    /// The first rule that the URL breaks.
    pub fn new(url: String) -> Result<Self, InvalidUrl> {
        if url.chars().count() > LONGEST_URL {
            return Err(InvalidUrl::TooLong);
        }
        let parsed = Uri::parse(url.as_str()).map_err(|_| InvalidUrl::Malformed)?;
        if !parsed.scheme().as_str().eq_ignore_ascii_case("https") {
            return Err(InvalidUrl::NotHttps);
        }
        let authority = parsed.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or(InvalidUrl::Malformed)?;
        let port_fits = authority.port().is_none_or(|port| port.is_empty() || port.as_str().parse::<u16>().is_ok());
        let hides_something = authority.has_userinfo() || parsed.has_fragment();
        if port_fits && !hides_something { Ok(Self(url)) } else { Err(InvalidUrl::Malformed) }
    }

    /// Converts an IRI: characters after the host that are not ASCII are percent-encoded, as the specification requires
    /// of clients.
    ///
    /// # Errors
    ///
    /// The first rule that the URL breaks; a host that is not ASCII has to be written in Punycode.
    pub fn from_iri(iri: &str) -> Result<Self, InvalidUrl> {
        let mut url = String::with_capacity(iri.len());
        for c in iri.chars() {
            if c.is_ascii() {
                url.push(c);
            } else {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| url.push_str(&format!("%{byte:02X}")));
            }
        }
        let host = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        if host.is_some_and(|host| host.contains('%')) { Err(InvalidUrl::Malformed) } else { Self::new(url) }
    }

    /// The URL as the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = InvalidUrl;

    fn try_from(url: String) -> Result<Self, InvalidUrl> {
        Self::new(url)
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.0
    }
}

/// Error for a text that is not a webhook URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// The URL is longer than 1024 characters.
    #[error("the URL is longer than 1024 characters")]
    TooLong,
    /// The text is not a URL, or has parts that a webhook URL must not have.
    #[error("not a URL to post to")]
    Malformed,
    /// The scheme is not https.
    #[error("the URL is not https")]
    NotHttps,
}

const LONGEST_NAME: usize = 64;
const LONGEST_URL: usize = 1_024;
