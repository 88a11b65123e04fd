//! What a client that is away is called for.

use alloc::string::String;

use lsps_types::BlockHeight;
use lsps_types::lsps5::{Custom, Notification};
use serde::{Deserialize, Serialize};

/// Why a client that is away should come. Spec: LSPS5 "Webhook Notification Methods".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    /// A payment waits that the service does not know of. For those of LSPS1 and LSPS2 it calls by itself.
    PaymentIncoming,
    /// A contract will force a channel with the client onto the chain, unless it comes.
    ///
    /// Passed on no earlier than 24 blocks before, so it may be told with every block.
    ExpirySoon {
        /// The height of the forced close.
        timeout: BlockHeight,
    },
    /// The LSP wants liquidity back.
    LiquidityManagementRequest,
    /// An onion message waits.
    OnionMessageIncoming,
    /// What another specification or the operator defines.
    Other(Custom),
}

impl Occasion {
    pub(crate) fn method(&self) -> &str {
        match self {
            Self::Other(custom) => custom.method(),
            known => known.notification().and_then(Notification::method).unwrap_or_default(),
        }
    }

    /// The bytes to post.
    pub(crate) fn body(&self) -> String {
        match self {
            Self::Other(custom) => custom.body(),
            known => known.notification().and_then(Notification::body).unwrap_or_default(),
        }
    }

    /// Whether it is time for it.
    pub(crate) fn is_due(&self, height: BlockHeight) -> bool {
        match self {
            Self::ExpirySoon { timeout } => timeout.0.checked_sub(height.0).is_some_and(|left| left <= SOON),
            Self::PaymentIncoming | Self::LiquidityManagementRequest | Self::OnionMessageIncoming | Self::Other(_) => {
                true
            }
        }
    }

    fn notification(&self) -> Option<Notification> {
        Some(match self {
            Self::PaymentIncoming => Notification::PaymentIncoming,
            Self::ExpirySoon { timeout } => Notification::ExpirySoon { timeout: *timeout },
            Self::LiquidityManagementRequest => Notification::LiquidityManagementRequest,
            Self::OnionMessageIncoming => Notification::OnionMessageIncoming,
            Self::Other(_) => return None,
        })
    }
}

/// Blocks before a forced close. Spec: LSPS5 `lsps5.expiry_soon`.
const SOON: u32 = 24;
