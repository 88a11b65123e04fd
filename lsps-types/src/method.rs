//! All methods in one table: wire name, parameters, reply, errors.

use alloc::string::String;

use serde::{Serialize, de::DeserializeOwned};

use crate::codes::{
    BuyError, CreateOrderError, GetInfoError, GetOrderError, MethodError, NoError, RemoveWebhookError, SetWebhookError,
};
use crate::jsonrpc::{Incoming, InvalidParams};
use crate::{lsps0, lsps1, lsps2, lsps5};

impl Method {
    /// Whether the method has the parameter `client_info` (reading R-57).
    #[must_use]
    pub fn has_client_info(self) -> bool {
        matches!(self, Self::Lsps1CreateOrder | Self::Lsps2GetInfo)
    }
}

/// Ties a request to its reply and to its errors.
pub trait Request: Serialize + DeserializeOwned {
    /// Method of the request.
    const METHOD: Method;
    /// Type of the reply.
    type Reply: Serialize + DeserializeOwned;
    /// Errors that the method defines, besides [`CommonError`](crate::codes::CommonError).
    type Error: MethodError;
}

macro_rules! methods {
    ($($method:ident = $name:literal of $lsps:literal: $request:ident::$params:ident => $reply:ty, $error:ty;)*) => {
        /// A method that this library knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $method,)*
        }

        impl Method {
            /// All methods that this library knows.
            pub const ALL: &'static [Self] = &[$(Self::$method,)*];

            /// Name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$method => $name,)* }
            }

            /// Number of the LSPS that defines the method.
            #[must_use]
            pub fn lsps(self) -> u16 {
                match self { $(Self::$method => $lsps,)* }
            }

            /// The method of that name, if this library knows it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$method),)* _ => None }
            }
        }

        $(impl Request for $request::$params {
            const METHOD: Method = Method::$method;
            type Reply = $reply;
            type Error = $error;
        })*

        /// The parameters of any method.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum AnyRequest {
            $(#[doc = concat!("Of `", $name, "`.")] $method($request::$params),)*
        }

        impl AnyRequest {
            /// Parses the parameters of `method`.
            ///
            /// # Errors
            ///
            /// The parameters do not fit; the value is the `data` to answer with.
            pub fn decode(method: Method, incoming: &Incoming<'_>) -> Result<Self, InvalidParams> {
                Self::decode_tolerating(method, incoming, &[])
            }

            /// Parses the parameters of `method`, and skips unknown ones of these names.
            ///
            /// # Errors
            ///
            /// The parameters do not fit; the value is the `data` to answer with.
            pub fn decode_tolerating(
                method: Method,
                incoming: &Incoming<'_>,
                names: &[String],
            ) -> Result<Self, InvalidParams> {
                Ok(match method { $(Method::$method => Self::$method(incoming.params_tolerating(names)?),)* })
            }
        }
    };
}

methods! {
    Lsps0ListProtocols = "lsps0.list_protocols" of 0: lsps0::ListProtocols => lsps0::Protocols, NoError;
    Lsps1GetInfo = "lsps1.get_info" of 1: lsps1::GetInfo => lsps1::Options, NoError;
    Lsps1CreateOrder = "lsps1.create_order" of 1: lsps1::CreateOrder => lsps1::Order, CreateOrderError;
    Lsps1GetOrder = "lsps1.get_order" of 1: lsps1::GetOrder => lsps1::Order, GetOrderError;
    Lsps2GetInfo = "lsps2.get_info" of 2: lsps2::GetInfo => lsps2::Menu, GetInfoError;
    Lsps2Buy = "lsps2.buy" of 2: lsps2::Buy => lsps2::Bought, BuyError;
    Lsps5SetWebhook = "lsps5.set_webhook" of 5: lsps5::SetWebhook => lsps5::WebhookSet, SetWebhookError;
    Lsps5ListWebhooks = "lsps5.list_webhooks" of 5: lsps5::ListWebhooks => lsps5::Webhooks, NoError;
    Lsps5RemoveWebhook = "lsps5.remove_webhook" of 5: lsps5::RemoveWebhook => lsps5::WebhookRemoved, RemoveWebhookError;
}
