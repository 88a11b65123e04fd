//! One method for each input, for callers that do not use [`Client::handle`] yet.

use alloc::vec::Vec;

use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{Msat, OutPoint, PaymentHash, PeerId, Preimage, Timestamp};

use super::Client;
use crate::effect::ChannelKey;
use crate::input::Input;
use crate::jit_receive::{Handled, OpenRequest, Prepared, RefuseChannel, RefusePurchase};
use crate::order::{OrderError, OrderKey, PaymentMethod, Quote, RefusePlace};
use crate::outcome::{Heard, Outcome, Refusal};
use crate::webhooks::TooManyApps;

impl Client {
    /// Reports [`Input::Message`] to [`Client::handle`].
    pub fn receive(&mut self, from: PeerId, payload: &[u8]) -> Heard {
        match self.handle(&Input::Message { peer: from, payload: payload.into() }, self.ticked_at) {
            Outcome::Heard(heard) => heard,
            Outcome::Taken | Outcome::NotMine | Outcome::Sent(_) | Outcome::Placed(_) | Outcome::Refused(_) => {
                unreachable!("a message is heard")
            }
        }
    }

    /// Reports [`Input::PeerConnected`] to [`Client::handle`].
    pub fn peer_connected(&mut self, lsp: PeerId) {
        let _ = self.handle(&Input::PeerConnected { peer: lsp }, self.ticked_at);
    }

    /// Reports [`Input::PeerDisconnected`] to [`Client::handle`].
    pub fn peer_disconnected(&mut self, lsp: PeerId) {
        let _ = self.handle(&Input::PeerDisconnected { peer: lsp }, self.ticked_at);
    }

    /// Reports [`Input::Tick`] to [`Client::handle`].
    pub fn tick(&mut self, now: Timestamp) {
        let _ = self.handle(&Input::Tick, now);
    }

    /// Reports [`Input::ClockSet`] to [`Client::handle`].
    pub fn clock_set(&mut self, from: Timestamp, to: Timestamp) {
        let _ = self.handle(&Input::ClockSet { from, to }, to);
    }

