//! What a wallet does with its orders, and what its host tells of them.

use alloc::vec::Vec;
use core::task::Waker;

use lsps_types::Timestamp;

use super::Client;
use crate::effect::ChannelKey;
use crate::jit_receive::Handled;
use crate::order::book::handled;
use crate::order::{Input, Order, OrderError, OrderKey, Quote, RefusePlace, WayKind};

impl Client {
    /// Puts an order on record that the LSP made and that was weighed. Nothing is paid yet, and it may be left at that.
    ///
    /// # Errors
    ///
    /// When it is too late, there are too many, or its payment hash was used before; nothing is recorded then.
    pub fn place_order(&mut self, quote: Quote, now: Timestamp) -> Result<OrderKey, RefusePlace> {
        if quote.payment_hash().is_some_and(|hash| self.book.get(hash).is_some()) {
            return Err(RefusePlace::KnownPaymentHash);
        }
        self.orders.place(quote, self.config.orders, now, &mut self.out)
    }

    /// Has it paid in this way, and in no other ever. The effect comes once that is written.
    ///
    /// # Errors
    ///
    /// When another was chosen before, or it is too late.
    pub fn pay_order(&mut self, order: OrderKey, way: WayKind, now: Timestamp) -> Result<(), OrderError> {
        self.hear_order(order, &Input::Pay(way), now)
    }

    /// This transaction pays it: it has exactly one output of the total to the address. It must not be broadcast before the
    /// effect says so; nor ever, if this fails or another was recorded.
    ///
    /// # Errors
    ///
    /// When the order is not to be paid so, or not any more.
    pub fn order_signed(&mut self, order: OrderKey, transaction: Vec<u8>, now: Timestamp) -> Result<(), OrderError> {
        self.hear_order(order, &Input::Signed(transaction), now)
    }

    /// Over Lightning its payment was taken: the node has the preimage.
    pub fn order_settled(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        handled(&self.hear_order(order, &Input::Settled, now))
    }

    /// Nothing of its payment was sent, and the node does not try any more. On-chain: none was signed.
    pub fn order_not_sent(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        handled(&self.hear_order(order, &Input::NotSent, now))
    }

    /// Over Lightning its payment failed or came back, and the node does not try any more. The LSP may have held it
    /// before it was ever asked, so it is asked once more, for [`Polling::after_return`](crate::order::Polling::after_return)
    /// at the most.
    pub fn order_returned(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        let ask_for = self.config.polling.after_return;
        handled(&self.hear_order(order, &Input::Returned { ask_for }, now))
    }

    /// Gives up an order that was not paid, or that failed, or that is in trouble. What is lost with it is lost.
    ///
    /// # Errors
    ///
    /// When its channel is to be expected.
    pub fn abandon_order(&mut self, order: OrderKey, now: Timestamp) -> Result<(), OrderError> {
        self.hear_order(order, &Input::Abandon, now)
    }

    /// An order, by its local name.
    #[must_use]
    pub fn order(&self, order: OrderKey) -> Option<&Order> {
        self.orders.get(order)
    }

    /// All orders on record.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter()
    }

    /// For futures: wakes `waker` when this order changes, or goes.
    pub fn watch_order(&mut self, order: OrderKey, waker: &Waker) {
        self.orders.watch(order, waker);
    }

    pub(super) fn ordered_moved(&mut self, channel: ChannelKey, input: &Input, now: Timestamp) -> Handled {
        self.orders.channel_moved(channel, input, &self.config.polling, now, &mut self.out)
    }

    fn hear_order(&mut self, order: OrderKey, input: &Input, now: Timestamp) -> Result<(), OrderError> {
        self.orders.hear(order, input, &self.config.polling, now, &mut self.out)
    }
}
