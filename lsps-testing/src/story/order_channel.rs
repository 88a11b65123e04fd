//! What happens, in words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lightning::events::Event;
use lsps_client::order::{End, Quote, WayKind};
use lsps_testing::scene::{Balance, Ledger, Scene, Who};
use lsps_testing::words::sat;

use crate::Options;

#[derive(Default)]
pub struct Story {
    /// What happens before is not part of it.
    has_begun: AtomicBool,
}

impl Story {
    pub fn begins(&self, scene: &Scene, options: &Options) {
        println!("Two nodes on a regtest chain of their own");
        println!("  LSP     {}", scene.lsp.node.node_id());
        println!("  wallet  {}", scene.wallet.node.node_id());
        let channels = scene.wallet.node.channel_manager().list_usable_channels();
        let inbound: u64 = channels.iter().map(|channel| channel.inbound_capacity_msat).sum();
        let outbound: u64 = channels.iter().map(|channel| channel.outbound_capacity_msat).sum();
        println!("          can send {}, can receive {}\n", sat(outbound), sat(inbound));
        self.has_begun.store(true, Ordering::SeqCst);
        let (lsp, own) = (sat(options.lsp_balance_sat * 1_000), sat(options.client_balance_sat * 1_000));
        self.tells("wallet", &format!("orders a channel with {lsp} of the LSP's and {own} of its own"));
    }

    pub fn is_quoted(&self, quote: &Quote, chosen: WayKind) {
        for way in &quote.ways {
            let (fee, total) = (sat(way.fee.0 * 1_000), sat(way.total.0 * 1_000));
            self.tells("LSP", &format!("takes {fee}, so {total} in all, if paid {}", words(way.kind())));
        }
        self.tells("wallet", &format!("pays {}", words(chosen)));
    }

    pub fn event(&self, who: Who, event: &Event) {
        let line = match (who, event) {
            (Who::Lsp, Event::PaymentClaimable { amount_msat, .. }) => format!("holds {}", sat(*amount_msat)),
            (Who::Wallet, Event::OpenChannelRequest { funding_satoshis, .. }) => {
                format!("is offered a channel of {}, which is as ordered", sat(funding_satoshis * 1_000))
            }
            (Who::Lsp, Event::FundingTxBroadcastSafe { .. }) => "has the channel signed, and publishes it".into(),
            (Who::Lsp, Event::PaymentClaimed { .. }) => "takes the payment".into(),
            (Who::Lsp, Event::HTLCHandlingFailed { .. }) => "gives the payment back".into(),
            (Who::Wallet, Event::PaymentSent { .. }) => "has the preimage: the payment is proven".into(),
            (Who::Wallet, Event::PaymentFailed { .. }) => "has its payment back".into(),
            (Who::Wallet, Event::ChannelReady { .. }) => "can use the channel".into(),
            _ => return,
        };
        self.tells(who.name(), &line);
    }

    pub fn tells(&self, who: &str, line: &str) {
        if self.has_begun.load(Ordering::SeqCst) {
            println!("  {who:6}  {line}");
        }
    }

    pub fn ends(&self, before: &Ledger, after: &Ledger, end: &End, took: Duration) {
        let row = |name: &str, before: Balance, after: Balance| {
            println!("  {name:8}{:>22}{:>22}", sat(before.total_msat()), sat(after.total_msat()));
        };
        println!("\n  {:8}{:>22}{:>22}", "", "before", "after");
        row("LSP", before.lsp, after.lsp);
        row("wallet", before.wallet, after.wallet);
        match end {
            End::Done { lease, .. } => println!("\n  the channel {} stays until {}", lease.funding, date(lease.until)),
            End::Refunded | End::Unpaid(_) | End::GivenUp => println!("\n  no channel, and the money is back"),
        }
        let took = took.as_secs_f32();
        println!("\nEverything adds up to the satoshi, read from the nodes and the chain. {took:.1} s.");
    }
}

fn words(way: WayKind) -> &'static str {
    match way {
        WayKind::Bolt11 => "by hold invoice",
        WayKind::Bolt12 => "by offer",
        WayKind::Onchain => "on the chain",
    }
}

fn date(at: lsps_types::Timestamp) -> String {
    lsps_types::DateTime::from(at).as_str().into()
}
