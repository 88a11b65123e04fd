//! Text that a peer wrote.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Text that a peer wrote. [`Display`](fmt::Display) makes it safe for logs and dialogues: bounded, one line, no
/// control characters, no markup. Spec: LSPS0 "Error Handling" requires the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerText(String);

impl PeerText {
    /// The text as the peer wrote it. Do not show it to people.
    #[must_use]
    pub fn unfiltered(&self) -> &str {
        &self.0
    }
}

impl From<String> for PeerText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for PeerText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut harmless =
            self.0.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>' | '&') && !is_invisible(*c));
        for c in harmless.by_ref().take(MOST_SHOWN) {
            fmt::Write::write_char(f, c)?;
        }
        if harmless.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// Whether `c` is a line separator, a mark that reorders text, or a character of no width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

const MOST_SHOWN: usize = 256;
