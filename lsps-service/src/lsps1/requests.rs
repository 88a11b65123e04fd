//! `lsps1.create_order` and `lsps1.get_order`.

use alloc::{collections::BTreeMap, vec::Vec};

use lsps_types::codes::{CreateOrderError, GetOrderError};
use lsps_types::jsonrpc::{ErrorObject, RequestId, encode_error, encode_reply};
use lsps_types::lsps1::{self, CreateOrder, GetOrder};
use lsps_types::{PeerId, Preimage, Sat, Timestamp};
use serde::Serialize;
use uuid::{Builder, Uuid};

use crate::book::Ledger;
use crate::channel::Channel;
use crate::flow::{Context, Link, Reject, WakeUp};
use crate::ids::{FlowId, OfferId, OrderNumber};
use crate::limits::Limits;
use crate::lsps1::order::{Command, Order, Ordered, Stage};
use crate::lsps1::payments::{DUST, Lightning, Onchain, PaymentMethods, cost_of_input};
use crate::policy::{OrderRefusal, OrderRequest, OrderTerms};
use crate::service::Service;

impl Service {
    /// Checks of an order that need no policy: the address and the options. Spec: LSPS1 §2.
    pub(crate) fn may_be_ordered(&self, order: &CreateOrder) -> Result<(), ErrorObject> {
        let options = self.around.policy.options().ok_or_else(ErrorObject::method_not_found)?;
        let network = self.around.config.orders.network.ok_or_else(ErrorObject::internal)?;
        order.fits(network).map_err(|invalid| ErrorObject::invalid_params(&invalid))?;
        let mismatch = |data| ErrorObject::of_method_with(CreateOrderError::OptionMismatch, &data);
        options.allow(order).map_err(mismatch)
    }

    /// The policy's terms for the order.
    pub(crate) fn verdict_on_order(&self, client: PeerId, order: &CreateOrder) -> Result<OrderTerms, OrderRefusal> {
        let token_uses = self.token_uses(order.token.as_deref());
        let (open_orders, history) = (self.orders.open_of(client), self.offers.index().history(client));
        let ask = OrderRequest { client, order, token_uses, open_orders, history, now: self.around.now };
        self.around.policy.may_order(&ask, &self.around.facts)
    }

    /// Creates an order. Spec: LSPS1 §2. The reply follows once the node has created the payment methods.
    pub(crate) fn create_order(
        &mut self,
        client: PeerId,
        request: &RequestId,
        order: CreateOrder,
        verdict: Result<OrderTerms, OrderRefusal>,
    ) -> Result<(), ErrorObject> {
        let terms = verdict.map_err(|refusal| match refusal {
            OrderRefusal::Token => refused_token(),
            OrderRefusal::Option(mismatch) => ErrorObject::of_method_with(CreateOrderError::OptionMismatch, &mismatch),
            OrderRefusal::Client(why) => ErrorObject::client_rejected(&why),
            OrderRefusal::Later => ErrorObject::internal(),
        })?;
        if !self.makes_room_for_order(client) {
            return Err(ErrorObject::client_rejected("too many orders are not paid for yet"));
        }
        self.may_be_sold_to(client)?;
        let order = self.draft(client, request, order, terms).ok_or_else(ErrorObject::internal)?;
        self.released.effects.extend(order.outstanding());
        self.orders.waiting.insert(order.number, request.clone());
        self.orders.insert(order, &self.around);
        Ok(())
    }

    /// Makes room for an order. Node ids cost nothing, so a quarter of the room is reserved for clients that have a
    /// channel or paid for one. Once half of the rest is used, each stranger can have one order. Failed orders that
    /// nobody paid are removed first.
    fn makes_room_for_order(&mut self, client: PeerId) -> bool {
        let limits = &self.around.config.limits;
        let most = if self.is_known(client) { limits.orders } else { Limits::of_strangers(limits.orders) };
        let per_client = limits.orders_per_client;
        let mut has_looked = false;
        while self.orders.without_channel() >= most {
            let first = self.orders.first_to_give_way().filter(|(at, _)| *at <= self.around.now);
            if let Some((_, over)) = first {
                self.orders.remove(over);
                self.changed.insert(FlowId::Order(over));
            } else if core::mem::replace(&mut has_looked, true) {
                return false;
            } else {
                // Some of the orders that are due may be over.
                let due = self.orders.flows().chores(self.around.now);
                due.into_iter().for_each(|order| self.look_around_order(order));
            }
        }
        let open = self.orders.open_of(client);
        open < per_client && !(open > 0 && self.is_crowded_for(client))
    }

