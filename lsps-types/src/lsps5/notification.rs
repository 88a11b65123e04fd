//! What a service posts to webhooks: the body, and the signature over it.

use alloc::{format, string::String};
use core::str;

use serde::{Deserialize, Serialize};

use crate::jsonrpc::Members;
use crate::signature::{LnSignature, SignMessage};
use crate::units::{BlockHeight, DateTime, Timestamp};

/// Why a client is woken. Spec: LSPS5 "Webhook Notification Methods".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// The webhook was registered or changed; goes to it alone, before anything else.
    WebhookRegistered,
    /// A payment waits.
    PaymentIncoming,
    /// A contract is about to force the channel onto the chain.
    ExpirySoon {
        /// When it does.
        timeout: BlockHeight,
    },
    /// The LSP wants liquidity back.
    LiquidityManagementRequest,
    /// An onion message waits.
    OnionMessageIncoming,
    /// Of a kind that this library does not know; to be ignored.
    Unknown,
}

impl Notification {
    /// Its method; `None` for the unknown, which cannot be written.
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

    /// The bytes to post; `None` for the unknown.
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

    /// Reads a body. Unknown parameters are skipped. To be trusted only with its signature.
    ///
    /// # Errors
    ///
    /// When it is no JSON-RPC 2.0 notification, or one of the five without its parameters.
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

/// A notification that another specification or an application defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custom {
    method: String,
    /// The text of an object.
    params: String,
}

impl Custom {
    /// With a method of its own prefix, as in `acme.low_balance`, and parameters that are an object.
    ///
    /// # Errors
    ///
    /// When the name or the parameters are not of that form.
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

    /// Its method.
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

/// Why a notification of one's own cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethodName {
    /// Only LSPS5 may use `lsps5.`.
    #[error("the prefix lsps5 is reserved")]
    Reserved,
    /// It needs a prefix and a dot.
    #[error("the method has no prefix")]
    NoPrefix,
    /// Method names are snake_case words.
    #[error("the method is not in snake_case")]
    NotSnakeCase,
    /// Parameters go by name.
    #[error("the parameters are no object")]
    Params,
}

/// A body that is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON-RPC 2.0 notification")]
pub struct MalformedBody;

/// What is to be posted: the body, and the two headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Exactly these bytes.
    pub body: String,
    /// `x-lsps5-timestamp`.
    pub timestamp: DateTime,
    /// `x-lsps5-signature`.
    pub signature: LnSignature,
}

impl Signed {
    /// Signs a body that is posted now. Spec: LSPS5 "Signing".
    ///
    /// # Errors
    ///
    /// When the signer does not.
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

/// The text that is signed: the timestamp and the body exactly as they travel.
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
