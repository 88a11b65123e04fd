//! From a payload to its answer.

use lsps_types::jsonrpc::{ErrorObject, Incoming, InvalidParams, NotARequest, RequestId, encode_error, encode_reply};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::{AnyRequest, Method, PeerId, Request};

use crate::service::Service;

impl Service {
    pub(crate) fn answer(&mut self, peer: PeerId, payload: &[u8]) {
        let incoming = match Incoming::decode(payload) {
            Ok(incoming) => incoming,
            Err(NotARequest::Bad(_)) => return self.send(peer, encode_error(None, &ErrorObject::parse_error())),
            Err(NotARequest::UncorrelatedError) => return,
        };
        let reply = self.reply_to(peer, &incoming).unwrap_or_else(|error| encode_error(Some(incoming.id()), &error));
        self.send(peer, reply);
    }

    fn reply_to(&mut self, peer: PeerId, incoming: &Incoming<'_>) -> Result<alloc::vec::Vec<u8>, ErrorObject> {
        let served = |method: &Method| method.lsps() == 0 || self.protocols().contains(&method.lsps());
        let method = incoming.method().filter(served).ok_or_else(ErrorObject::method_not_found)?;
        let id = incoming.id();
        let request = AnyRequest::decode(method, incoming).map_err(|invalid| refused_params(method, &invalid))?;
        match request {
            AnyRequest::Lsps0ListProtocols(ListProtocols {}) => {
                Ok(encode_reply::<ListProtocols>(id, &Protocols { protocols: self.protocols() }))
            }
            AnyRequest::Lsps2GetInfo(request) => self.get_info(peer, &request).map(|menu| reply(&request, id, &menu)),
            AnyRequest::Lsps2Buy(request) => self.buy(peer, &request).map(|bought| reply(&request, id, &bought)),
            // Not served yet, so not in `protocols` either.
            AnyRequest::Lsps1GetInfo(_)
            | AnyRequest::Lsps1CreateOrder(_)
            | AnyRequest::Lsps1GetOrder(_)
            | AnyRequest::Lsps5SetWebhook(_)
            | AnyRequest::Lsps5ListWebhooks(_)
            | AnyRequest::Lsps5RemoveWebhook(_) => Err(ErrorObject::method_not_found()),
        }
    }
}

/// The request is there to name the type.
fn reply<R: Request>(_: &R, id: &RequestId, reply: &R::Reply) -> alloc::vec::Vec<u8> {
    encode_reply::<R>(id, reply)
}

/// Terms with other fields than the eight are not the promised ones (reading R-23). Unknown parameters come first.
fn refused_params(method: Method, invalid: &InvalidParams) -> ErrorObject {
    let path = invalid.property.as_deref().unwrap_or_default();
    let within_terms = path.starts_with("opening_fee_params.") && invalid.unrecognized.is_empty();
    if method == Method::Lsps2Buy && within_terms {
        return ErrorObject::of_method(lsps_types::codes::BuyError::InvalidOpeningFeeParams);
    }
    ErrorObject::invalid_params(invalid)
}