    /// Whether so many orders are open that this client, as a stranger, gets a short turn only.
    fn is_crowded_for(&self, client: PeerId) -> bool {
        let crowd = Limits::crowd(self.around.config.limits.orders);
        !self.is_known(client) && self.orders.without_channel() >= crowd
    }

    /// Drafts an order; `None` if no payment method is left, and the order is not free.
    fn draft(&self, client: PeerId, request: &RequestId, order: CreateOrder, terms: OrderTerms) -> Option<Order> {
        let (number, id) = self.unused_order_id(client, request)?;
        let preimage = Preimage(self.promises.derive("preimage of an order", &[&id]));
        // An amount that overflows in millisatoshis cannot be paid over Lightning.
        let is_payable = |fee: Sat| fee.checked_add(order.client_balance_sat).and_then(Sat::to_msat).is_some();
        let payable = |method: &crate::policy::MethodTerms| is_payable(method.fee);
        let limits = &self.around.config.limits;
        let turn = self.is_crowded_for(client).then(|| self.around.now + limits.turn_of_order());
        let (terms, free_until) = given_away(terms, &order);
        let free_until = free_until.map(|until| turn.map_or(until, |turn| turn.min(until)));
        let bolt11 = terms.bolt11.filter(payable).map(|method| lightning(method, preimage, turn));
        let bolt12 = terms.bolt12.filter(payable).map(|method| lightning(method, OfferId([0; 32]), turn));
        let address = order.refund_onchain_address;
        let onchain = terms.onchain.zip(address).map(|((method, confirmation), refund_to)| Onchain {
            fee: method.fee,
            expires_at: method.expires_at,
            confirmation,
            address: "".into(),
            refund_to: refund_to.into(),
        });
        let feerate = self.around.facts.feerate_sat_per_kw;
        let is_worth_it = |total: Sat| total >= DUST && total > cost_of_input(feerate);
        let reaches = |fee: Sat| fee.checked_add(order.client_balance_sat).is_some_and(is_worth_it);
        let onchain = onchain.filter(|method| is_payable(method.fee) && reaches(method.fee));
        // An address has to be watched for longer than a turn.
        let onchain = onchain.filter(|_| turn.is_none() || (bolt11.is_none() && bolt12.is_none()));
        if bolt11.is_none() && bolt12.is_none() && onchain.is_none() && free_until.is_none() {
            return None;
        }
        Some(Order {
            number,
            id,
            client,
            ordered: Ordered {
                lsp_balance: order.lsp_balance_sat,
                client_balance: order.client_balance_sat,
                required_channel_confirmations: order.required_channel_confirmations,
                funding_confirms_within_blocks: order.funding_confirms_within_blocks,
                channel_expiry_blocks: order.channel_expiry_blocks,
                token: order.token,
                announce_channel: order.announce_channel,
            },
            created_at: self.around.now,
            methods: PaymentMethods { bolt11, bolt12, onchain },
            stage: Stage::Draft { until: self.around.now + self.around.config.orders.prepare_timeout },
            attempt: 0,
            failures: 0,
            retry_at: None,
            channel: Channel::None,
            funding_outpoint: None,
            confirmed_at: None,
            payments: BTreeMap::new(),
            outputs: BTreeMap::new(),
            refunds: Vec::new(),
            wake_up: WakeUp::default(),
            ledger: Ledger::default(),
            remember_until: terms.remember_until,
            ids: BTreeMap::new(),
            free_until,
        })
    }

    /// Derives a UUID from the key and from values that do not repeat: client, time and request.
    fn unused_order_id(&self, client: PeerId, request: &RequestId) -> Option<(OrderNumber, [u8; 16])> {
        let now = self.around.now.unix_millis().to_be_bytes();
        let request = encode_error(request, &ErrorObject::internal());
        (0..self.around.config.limits.scid_draws).find_map(|draw| {
            let draw = draw.to_be_bytes();
            let random = self.promises.derive("id of an order", &[&client.0, &now, &request, &draw]);
            let id = Builder::from_random_bytes(*random.first_chunk()?).into_uuid().into_bytes();
            let number = OrderNumber(u64::from_be_bytes(*id.first_chunk()?));
            self.orders.get(number).is_none().then_some((number, id))
        })
    }

