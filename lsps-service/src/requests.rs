//! Requests of clients and their answers.

use alloc::vec::Vec;

use lsps_types::codes::GetInfoError;
use lsps_types::jsonrpc::{ErrorObject, Incoming, InvalidParams, RequestId, encode_error, encode_reply};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps1::{self, GetOrder};
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::lsps5::{ListWebhooks, RemoveWebhook, SetWebhook};
use lsps_types::{AnyRequest, Method, PeerId};

use crate::batch::Introduced;
use crate::decisions::{self, Decision, PendingDecision, PendingRequest};
use crate::ids::DecisionId;
use crate::lsps1::requests::refused_token;
use crate::outcome::{Outcome, Refusal};
use crate::policy::{BuyRefusal, MenuRefusal, OrderRefusal};
use crate::service::Service;

impl Service {
    pub(crate) fn answer(&mut self, peer: PeerId, payload: &[u8]) -> Outcome {
        let incoming = match Incoming::decode(payload) {
            Ok(incoming) => incoming,
            Err(not_one) => {
                if let Some(answer) = not_one.answer() {
                    self.send(peer, answer);
                }
                return Outcome::Refused(Refusal::BadMessage);
            }
        };
        let answer = self.answer_to(peer, &incoming);
        // Only of requests that are answered, so that refused ones tell the operator nothing.
        if answer.is_ok()
            && let (Some(method), Some(info)) = (incoming.method(), incoming.client_info())
        {
            self.released.introduced.push(Introduced { client: peer, method: method.name().into(), info });
        }
        match answer {
            Ok(Answer::Now(reply)) => self.send(peer, reply),
            Ok(Answer::Later) => {}
            Err(error) => self.send(peer, encode_error(incoming.id(), &error)),
        }
        Outcome::Taken
    }

