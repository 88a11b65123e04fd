//! The traits through which a host uses the node, the wallet, the chain, the store and the clock. Each trait documents
//! which calls may block and which may be made twice.
//!
//! A host makes its calls from one task, one after the other: while a call blocks, no client is served.

mod clock;
mod messages;
mod node;
mod notifier;
mod onchain;
mod store;
mod wallet;

pub use clock::{Clock, Sleep, SystemClock};
pub use messages::{Arrived, Messages};
pub use node::{IncomingHtlc, IncomingState, LspNode, Made, Marker, NodeChannel, NodeEvent, OutgoingHtlc, Resolution};
pub use notifier::{Notifier, Post, PostResult};
pub use onchain::{
    Broadcast, CannotFund, CannotPay, ChainAccess, ChainWatch, Mempool, OnchainPayer, OnchainWallet, SeenOutput,
    from_lsps_outpoint, to_lsps_outpoint,
};
pub use store::{Answer, Change, ReadAnswer, RecordStore, StoreError};
pub use wallet::{
    ChannelRequest, Connect, Connecting, HeldPayment, NoInvoice, PayAnswer, PayLimits, PaymentEnd, PaymentId,
    PaymentProgress, SettingMissing, WalletChannel, WalletHtlc, WalletNode, WalletNodeEvent,
};
