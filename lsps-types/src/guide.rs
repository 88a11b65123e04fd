//! Index from the texts of the specifications to the types that implement them.
//!
//! | Specification | Text | Type |
//! |---|---|---|
//! | LSPS0 | Payload Format | [`Incoming`](crate::jsonrpc::Incoming), [`FromLsp`](crate::jsonrpc::FromLsp), [`encode_request`](crate::jsonrpc::encode_request), [`encode_reply`](crate::jsonrpc::encode_reply), [`encode_error`](crate::jsonrpc::encode_error) |
//! | LSPS0 | Error Handling | [`ErrorObject`](crate::jsonrpc::ErrorObject), [`Refusal`](crate::jsonrpc::Refusal), [`CommonError`](crate::codes::CommonError), [`PeerText`](crate::PeerText) |
//! | LSPS0 | Invalid Parameters | [`InvalidParams`](crate::jsonrpc::InvalidParams) |
//! | LSPS0 | `lsps0.list_protocols` | [`ListProtocols`](crate::lsps0::ListProtocols), [`Protocols`](crate::lsps0::Protocols) |
//! | LSPS0 | Monetary Amounts | [`Msat`](crate::Msat), [`Sat`](crate::Sat); [`Lenient`](crate::units::Lenient) |
//! | LSPS0 | On-chain Feerates, Parts-per-million | [`FeeRate`](crate::FeeRate), [`Ppm`](crate::Ppm) |
//! | LSPS0 | SCID | [`Scid`](crate::Scid) |
//! | LSPS0 | Pubkey, Connection String | [`PeerId`](crate::PeerId), [`ConnectionString`](crate::units::ConnectionString) |
//! | LSPS0 | On-chain Address | [`Address`](crate::Address), [`Network`](crate::Network) |
//! | LSPS0 | LN Signature | [`LnSignature`](crate::signature::LnSignature), [`SignMessage`](crate::signature::SignMessage) |
//! | LSPS0 | Datetime | [`DateTime`](crate::DateTime) |
//! | LSPS0 | Binary Blob | [`Blob`](crate::units::Blob) |
//! | LSPS0 | Transaction ID, Output Index, Outpoint | [`Txid`](crate::Txid), `u16`, [`OutPoint`](crate::OutPoint) |
//! | LSPS1 | `lsps1.get_info` | [`GetInfo`](crate::lsps1::GetInfo), [`Options`](crate::lsps1::Options) |
//! | LSPS1 | `lsps1.create_order` | [`CreateOrder`](crate::lsps1::CreateOrder), [`Order`](crate::lsps1::Order), [`CreateOrderError`](crate::codes::CreateOrderError), [`OptionMismatch`](crate::lsps1::OptionMismatch) |
//! | LSPS1 | `lsps1.get_order` | [`GetOrder`](crate::lsps1::GetOrder), [`GetOrderError`](crate::codes::GetOrderError) |
//! | LSPS1 | Payment | [`Payment`](crate::lsps1::Payment), [`Order::judge`](crate::lsps1::Order::judge) |
//! | LSPS1 | Channel | [`Channel`](crate::lsps1::Channel) |
//! | LSPS2 | `lsps2.get_info` | [`GetInfo`](crate::lsps2::GetInfo), [`Menu`](crate::lsps2::Menu), [`OpeningFeeParams`](crate::lsps2::OpeningFeeParams) |
//! | LSPS2 | `promise` | [`Promise`](crate::lsps2::Promise), [`PromiseKey`](crate::lsps2::PromiseKey) |
//! | LSPS2 | Computing the opening fee | [`opening_fee`](crate::lsps2::fee::opening_fee) |
//! | LSPS2 | `lsps2.buy` | [`Buy`](crate::lsps2::Buy), [`Bought`](crate::lsps2::Bought) |
//! | LSPS2 | Forwarding, `extra_fee` | [`split`](crate::lsps2::fee::split), [`bolt4`](crate::bolt4) |
//! | LSPS5 | `lsps5.set_webhook` | [`SetWebhook`](crate::lsps5::SetWebhook), [`WebhookSet`](crate::lsps5::WebhookSet), [`AppName`](crate::lsps5::AppName), [`WebhookUrl`](crate::lsps5::WebhookUrl), [`HookAddress`](crate::lsps5::HookAddress) |
//! | LSPS5 | `lsps5.list_webhooks`, `lsps5.remove_webhook` | [`ListWebhooks`](crate::lsps5::ListWebhooks), [`RemoveWebhook`](crate::lsps5::RemoveWebhook) |
//! | LSPS5 | Notifications | [`Notification`](crate::lsps5::Notification), [`Custom`](crate::lsps5::Custom) |
//! | LSPS5 | Signing | [`Signed`](crate::lsps5::Signed), [`signed_text`](crate::lsps5::signed_text) |
//! | LSPS5 | Delivery | `lsps5::Verifier` (feature `secp256k1`) |
