//! What a wallet does with its orders, and what its host tells of them.

use alloc::vec::Vec;
use core::task::Waker;

use lsps_types::Timestamp;

use super::Client;
use crate::effect::ChannelKey;
use crate::jit_receive::{self, Handled};
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
        self.pay_order_in_turn(order, &[way], now)
    }

    /// Has it paid in the first of these ways, and in the next only when nothing of the one before was sent or all of it
    /// came back, while the LSP says that the order stands. No two are ever under way at once.
    ///
    /// # Errors
    ///
    /// When another was chosen before, or it is too late for all of them.
    pub fn pay_order_in_turn(&mut self, order: OrderKey, ways: &[WayKind], now: Timestamp) -> Result<(), OrderError> {
        self.hear_order(order, &Input::Pay(ways.into()), now)
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

    /// Right before the transaction of an order is broadcast, the first time and each time after: whether it may be. An
    /// [`Effect::BroadcastPayment`](crate::Effect::BroadcastPayment) may have waited until its time was over.
    pub fn broadcasts_payment(&mut self, order: OrderKey, now: Timestamp) -> bool {
        self.orders.broadcasts(order, now)
    }

    /// The inputs of a transaction that is not broadcast any more are free, as the effect said.
    pub fn payment_forgotten(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        handled(&self.hear_order(order, &Input::Forgotten, now))
    }

    /// Over Lightning its payment was taken: the node has the preimage.
    pub fn order_settled(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        handled(&self.hear_order(order, &Input::Settled, now))
    }

    /// Nothing of its payment was sent, and the node does not try any more. On-chain: none was signed.
    pub fn order_not_sent(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        handled(&self.hear_order(order, &Input::NotSent, now))
    }

    /// Over Lightning its payment failed or came back, and the node does not try any more. The LSP may have held it before
    /// it was ever asked, so it is asked once more, for [`Polling::after_return`](crate::order::Polling::after_return) at
    /// the most.
    pub fn order_returned(&mut self, order: OrderKey, now: Timestamp) -> Handled {
        let ask_for = self.config.polling.after_return;
        handled(&self.hear_order(order, &Input::Returned { ask_for }, now))
    }

    /// Ends an order, whatever its state. One that was not paid is over at once. What the node may still pay over Lightning
    /// is stopped, and the order is over when the node says so; asked a second time, or with its payment taken or signed,
    /// it is given up at once: what is lost with it is lost, and a channel that comes all the same is refused.
    ///
    /// # Errors
    ///
    /// When it is over, or there is no such order.
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

    /// A purchase may hold it while an order may turn out to be what it is for, so both hear of it.
    pub(super) fn channel_moved(
        &mut self,
        key: ChannelKey,
        bought: &jit_receive::Input,
        ordered: &Input,
        now: Timestamp,
    ) -> Handled {
        let bought = self.book.channel_moved(key, bought, now, &mut self.out);
        let ordered = self.orders.channel_moved(key, ordered, &self.config.polling, now, &mut self.out);
        if ordered == Handled::Taken { ordered } else { bought }
    }

    fn hear_order(&mut self, order: OrderKey, input: &Input, now: Timestamp) -> Result<(), OrderError> {
        self.orders.hear(order, input, &self.config.polling, now, &mut self.out)
    }
}
