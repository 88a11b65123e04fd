//! Reasons to notify an absent client.

use alloc::string::String;

use lsps_types::BlockHeight;
use lsps_types::lsps5::{Custom, Notification};
use serde::{Deserialize, Serialize};

/// Reason for which an absent client should connect. Spec: LSPS5 "Webhook Notification Methods".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WakeReason {
    /// A payment waits that the service does not know of. The service itself notifies for payments of LSPS1 and LSPS2.
    PaymentIncoming,
    /// An HTLC or another contract will force a channel with the client on-chain unless the client connects.
    ///
    /// The service notifies no earlier than 24 blocks before, so the host may report it with every block.
    ExpirySoon {
        /// Height of the forced close.
        timeout: BlockHeight,
    },
    /// The LSP asks for liquidity back.
    LiquidityManagementRequest,
    /// An onion message for the client waits.
    OnionMessageIncoming,
    /// A notification that another specification or the operator defines.
    Other(Custom),
}

impl WakeReason {
    pub(crate) fn method(&self) -> &str {
        match self.notification() {
            Ok(known) => known.method().unwrap_or_default(),
            Err(custom) => custom.method(),
        }
    }

    /// The bytes to post.
    pub(crate) fn body(&self) -> String {
        match self.notification() {
            Ok(known) => known.body().unwrap_or_default(),
            Err(custom) => custom.body(),
        }
    }

    /// Whether the client may be notified at this height.
    pub(crate) fn is_due(&self, height: BlockHeight) -> bool {
        match self {
            Self::ExpirySoon { timeout } => timeout.0.checked_sub(height.0).is_some_and(|left| left <= SOON),
            Self::PaymentIncoming | Self::LiquidityManagementRequest | Self::OnionMessageIncoming | Self::Other(_) => {
                true
            }
        }
    }

    /// The notification of the specification, or the one that is defined elsewhere.
    fn notification(&self) -> Result<Notification, &Custom> {
        Ok(match self {
            Self::PaymentIncoming => Notification::PaymentIncoming,
            Self::ExpirySoon { timeout } => Notification::ExpirySoon { timeout: *timeout },
            Self::LiquidityManagementRequest => Notification::LiquidityManagementRequest,
            Self::OnionMessageIncoming => Notification::OnionMessageIncoming,
            Self::Other(custom) => return Err(custom),
        })
    }
}

/// Number of blocks before a forced close from which clients are notified. Spec: LSPS5 `lsps5.expiry_soon`.
const SOON: u32 = 24;
