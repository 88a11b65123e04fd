//! What happens, in words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lightning::events::Event;
use lsps_testing::scene::{Account, Balance, Balances, Scene, Who};
use lsps_testing::words::sat;
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_types::lsps5::Notification;

#[derive(Default)]
pub struct Story {
    /// What happens before is not part of it.
    has_begun: AtomicBool,
}

impl Story {
    pub fn begins(&self, scene: &Scene) {
        println!("Three nodes on a regtest chain of their own, and a notification service");
        println!("  payer   {}", scene.payer.node_id());
        println!("  LSP     {}", scene.lsp.node.node_id());
        println!("  wallet  {}", scene.wallet.node.node_id());
        println!("          no channels\n");
        self.has_begun.store(true, Ordering::SeqCst);
    }

    pub fn has_invoice(&self, jit: &JitInvoice) {
        self.tells("wallet", &format!("buys a channel; the LSP may keep {} of the payment", sat(jit.fee.0)));
        self.tells("wallet", &format!("hands out an invoice: {}", jit.invoice));
    }

    pub fn pays(&self, amount: Msat) {
        self.tells("payer", &format!("pays {}", sat(amount.0)));
    }

    /// What the notification service passes on. Whether it is what it should be.
    pub fn posted(&self, is: Notification, should: Notification) -> bool {
        let method = is.method().unwrap_or("something");
        self.tells("push", &format!("is told {method} over HTTPS, and verifies the LSP's signature"));
        is == should
    }

    pub fn event(&self, who: Who, event: &Event) {
        let line = match (who, event) {
            (Who::Lsp, Event::HTLCIntercepted { inbound_amount_msat, .. }) => {
                format!("holds {}, as the wallet is away, and calls it", sat(*inbound_amount_msat))
            }
            (Who::Wallet, Event::OpenChannelRequest { funding_satoshis, .. }) => {
                format!("is offered a channel of {}, and accepts it", sat(funding_satoshis * 1_000))
            }
            (Who::Lsp, Event::PaymentForwarded { skimmed_fee_msat, .. }) => {
                format!("has forwarded the payment and kept {}", sat(skimmed_fee_msat.unwrap_or_default()))
            }
            (Who::Wallet, Event::PaymentClaimed { amount_msat, .. }) => format!("claims {}", sat(*amount_msat)),
            (Who::Payer, Event::PaymentSent { .. }) => "has the preimage: the payment is proven".into(),
            (Who::Lsp, Event::HTLCHandlingFailed { .. }) => "gives the payment back".into(),
            (Who::Payer, Event::PaymentFailed { .. }) => "has its money back, and no block has passed".into(),
            _ => return,
        };
        self.tells(who.name(), &line);
    }

    pub fn tells(&self, who: &str, line: &str) {
        if self.has_begun.load(Ordering::SeqCst) {
            println!("  {who:6}  {line}");
        }
    }

    pub fn ends(&self, account: &Account, took: Duration) {
        let Account { paid, received, kept, mining, .. } = *account;
        Self::shows(account.before, account.after);
        println!("\n  paid {} = received {} + opening fee {}", sat(paid), sat(received), sat(kept));
        println!("  the LSP paid the miners {} for the funding, which is confirmed", sat(mining));
        Self::adds_up(took);
    }

    pub fn ends_as_before(&self, before: Balances, took: Duration) {
        Self::shows(before, before);
        println!("\n  no channel was opened, none was closed, and everybody has what they had");
        Self::adds_up(took);
    }

    fn shows(before: Balances, after: Balances) {
        let row = |name: &str, before: Balance, after: Balance| {
            println!("  {name:8}{:>22}{:>22}", sat(before.total_msat()), sat(after.total_msat()));
        };
        println!("\n  {:8}{:>22}{:>22}", "", "before", "after");
        row("payer", before.payer, after.payer);
        row("LSP", before.lsp, after.lsp);
        row("wallet", before.wallet, after.wallet);
    }

    fn adds_up(took: Duration) {
        let took = took.as_secs_f32();
        println!("\nEverything adds up to the millisatoshi, read from the nodes and the chain. {took:.1} s.");
    }
}
