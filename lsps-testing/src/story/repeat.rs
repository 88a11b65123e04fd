//! Further payments over the open channel, and a measurement of their time.

use std::path::Path;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, sha256};
use lightning::types::payment::PaymentPreimage;
use lsps_node::node::within;
use lsps_transport_ldk::wallet::JitInvoice;

use crate::Error;
use crate::scene::{LspNode, Scene};
use crate::tape::replay_file;

/// Times of payments.
pub struct Measured {
    first: Duration,
    count: u16,
    /// Mean of the others.
    each: Duration,
    /// Share of the LSP's service in each.
    service: Duration,
}

impl Measured {
    /// Makes payments one after the other over the SCID that was bought, whose channel is open and paid for. Then
    /// replays the LSP's service from its tape to measure its share of the time.
    pub async fn payments(
        scene: &Scene,
        jit: &JitInvoice,
        first: Duration,
        count: u16,
        tape: &Path,
    ) -> Result<Self, Error> {
        let hints = jit.invoice.route_hints();
        let hint = hints.first().ok_or("the invoice has no hint")?;
        let (wallet, facts) = (&scene.wallet.node, || scene.seen.facts());
        let start = Instant::now();
        for number in 0..count {
            scene.seen.forget();
            let preimage = sha256::Hash::hash(&number.to_be_bytes()).to_byte_array();
            let invoice = wallet.invoice_over(hint.clone(), Some(AMOUNT_MSAT), Some(preimage))?;
            scene.payer.pay(&invoice, AMOUNT_MSAT)?;
            let arrives = || facts().unconfirmed_at_claim.is_some() || facts().has_failed;
            within(arrives).await;
            wallet.channel_manager().claim_funds(PaymentPreimage(preimage));
            if !within(|| facts().sent.is_some()).await {
                return Err(format!("payment {} over the same SCID does not arrive", number + 1).into());
            }
        }
        let each = start.elapsed() / u32::from(count);
        let service = replay_file(tape, &LspNode::promise_key())?.took / (u32::from(count) + 1);
        Ok(Self { first, count, each, service })
    }

    /// Prints the times.
    pub fn show(&self) {
        let Self { first, count, each, service } = *self;
        let row = |what: &str, time: Duration| println!("  {what:58}{:>10.3} ms", time.as_secs_f64() * 1_000.0);
        println!();
        row("the first payment, from the invoice to the preimage", first);
        row(&format!("each of {count} more over the same SCID"), each);
        row("of each, the LSP's service (its tape, played again)", service);
        row("of each, everything else: LDK on three nodes, TCP, files", each.saturating_sub(service));
        let (first, each) = (1.0 / first.as_secs_f64(), 1.0 / each.as_secs_f64());
        println!("  {first:.1} first payments a second, {each:.1} further ones");
    }
}

const AMOUNT_MSAT: u64 = 10_000;