    /// Reports [`Input::RegisterPurchase`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn register(&mut self, prepared: &Prepared, hash: PaymentHash, now: Timestamp) -> Result<(), RefusePurchase> {
        if let Outcome::Refused(Refusal::Purchase(why)) =
            self.handle(&Input::RegisterPurchase { prepared: prepared.clone(), payment_hash: hash }, now)
        {
            Err(why)
        } else {
            Ok(())
        }
    }

    /// Reports [`Input::ChannelRequested`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn open_requested(&mut self, request: &OpenRequest, now: Timestamp) -> Result<(), RefuseChannel> {
        if let Outcome::Refused(Refusal::Channel(why)) = self.handle(&Input::ChannelRequested(*request), now) {
            Err(why)
        } else {
            Ok(())
        }
    }

    /// Reports [`Input::ChannelWith`] to [`Client::handle`].
    pub fn channel_with(&mut self, lsp: PeerId) {
        let _ = self.handle(&Input::ChannelWith { peer: lsp }, self.ticked_at);
    }

    /// Reports [`Input::ChannelFunded`] of a node that does not name the funding output.
    pub fn channel_pending(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        self.told(&Input::ChannelFunded { key, funding: None }, now)
    }

    /// Reports [`Input::ChannelFunded`] to [`Client::handle`].
    pub fn channel_funded(&mut self, key: ChannelKey, funding: OutPoint, now: Timestamp) -> Handled {
        self.told(&Input::ChannelFunded { key, funding: Some(funding) }, now)
    }

    /// Reports [`Input::ChannelEnded`] to [`Client::handle`].
    pub fn channel_ended(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        self.told(&Input::ChannelEnded { key }, now)
    }

    /// Reports [`Input::ChannelConfirmed`] to [`Client::handle`].
    pub fn channel_confirmed(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        self.told(&Input::ChannelConfirmed { key }, now)
    }

    /// Reports [`Input::PaymentHeld`] to [`Client::handle`].
    pub fn held(
        &mut self,
        hash: PaymentHash,
        (received, skimmed): (Msat, Msat),
        preimage: Option<Preimage>,
        over: &[ChannelKey],
        now: Timestamp,
    ) -> Handled {
        self.told(&Input::PaymentHeld { payment_hash: hash, received, skimmed, preimage, over: over.into() }, now)
    }

    /// Reports [`Input::HeldPaymentFailed`] to [`Client::handle`].
    pub fn gave_up(&mut self, hash: PaymentHash, now: Timestamp) -> Handled {
        self.told(&Input::HeldPaymentFailed { payment_hash: hash }, now)
    }

    /// Reports [`Input::PaymentClaimed`] to [`Client::handle`].
    pub fn claimed(
        &mut self,
        hash: PaymentHash,
        received: Msat,
        skimmed: Msat,
        over: &[ChannelKey],
        now: Timestamp,
    ) -> Handled {
        self.told(&Input::PaymentClaimed { payment_hash: hash, received, skimmed, over: over.into() }, now)
    }

    /// Reports [`Input::AbandonPurchase`] to [`Client::handle`].
    pub fn abandon(&mut self, hash: PaymentHash, now: Timestamp) -> Handled {
        self.told(&Input::AbandonPurchase { payment_hash: hash }, now)
    }

    /// Reports [`Input::PlaceOrder`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn place_order(&mut self, quote: Quote, now: Timestamp) -> Result<OrderKey, RefusePlace> {
        match self.handle(&Input::PlaceOrder(quote), now) {
            Outcome::Placed(order) => Ok(order),
            Outcome::Refused(Refusal::Place(why)) => Err(why),
            Outcome::Taken | Outcome::NotMine | Outcome::Sent(_) | Outcome::Heard(_) | Outcome::Refused(_) => {
                unreachable!("an order is placed or not")
            }
        }
    }

    /// Reports [`Input::PayOrder`] with this payment method alone.
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn pay_order(&mut self, order: OrderKey, method: PaymentMethod, now: Timestamp) -> Result<(), OrderError> {
        self.pay_order_in_turn(order, &[method], now)
    }

    /// Reports [`Input::PayOrder`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn pay_order_in_turn(
        &mut self,
        order: OrderKey,
        methods: &[PaymentMethod],
        now: Timestamp,
    ) -> Result<(), OrderError> {
        self.ordered(&Input::PayOrder { order, methods: methods.into() }, now)
    }

    /// Reports [`Input::OrderSigned`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn order_signed(&mut self, order: OrderKey, transaction: Vec<u8>, now: Timestamp) -> Result<(), OrderError> {
        self.ordered(&Input::OrderSigned { order, transaction }, now)
    }

    /// Reports [`Input::Broadcasting`] to [`Client::handle`].
    pub fn broadcasts_payment(&mut self, order: OrderKey, now: Timestamp) -> bool {
        self.handle(&Input::Broadcasting { order }, now) == Outcome::Taken
    }

    /// Reports [`Input::PaymentForgotten`] to [`Client::handle`].
    pub fn payment_forgotten(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        self.told(&Input::PaymentForgotten { order }, now)
    }

    /// Reports [`Input::OrderSettled`] to [`Client::handle`].
    pub fn order_settled(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        self.told(&Input::OrderSettled { order }, now)
    }

    /// Reports [`Input::OrderNotSent`] to [`Client::handle`].
    pub fn order_not_sent(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        self.told(&Input::OrderNotSent { order }, now)
    }

    /// Reports [`Input::OrderReturned`] to [`Client::handle`].
    pub fn order_returned(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        self.told(&Input::OrderReturned { order }, now)
    }

    /// Reports [`Input::AbandonOrder`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn abandon_order(&mut self, order: OrderKey, now: Timestamp) -> Result<(), OrderError> {
        self.ordered(&Input::AbandonOrder { order }, now)
    }

    /// Reports [`Input::KeepWebhook`] to [`Client::handle`].
    ///
    /// # Errors
    ///
    /// The client refuses the input.
    pub fn keep_webhook(
        &mut self,
        lsp: PeerId,
        app: AppName,
        url: WebhookUrl,
        now: Timestamp,
    ) -> Result<(), TooManyApps> {
        if let Outcome::Refused(Refusal::Webhook(why)) = self.handle(&Input::KeepWebhook { lsp, app, url }, now) {
            Err(why)
        } else {
            Ok(())
        }
    }

    /// Reports [`Input::RemoveWebhook`] to [`Client::handle`].
    pub fn remove_webhook(&mut self, lsp: PeerId, app: &AppName, now: Timestamp) {
        let _ = self.handle(&Input::RemoveWebhook { lsp, app: app.clone() }, now);
    }

    fn told(&mut self, input: &Input, now: Timestamp) -> Handled {
        if self.handle(input, now) == Outcome::Taken { Handled::Taken } else { Handled::NotMine }
    }

    fn ordered(&mut self, input: &Input, now: Timestamp) -> Result<(), OrderError> {
        if let Outcome::Refused(Refusal::Order(why)) = self.handle(input, now) { Err(why) } else { Ok(()) }
    }
}
