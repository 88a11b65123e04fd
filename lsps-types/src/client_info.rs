//! `client_info`, by which a client says what program it is (blips#69, not merged; reading R-57).

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::text::PeerText;

/// Name of the parameter.
pub(crate) const CLIENT_INFO: &str = "client_info";

/// Program and node of a client, as the client names them. An LSP shows them to its operator, and nothing else depends on
/// them.
///
/// Each text has at most [`LONGEST_TEXT`](Self::LONGEST_TEXT) bytes. A reader leaves out members that are longer or no
/// text, and filters the others as [`PeerText`] does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Texts", into = "Texts")]
pub struct ClientInfo {
    texts: Texts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_version: Option<String>,
}

impl ClientInfo {
    /// Largest length of each text, in bytes of UTF-8.
    pub const LONGEST_TEXT: usize = 64;

    /// Adds name and version of the application.
    ///
    /// # Errors
    ///
    /// A text is too long.
    pub fn with_app(mut self, app: &str, version: Option<&str>) -> Result<Self, TextTooLong> {
        self.texts.app = Some(app.into());
        self.texts.app_version = version.map(Into::into);
        Self::try_from(self.texts)
    }

    /// Adds name and version of the node.
    ///
    /// # Errors
    ///
    /// A text is too long.
    pub fn with_node(mut self, node: &str, version: Option<&str>) -> Result<Self, TextTooLong> {
        self.texts.node = Some(node.into());
        self.texts.node_version = version.map(Into::into);
        Self::try_from(self.texts)
    }

    /// Name of the application.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.texts.app.as_deref()
    }

    /// Version of the application.
    #[must_use]
    pub fn app_version(&self) -> Option<&str> {
        self.texts.app_version.as_deref()
    }

    /// Name of the node's implementation.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.texts.node.as_deref()
    }

    /// Version of the node.
    #[must_use]
    pub fn node_version(&self) -> Option<&str> {
        self.texts.node_version.as_deref()
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the parameter of a request from its raw JSON. `None`: it is neither an object nor null.
    pub(crate) fn read(raw: &str) -> Option<Option<Self>> {
        #[derive(Deserialize)]
        struct Any<'a> {
            #[serde(borrow, default)]
            app: Option<&'a RawValue>,
            #[serde(borrow, default)]
            app_version: Option<&'a RawValue>,
            #[serde(borrow, default)]
            node: Option<&'a RawValue>,
            #[serde(borrow, default)]
            node_version: Option<&'a RawValue>,
        }
        if raw == "null" {
            return Some(None);
        }
        let any: Any<'_> = serde_json::from_str(raw).ok().filter(|_| raw.starts_with('{'))?;
        let text = |raw: Option<&RawValue>| {
            let text = serde_json::from_str::<String>(raw?.get()).ok().filter(|text| text.len() <= Self::LONGEST_TEXT);
            text.map(|text| PeerText::from(text).to_string()).filter(|text| !text.is_empty())
        };
        let (app, app_version) = (text(any.app), text(any.app_version));
        let texts = Texts { app, app_version, node: text(any.node), node_version: text(any.node_version) };
        Some(Some(Self { texts }))
    }
}

impl TryFrom<Texts> for ClientInfo {
    type Error = TextTooLong;

    fn try_from(texts: Texts) -> Result<Self, TextTooLong> {
        let all = [
            ("app", &texts.app),
            ("app_version", &texts.app_version),
            ("node", &texts.node),
            ("node_version", &texts.node_version),
        ];
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let too_long = all.into_iter().find(|(_, text)| length(text) > Self::LONGEST_TEXT);
        let too_long = too_long.map(|(member, text)| TextTooLong { member, length: length(text) });
        too_long.map_or(Ok(Self { texts }), Err)
    }
}

impl From<ClientInfo> for Texts {
    fn from(info: ClientInfo) -> Self {
        info.texts
    }
}

/// Error for a text of a [`ClientInfo`] that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` of client_info has {length} bytes, and at most 64 are allowed: shorten it")]
pub struct TextTooLong {
    /// Name of the member.
    pub member: &'static str,
    /// Length of its text in bytes.
    pub length: usize,
}