    /// The state of an order. Spec: LSPS1 §3. A client does not learn whether the id belongs to another client's order.
    pub(crate) fn get_order(&mut self, client: PeerId, request: &GetOrder) -> Result<lsps1::Order, ErrorObject> {
        let not_found = || ErrorObject::of_method_with(GetOrderError::NotFound, &Nothing {});
        let id = Uuid::try_parse(&request.order_id).map_err(|_| not_found())?.into_bytes();
        let number = id.first_chunk().map(|first| OrderNumber(u64::from_be_bytes(*first))).ok_or_else(not_found)?;
        if self.orders.is_due(number, self.around.now) {
            self.look_around_order(number);
        }
        let order = self.orders.get(number).filter(|order| order.client == client);
        let order = order.filter(|order| order.order_id().as_str() == request.order_id);
        let order = order.filter(|order| !matches!(order.stage, Stage::Draft { .. })).ok_or_else(not_found)?;
        Ok(order.view(&self.around.context(client)))
    }

    /// Executes a command to an order; releases new effects, answers the client, or removes an order that is over.
    pub(crate) fn step_order(&mut self, number: OrderNumber, command: &Command<'_>) -> Result<(), Reject> {
        if !matches!(command, Command::ClockSet(_) | Command::Environment)
            && self.orders.is_due(number, self.around.now)
        {
            self.look_around_order(number);
        }
        let Some(order) = self.orders.get(number) else { return Err(Reject::Stale) };
        let was_draft = matches!(order.stage, Stage::Draft { .. });
        let client = order.client;
        let opens_of_others = self
            .orders
            .opening_besides(client, Some(number))
            .saturating_add(self.offers.index().opening_besides(client, None));
        let carries_others = self.offers.index().carries(client);
        let ctx = Context { carries_others, opens_of_others, ..self.around.context(client) };
        let mut moved = self.orders.step(number, command, &ctx, &self.around)?;
        let order = self.orders.get(number);
        let is_over = order.is_none();
        let is_draft = order.or(moved.over.as_ref()).is_some_and(|order| matches!(order.stage, Stage::Draft { .. }));
        let view = order.filter(|_| was_draft).map(|order| order.view(&ctx));
        let is_gone = view.is_none() && ctx.link == Link::Offline;
        let signals = core::mem::take(&mut moved.signals);
        let is_changed = self.release(FlowId::Order(number), moved);
        // A draft is not on record.
        if is_changed && !is_draft && !(was_draft && is_over) {
            self.changed.insert(FlowId::Order(number));
        }
        if !is_draft && let Some(request) = self.orders.waiting.remove(&number) {
            let answer = match view {
                Some(view) => encode_reply::<CreateOrder>(&request, &view),
                None => encode_error(&request, &ErrorObject::internal()),
            };
            if !is_gone {
                self.send(client, answer);
            }
        }
        self.deliver(signals);
        Ok(())
    }
}

pub(crate) fn refused_token() -> ErrorObject {
    ErrorObject::of_method_with(CreateOrderError::UnrecognizedOrStaleToken, &Nothing {})
}

/// Empty `data` of errors whose code says everything.
#[derive(Serialize)]
struct Nothing {}

/// The terms without payment methods if the order is free, and the time until which its client is waited for. An order is
/// free if the total by some method is zero, as no one would choose another method (reading R-47).
fn given_away(terms: OrderTerms, order: &CreateOrder) -> (OrderTerms, Option<Timestamp>) {
    let onchain = terms.onchain.as_ref().map(|(method, _)| method);
    let offered = [terms.bolt11.as_ref(), terms.bolt12.as_ref(), onchain].into_iter().flatten();
    let free = offered.filter(|method| method.fee == Sat::ZERO && order.client_balance_sat == Sat::ZERO);
    match free.map(|method| method.expires_at).max() {
        Some(until) => (OrderTerms { remember_until: terms.remember_until, ..OrderTerms::default() }, Some(until)),
        None => (terms, None),
    }
}

fn lightning<By>(method: crate::policy::MethodTerms, by: By, turn: Option<Timestamp>) -> Lightning<By> {
    let expires_at = turn.map_or(method.expires_at, |turn| turn.min(method.expires_at));
    Lightning { fee: method.fee, expires_at, by, text: "".into(), closed: false }
}