    fn answer_to(&mut self, peer: PeerId, incoming: &Incoming<'_>) -> Result<Answer, ErrorObject> {
        let served = |method: &Method| method.lsps() == 0 || self.protocols().contains(&method.lsps());
        let method = incoming.method().filter(served).ok_or_else(ErrorObject::method_not_found)?;
        let id = incoming.id();
        if self.pending_decisions.has(peer, id) || self.orders.has_waiting(peer, id) {
            return Err(ErrorObject::internal());
        }
        let request = AnyRequest::decode_tolerating(method, incoming, &self.around.config.tolerate);
        let request = request.map_err(|invalid| refused_params(method, &invalid))?;
        match request {
            AnyRequest::Lsps0ListProtocols(ListProtocols {}) => {
                let protocols = Protocols { protocols: self.protocols() };
                Ok(Answer::Now(encode_reply::<ListProtocols>(id, &protocols)))
            }
            AnyRequest::Lsps2GetInfo(GetInfo { token: Some(token) }) if token.len() > LONGEST_TOKEN => {
                Err(ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken))
            }
            AnyRequest::Lsps2GetInfo(request) => match self.menu_for(peer, &request) {
                Err(MenuRefusal::Later) => self.ask_elsewhere(peer, id, decisions::Request::Menu(request)),
                verdict => Ok(Answer::Now(encode_reply::<GetInfo>(id, &self.get_info(peer, &request, verdict)?))),
            },
            AnyRequest::Lsps2Buy(request) => {
                let promised = self.promised(peer, &request);
                match self.verdict_on(peer, &request, &promised) {
                    Err(BuyRefusal::Later) => {
                        self.may_be_asked(&request, promised)?;
                        self.ask_elsewhere(peer, id, decisions::Request::Buy(request))
                    }
                    verdict => Ok(Answer::Now(encode_reply::<Buy>(id, &self.buy(peer, &request, promised, verdict)?))),
                }
            }
            AnyRequest::Lsps1GetInfo(lsps1::GetInfo {}) => {
                let options = self.around.policy.options().ok_or_else(ErrorObject::method_not_found)?;
                Ok(Answer::Now(encode_reply::<lsps1::GetInfo>(id, &options)))
            }
            AnyRequest::Lsps1CreateOrder(order) => {
                self.may_be_ordered(&order)?;
                if order.token.as_ref().is_some_and(|token| token.len() > LONGEST_TOKEN) {
                    return Err(refused_token());
                }
                match self.verdict_on_order(peer, &order) {
                    Err(OrderRefusal::Later) => self.ask_elsewhere(peer, id, decisions::Request::Order(order)),
                    verdict => self.create_order(peer, id, order, verdict).map(|()| Answer::Later),
                }
            }
            AnyRequest::Lsps1GetOrder(request) => {
                Ok(Answer::Now(encode_reply::<GetOrder>(id, &self.get_order(peer, &request)?)))
            }
            AnyRequest::Lsps5SetWebhook(request) => {
                Ok(Answer::Now(encode_reply::<SetWebhook>(id, &self.set_webhook(peer, &request)?)))
            }
            AnyRequest::Lsps5ListWebhooks(ListWebhooks {}) => {
                Ok(Answer::Now(encode_reply::<ListWebhooks>(id, &self.list_webhooks(peer))))
            }
            AnyRequest::Lsps5RemoveWebhook(request) => {
                Ok(Answer::Now(encode_reply::<RemoveWebhook>(id, &self.remove_webhook(peer, &request)?)))
            }
        }
    }

    fn ask_elsewhere(
        &mut self,
        client: PeerId,
        id: &RequestId,
        about: decisions::Request,
    ) -> Result<Answer, ErrorObject> {
        let until = self.around.now + self.around.config.decision_timeout;
        let asked = match &about {
            decisions::Request::Menu(GetInfo { token }) => PendingRequest::Menu { token: token.clone() },
            decisions::Request::Buy(buy) => {
                let token = self.promised(client, buy).unwrap_or_default();
                PendingRequest::Buy { token, payment_size: buy.payment_size_msat }
            }
            decisions::Request::Order(order) => PendingRequest::Order(order.clone()),
        };
        let waiting = decisions::Waiting { request: id.clone(), about, until };
        let is_known = self.is_known(client);
        let added = self.pending_decisions.add(client, is_known, waiting, self.around.now, &self.around.config.limits);
        let id = added.ok_or_else(|| ErrorObject::client_rejected("too many requests are being decided"))?;
        self.released.pending_decisions.push(PendingDecision { id, about: asked, until });
        Ok(Answer::Later)
    }

    /// Answers a request by a decision that was taken elsewhere.
    pub(crate) fn decided(&mut self, id: DecisionId, decision: &Decision) -> Outcome {
        let Some(waiting) = self.pending_decisions.take(id) else { return Outcome::NotMine };
        let client = id.client;
        let answer = match (&waiting.about, decision.clone()) {
            (decisions::Request::Menu(request), Decision::Menu(verdict)) => {
                self.get_info(client, request, verdict).map(|menu| encode_reply::<GetInfo>(&waiting.request, &menu))
            }
            (decisions::Request::Buy(request), Decision::Buy(verdict)) => self
                .buy(client, request, self.promised(client, request), verdict)
                .map(|bought| encode_reply::<Buy>(&waiting.request, &bought)),
            (decisions::Request::Order(order), Decision::Order(verdict)) => {
                match self.create_order(client, &waiting.request, order.clone(), verdict) {
                    Ok(()) => return Outcome::Taken,
                    Err(error) => Err(error),
                }
            }
            (decisions::Request::Menu(_), Decision::Buy(_) | Decision::Order(_))
            | (decisions::Request::Buy(_), Decision::Menu(_) | Decision::Order(_))
            | (decisions::Request::Order(_), Decision::Menu(_) | Decision::Buy(_)) => Err(ErrorObject::internal()),
        };
        self.send(client, answer.unwrap_or_else(|error| encode_error(&waiting.request, &error)));
        Outcome::Taken
    }

    /// Answers a request whose decision was not taken in time.
    pub(crate) fn undecided(&mut self, id: DecisionId) {
        if let Some(waiting) = self.pending_decisions.take(id) {
            self.send(id.client, encode_error(&waiting.request, &ErrorObject::internal()));
        }
    }
}

enum Answer {
    Now(Vec<u8>),
    Later,
}

/// Longest token, in bytes. Operators give out shorter ones, and a client's token is kept in memory while its request
/// waits.
const LONGEST_TOKEN: usize = 200;

/// The error for parameters that do not fit. Terms with other fields than the eight are not the promised ones (reading
/// Unknown parameters take precedence.
fn refused_params(method: Method, invalid: &InvalidParams) -> ErrorObject {
    let path = invalid.property.as_deref().unwrap_or_default();
    let within_terms = path.starts_with("opening_fee_params.") && invalid.unrecognized.is_empty();
    if method == Method::Lsps2Buy && within_terms {
        return ErrorObject::of_method(lsps_types::codes::BuyError::InvalidOpeningFeeParams);
    }
    ErrorObject::invalid_params(invalid)
}
