//! Names and URLs that a service stores for clients.

use alloc::{format, string::String};
use core::fmt;

use fluent_uri::Uri;
use serde::{Deserialize, Serialize};

use crate::text::PeerText;

/// The name of an app: at most 64 bytes as JSON text, quotes not counted (reading R-26). Compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    /// Measures a name.
    ///
    /// # Errors
    ///
    /// When it is too long.
    pub fn new(name: String) -> Result<Self, NameTooLong> {
        if escaped_len(&name) > LONGEST_NAME { Err(NameTooLong) } else { Ok(Self(name)) }
    }

    /// As the client wrote it; its `Display` is safe to show.
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

/// Bytes of the shortest JSON string, without its quotes.
fn escaped_len(text: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    };
    text.chars().map(escaped).fold(0, usize::saturating_add)
}

/// A name that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name is longer than 64 bytes")]
pub struct NameTooLong;

/// Where to post notifications: an `https` URL of at most 1024 ASCII characters, without credentials or fragment.
///
/// That it leads to a host that may be contacted is for the delivery to find out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// Looks at a URL, and keeps it as it is written.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
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

    /// From an IRI: what is not ASCII after the host is percent-encoded, as the spec wants of clients.
    ///
    /// # Errors
    ///
    /// What is wrong with it; a host that is not ASCII has to be written in Punycode.
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

    /// As the client wrote it.
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

/// Why a text is no URL to post to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// More than 1024 characters.
    #[error("the URL is longer than 1024 characters")]
    TooLong,
    /// No URL, or one with parts that a webhook has not.
    #[error("not a URL to post to")]
    Malformed,
    /// Of another scheme.
    #[error("the URL is not https")]
    NotHttps,
}

const LONGEST_NAME: usize = 64;
const LONGEST_URL: usize = 1_024;
