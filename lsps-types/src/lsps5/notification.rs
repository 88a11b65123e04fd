//! Notifications that an LSP posts to webhooks: the body, and the signature over it.

use alloc::{format, string::String};
use core::str;

use serde::{Deserialize, Serialize};

use crate::jsonrpc::Members;
use crate::signature::{LnSignature, SignMessage};
use crate::units::{BlockHeight, DateTime, Timestamp};

/// Notification to a client. Spec: LSPS5 "Webhook Notification Methods".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// The webhook was registered or changed. Only this webhook receives the notification, before any other.
    WebhookRegistered,
    /// A payment for the client waits at the LSP.
    PaymentIncoming,
    /// An HTLC or another contract is about to time out, which would force the channel on-chain.
    ExpirySoon {
        /// Height of the timeout.
        timeout: BlockHeight,
    },
    /// The LSP asks for liquidity back.
    LiquidityManagementRequest,
    /// An onion message for the client waits at the LSP.
    OnionMessageIncoming,
    /// A kind that this library does not know. The receiver ignores it.
    Unknown,
}

impl Notification {
    /// Name of the method; `None` for [`Unknown`](Self::Unknown), which cannot be written.
    #[must_use]
    pub fn method(self) -> Option<&'static str> {
        Some(match self {
            Self::WebhookRegistered => WEBHOOK_REGISTERED,
            Self::PaymentIncoming => PAYMENT_INCOMING,
            Self::ExpirySoon { .. } => EXPIRY_SOON,
            Self::LiquidityManagementRequest => LIQUIDITY_MANAGEMENT_REQUEST,
            Self::OnionMessageIncoming => ONION_MESSAGE_INCOMING,
            Self::Unknown => return None,
        })
    }

    /// The bytes to post; `None` for [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn body(self) -> Option<String> {
        let params = match self {
            Self::ExpirySoon { timeout } => format!("{{\"timeout\":{}}}", timeout.0),
            Self::WebhookRegistered
            | Self::PaymentIncoming
            | Self::LiquidityManagementRequest
            | Self::OnionMessageIncoming
            | Self::Unknown => "{}".into(),
        };
        Some(body(self.method()?, &params))
    }

    /// Parses a body. Unknown parameters are skipped. The result is authentic only if the signature is verified too.
    ///
    /// # Errors
    ///
    /// The body is not a JSON-RPC 2.0 notification, or lacks the parameters of its method.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedBody> {
        #[derive(Deserialize)]
        struct ExpirySoon {
            timeout: BlockHeight,
        }
        let text = str::from_utf8(body).map_err(|_| MalformedBody)?;
        let members = Members::of_notification(text).map_err(|_| MalformedBody)?;
        Ok(match &*members.method {
            WEBHOOK_REGISTERED => Self::WebhookRegistered,
            PAYMENT_INCOMING => Self::PaymentIncoming,
            EXPIRY_SOON => {
                let ExpirySoon { timeout } = serde_json::from_str(members.params).map_err(|_| MalformedBody)?;
                Self::ExpirySoon { timeout }
            }
            LIQUIDITY_MANAGEMENT_REQUEST => Self::LiquidityManagementRequest,
            ONION_MESSAGE_INCOMING => Self::OnionMessageIncoming,
            _ => Self::Unknown,
        })
    }
}

/// Notification that another specification or an application defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custom {
    method: String,
    /// JSON text of an object.
    params: String,
}

impl Custom {
    /// Creates a notification with a method of its own prefix, as in `acme.low_balance`, and an object of parameters.
    ///
    /// # Errors
    ///
    /// The name or the parameters do not have that form.
    pub fn new(method: &str, params: &impl Serialize) -> Result<Self, InvalidMethodName> {
        let (prefix, name) = method.split_once('.').ok_or(InvalidMethodName::NoPrefix)?;
        if prefix == "lsps5" {
            return Err(InvalidMethodName::Reserved);
        }
        let is_snake = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !is_snake(prefix) || !name.split('.').all(is_snake) {
            return Err(InvalidMethodName::NotSnakeCase);
        }
        let params = serde_json::to_string(params).ok().filter(|text| text.starts_with('{'));
        Ok(Self { method: method.into(), params: params.ok_or(InvalidMethodName::Params)? })
    }

    /// Name of the method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes to post.
    #[must_use]
    pub fn body(&self) -> String {
        body(&self.method, &self.params)
    }
}

/// Error for a [`Custom`] notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethodName {
    /// The prefix `lsps5.` is reserved for LSPS5.
    #[error("the prefix lsps5 is reserved")]
    Reserved,
    /// The method name lacks a prefix with a dot.
    #[error("the method has no prefix")]
    NoPrefix,
    /// The method name is not in snake_case.
    #[error("the method is not in snake_case")]
    NotSnakeCase,
    /// The parameters are not an object.
    #[error("the parameters are no object")]
    Params,
}

/// Error for a body that is not a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON-RPC 2.0 notification")]
pub struct MalformedBody;

/// A notification to post: the body, and the values of the two headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Exact bytes of the body.
    pub body: String,
    /// Value of `x-lsps5-timestamp`.
    pub timestamp: DateTime,
    /// Value of `x-lsps5-signature`.
    pub signature: LnSignature,
}

impl Signed {
    /// Signs a body that is posted at `now`. Spec: LSPS5 "Signing".
    ///
    /// # Errors
    ///
    /// The signer failed.
    pub fn new<S: SignMessage>(body: String, now: Timestamp, signer: &S) -> Result<Self, S::Error> {
        let timestamp = DateTime::from(now);
        let signature = signer.sign_message(signed_text(timestamp.as_str(), &body).as_bytes())?;
        Ok(Self { body, timestamp, signature })
    }

    /// Name of the header with the timestamp.
    pub const TIMESTAMP_HEADER: &'static str = "x-lsps5-timestamp";
    /// Name of the header with the signature.
    pub const SIGNATURE_HEADER: &'static str = "x-lsps5-signature";
}

/// The signed text: it holds the timestamp and the body exactly as they are sent.
#[must_use]
pub fn signed_text(timestamp: &str, body: &str) -> String {
    format!("LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At {timestamp} I notify {body}")
}

fn body(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}")
}

const WEBHOOK_REGISTERED: &str = "lsps5.webhook_registered";
const PAYMENT_INCOMING: &str = "lsps5.payment_incoming";
const EXPIRY_SOON: &str = "lsps5.expiry_soon";
const LIQUIDITY_MANAGEMENT_REQUEST: &str = "lsps5.liquidity_management_request";
const ONION_MESSAGE_INCOMING: &str = "lsps5.onion_message_incoming";
