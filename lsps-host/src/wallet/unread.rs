//! Records that the store failed to read at the start. An event that matches no loaded flow has to be reported again
//! until they are read. If it were left to the application, the outcome of a payment could be lost and the payment
//! made again.

use std::collections::BTreeSet;
use std::time::Duration;

use lsps_client::FlowId;

use super::pump::Pump;
use super::report;
use crate::ports::WalletNodeEvent;

/// Flows whose records are not read.
#[derive(Default)]
pub(super) struct Unread {
    flows: BTreeSet<FlowId>,
    /// Time of the last attempt to read them, on the steady clock.
    looked_at: Duration,
}

impl Unread {
    /// Creates the set from record names. Names that belong to no flow of this version are left out.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, now: Duration) -> Self {
        Self { flows: names.filter_map(|name| name.parse().ok()).collect(), looked_at: now }
    }

    /// Whether an event may concern one of these flows, and must not be handled before its record is read.
    pub fn may_be(&self, event: &WalletNodeEvent) -> bool {
        match event {
            WalletNodeEvent::PaymentHeld(payment) => self.flows.contains(&FlowId::Purchase(payment.payment_hash)),
            WalletNodeEvent::PaymentClaimed { payment_hash, .. } => {
                self.flows.contains(&FlowId::Purchase(*payment_hash))
            }
            WalletNodeEvent::ChannelRequested(_) => !self.flows.is_empty(),
            WalletNodeEvent::ChannelFunded { .. }
            | WalletNodeEvent::ChannelEnded { .. }
            | WalletNodeEvent::PaymentEnded { .. }
            | WalletNodeEvent::Marker(_) => false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Removes a flow whose record was written again.
    pub fn is_written(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }
}

impl Pump {
    /// Reads the records again, at most once a second, and compares those that could be read with the node.
    pub(super) async fn read_missing(&mut self) {
        let now = self.outside.clock.steady();
        if self.unread.is_empty() || now.saturating_sub(self.unread.looked_at) < AGAIN {
            return;
        }
        self.unread.looked_at = now;
        let names: Vec<String> = self.unread.flows.iter().map(FlowId::to_string).collect();
        let read = self.durable.store.read(names).await;
        if read.is_lost() {
            return crate::pump::loses_ownership(self);
        }
        self.unread.flows = read.failed.iter().filter_map(|(name, _)| name.parse().ok()).collect();
        if read.records.is_empty() {
            return;
        }
        for (name, bytes) in read.records {
            if let Err(why) = self.session.with(|client, _| client.load(&name, &bytes)) {
                report::unreadable(&why);
            }
        }
        self.reconcile();
    }
}

/// Pause between attempts to read the records.
const AGAIN: Duration = Duration::from_secs(1);
