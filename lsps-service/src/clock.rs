//! Corrections after the host's clock was set. Promised dates stay; waits keep their length.

use alloc::vec::Vec;
use core::time::Duration;

pub(crate) use lsps_types::ClockShift as Shift;
use lsps_types::{PeerId, Scid, Timestamp};

use crate::ids::OrderNumber;
use crate::input::Input;
use crate::lsps1::order;
use crate::lsps2::jit_channel::Command;
use crate::lsps5::webhooks;
use crate::service::Service;

impl Service {
    /// Reads the clock before an input is handled. A clock that fell back by a moment is waited for; one that was set
    /// back is followed.
    pub(crate) fn read_clock(&mut self, input: &Input, now: Timestamp) {
        let before = self.around.now;
        let was_loaded = core::mem::take(&mut self.was_loaded);
        let is_set_back = before.since(now) > JITTER;
        let (from, to) = if let Input::ClockSet { from, to } = input { (*from, *to) } else { (now, now) };
        let shift = Shift { from, to, now };
        if from != to || is_set_back {
            self.around.now = now;
            self.shift_waits(shift, |_| true);
        } else {
            self.around.now = before.max(now);
            if was_loaded {
                self.shift_waits(Shift { now: self.around.now, ..shift }, |is_ahead| is_ahead);
            }
        }
    }

    /// Steps the flows for which `is_told` holds; its argument says whether an instant of the flow changes.
    fn shift_waits(&mut self, shift: Shift, is_told: impl Fn(bool) -> bool) {
        let config = &self.around.config;
        let offers = self.offers.values().filter(|offer| is_told(offer.is_shifted_by(&shift)));
        let offers: Vec<Scid> = offers.map(|offer| offer.id).collect();
        let orders = self.orders.all().filter(|order| is_told(order.is_shifted_by(&shift, &config.orders)));
        let orders: Vec<OrderNumber> = orders.map(|order| order.number).collect();
        let clients = self.webhooks.values().filter(|hooks| is_told(hooks.is_shifted_by(&shift, &config.webhooks)));
        let clients: Vec<PeerId> = clients.map(|hooks| hooks.client).collect();
        self.pending_decisions.clock_set(&shift, config.decision_timeout);
        for id in offers {
            let _no_rejects_here = self.step(id, &Command::ClockSet(shift));
        }
        for number in orders {
            let _no_rejects_here = self.step_order(number, &order::Command::ClockSet(shift));
        }
        for client in clients {
            let _it_is_there = self.tell_webhooks(client, &webhooks::Command::ClockSet(shift));
        }
    }
}

/// Largest step back of a clock that was not set.
const JITTER: Duration = Duration::from_secs(5);
