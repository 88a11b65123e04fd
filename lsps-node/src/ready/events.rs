//! Reactions of a ready node to LDK's events.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bitcoin::io;
use lightning::events::{Event as LdkEvent, PaymentPurpose, ReplayEvent};
use lightning::sign::EntropySource as _;
use lightning::types::payment::PaymentHash;

use super::history::{Payment, PaymentKind, PaymentStatus, now};
use super::queue::Event;
use super::{Host, Ldk, State};

/// The handler of a node's events.
#[derive(Clone)]
pub(super) struct Reaction {
    ldk: Weak<Ldk>,
    host: Host,
    state: Arc<State>,
}

impl Reaction {
    pub fn new(ldk: &Arc<Ldk>, host: Host, state: Arc<State>) -> Self {
        Self { ldk: Arc::downgrade(ldk), host, state }
    }

    /// Handles an event. After an error LDK tells it again; every step here may be done twice.
    pub async fn to(&self, event: LdkEvent) -> Result<(), ReplayEvent> {
        let is_hosts = match &self.host {
            Host::Wallet(wallet) => wallet.handle_event(&event).await?,
            Host::Lsp(lsp) => lsp.handle_event(&event).await?,
        };
        if self.note(&event).is_err() {
            tokio::time::sleep(PAUSE).await; // LDK would tell it again at once
            return Err(ReplayEvent());
        }
        let Some(ldk) = self.ldk.upgrade().filter(|_| !is_hosts) else { return Ok(()) };
        self.act(&ldk, &event);
        if let Err(why) = ldk.chores(&event) {
            eprintln!("{}: {why}", ldk.name());
        }
        Ok(())
    }

    /// Answers an event that no flow of LSPS has.
    fn act(&self, ldk: &Ldk, event: &LdkEvent) {
        let manager = ldk.channel_manager();
        if let LdkEvent::PaymentClaimable { purpose, payment_hash, .. } = event {
            match purpose.preimage() {
                Some(preimage) => manager.claim_funds(preimage),
                None => manager.fail_htlc_backwards(payment_hash), // to a hash whose preimage nobody here has
            }
        }
        if let LdkEvent::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } = event {
            let refused = if self.state.accepts_channels {
                // A key that the peer cannot choose: the LSP's host finds its own channels by their keys.
                let key = u128::from_be_bytes(*first_half(&ldk.keys().get_secure_random_bytes()));
                manager.accept_inbound_channel(temporary_channel_id, counterparty_node_id, key, None).is_err()
            } else {
                true
            };
            if refused {
                let why = "this node accepts the channels that it bought".to_owned();
                let _ = manager.force_close_broadcasting_latest_txn(temporary_channel_id, counterparty_node_id, why);
            }
        }
    }

    /// Puts on record what the event says of payments and channels.
    fn note(&self, event: &LdkEvent) -> io::Result<()> {
        match event {
            LdkEvent::PaymentClaimed { payment_hash, amount_msat, htlcs, purpose, .. } => {
                let kept = htlcs.iter().fold(0u64, |sum, htlc| sum.saturating_add(htlc.counterparty_skimmed_fee_msat));
                self.received(*payment_hash, *amount_msat, kept, purpose)
            }
            LdkEvent::PaymentSent { payment_hash, amount_msat, fee_paid_msat, .. } => {
                self.sent(*payment_hash, *amount_msat, fee_paid_msat.unwrap_or(0))
            }
            LdkEvent::PaymentFailed { payment_hash: Some(hash), reason, .. } => {
                let why = reason.map_or_else(|| "unknown".into(), |reason| super::pay::reason(reason).to_owned());
                self.not_sent(*hash, why)
            }
            LdkEvent::ChannelReady { channel_id, counterparty_node_id, .. } => self
                .state
                .queue
                .push(Event::ChannelReady { channel: channel_id.to_string(), peer: counterparty_node_id.to_string() }),
            LdkEvent::ChannelClosed { channel_id, counterparty_node_id, reason, channel_funding_txo, .. } => {
                if channel_funding_txo.is_none() {
                    return Ok(()); // it never was a channel
                }
                let peer = counterparty_node_id.map(|peer| peer.to_string()).unwrap_or_default();
                let (channel, why) = (channel_id.to_string(), reason.to_string());
                self.state.queue.push(Event::ChannelClosed { channel, peer, why })
            }
            _ => Ok(()),
        }
    }

    fn received(&self, hash: PaymentHash, amount_msat: u64, fee_msat: u64, purpose: &PaymentPurpose) -> io::Result<()> {
        let State { history, queue, .. } = &*self.state;
        let known = history.get(PaymentKind::Received, &hash.to_string());
        if known.as_ref().is_some_and(|known| known.status == PaymentStatus::Succeeded) {
            return Ok(());
        }
        if known.is_none() && purpose.preimage().is_none() {
            return Ok(()); // claimed by the LSP for an order
        }
        // First the event: after a crash between the two, LDK tells the payment again.
        queue.push(Event::Received { payment_hash: hash.to_string(), amount_msat, fee_msat })?;
        let blank = || Payment {
            id: hash.to_string(),
            kind: PaymentKind::Received,
            status: PaymentStatus::Pending,
            amount_msat: None,
            fee_msat: None,
            description: String::new(),
            created_at: now(),
            expires_at: None,
        };
        let (amount_msat, fee_msat) = (Some(amount_msat), Some(fee_msat));
        history.put(Payment { status: PaymentStatus::Succeeded, amount_msat, fee_msat, ..known.unwrap_or_else(blank) })
    }

    fn sent(&self, hash: PaymentHash, amount_msat: Option<u64>, fee_msat: u64) -> io::Result<()> {
        let State { history, queue, .. } = &*self.state;
        // Orders of channels are paid by the wallet's host, and have no record here.
        let Some(known) = history.get(PaymentKind::Sent, &hash.to_string()) else { return Ok(()) };
        if known.status == PaymentStatus::Succeeded {
            return Ok(());
        }
        let amount = amount_msat.or(known.amount_msat).unwrap_or(0);
        queue.push(Event::Sent { payment_hash: hash.to_string(), amount_msat: amount, fee_msat })?;
        let (amount_msat, fee_msat) = (Some(amount), Some(fee_msat));
        history.put(Payment { status: PaymentStatus::Succeeded, amount_msat, fee_msat, ..known })
    }

    fn not_sent(&self, hash: PaymentHash, why: String) -> io::Result<()> {
        let State { history, queue, .. } = &*self.state;
        let Some(known) = history.get(PaymentKind::Sent, &hash.to_string()) else { return Ok(()) };
        if known.status != PaymentStatus::Pending {
            return Ok(());
        }
        queue.push(Event::NotSent { payment_hash: hash.to_string(), why })?;
        history.put(Payment { status: PaymentStatus::Failed, ..known })
    }
}

fn first_half(id: &[u8; 32]) -> &[u8; 16] {
    id.first_chunk().expect("16 of 32 bytes")
}

/// Pause before an event that could not be put on record is told again.
const PAUSE: Duration = Duration::from_millis(250);
