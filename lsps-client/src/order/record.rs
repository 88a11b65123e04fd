//! Record forms of messages: the wire omits empty fields, a record must not.

use alloc::string::String;

use lsps_types::lsps1::CreateOrder;
use lsps_types::{Address, Sat};
use serde::{Deserialize, Serialize};

/// All fields of [`CreateOrder`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "CreateOrder")]
pub(super) struct Ordered {
    lsp_balance_sat: Sat,
    client_balance_sat: Sat,
    required_channel_confirmations: u16,
    funding_confirms_within_blocks: u16,
    channel_expiry_blocks: u32,
    token: Option<String>,
    refund_onchain_address: Option<Address>,
    announce_channel: bool,
}
