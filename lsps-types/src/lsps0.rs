//! LSPS0 (bLIP-50): which protocols does a provider speak?

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Asks for the protocols an LSP supports. Spec: LSPS0 "LSPS Support Query".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListProtocols {}

/// The numbers of the LSPS specifications that an LSP supports, besides 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// Never contains 0; may contain numbers this library does not know.
    pub protocols: Vec<u16>,
}
