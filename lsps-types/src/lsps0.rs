//! LSPS0 (bLIP-50): the protocols that an LSP speaks.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Request for the list of protocols that an LSP supports. Spec: LSPS0 "LSPS Support Query".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListProtocols {}

/// Reply to [`ListProtocols`]: the numbers of the LSPS specifications that an LSP supports, besides 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// Numbers of the specifications. The list never contains 0 and may contain numbers that this library does not
    /// know.
    pub protocols: Vec<u16>,
}
