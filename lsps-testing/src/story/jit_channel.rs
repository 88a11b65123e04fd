//! What happens, in words or as JSON.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lightning::events::Event;
use lsps_testing::scene::{Account, Balance, Scene, Who};
use lsps_testing::words::sat;
use lsps_transport_ldk::Observed;
use lsps_transport_ldk::wallet::JitInvoice;
use serde_json::{Value, json};

use crate::Options;

pub struct Story {
    options: Options,
    parts: AtomicUsize,
    is_told: AtomicBool,
}

impl Story {
    pub fn new(options: &Options) -> Self {
        Self { options: options.clone(), parts: AtomicUsize::new(0), is_told: AtomicBool::new(false) }
    }

    pub fn begins(&self, scene: &Scene, files: &Path) {
        let (payer, lsp, wallet) = (&scene.payer, &scene.lsp.node, &scene.wallet.node);
        let channels = payer.channel_manager().list_usable_channels();
        let capacity: u64 = channels.iter().map(|channel| channel.channel_value_satoshis).sum();
        self.say(format!("Three nodes on a regtest chain of their own, files in {}", files.display()));
        self.say(format!("  payer   {}", payer.node_id()));
        let count = match channels.len() {
            1 => "1 channel".into(),
            many => format!("{many} channels"),
        };
        self.say(format!("          {count} to the LSP, {} in all", sat(capacity * 1_000)));
        self.say(format!("  LSP     {}", lsp.node_id()));
        self.say(format!("  wallet  {}", wallet.node_id()));
        if wallet.channel_manager().list_channels().is_empty() {
            self.say("          no channels".into());
        }
        self.say(String::new());
    }

    pub fn has_invoice(&self, jit: &JitInvoice) {
        self.tells(Who::Wallet, &format!("buys a channel; the LSP may keep {} of the payment", sat(jit.fee.0)));
        let amount = jit.invoice.amount_milli_satoshis().map_or("any amount".into(), sat);
        self.tells(Who::Wallet, &format!("hands out an invoice over {amount}: {}", jit.invoice));
        self.tells(Who::Payer, &format!("pays {}", sat(self.options.amount_msat)));
    }

    /// What follows is not part of it.
    pub fn is_told(&self) {
        self.is_told.store(true, Ordering::SeqCst);
    }

    pub fn event(&self, who: Who, event: &Event) {
        if self.is_told.load(Ordering::SeqCst) {
            return;
        }
        let line = match (who, event) {
            (Who::Lsp, Event::HTLCIntercepted { inbound_amount_msat, .. }) => {
                let part = self.parts.fetch_add(1, Ordering::SeqCst) + 1;
                format!("holds part {part} of {}, {}", self.options.parts, sat(*inbound_amount_msat))
            }
            (Who::Wallet, Event::OpenChannelRequest { funding_satoshis, .. }) => {
                let capacity = sat(funding_satoshis * 1_000);
                format!("is offered a channel of {capacity}, and accepts it before it is confirmed")
            }
            (Who::Lsp, Event::PaymentForwarded { outbound_amount_forwarded_msat, skimmed_fee_msat, .. }) => {
                let (on, kept) =
                    (outbound_amount_forwarded_msat.unwrap_or_default(), skimmed_fee_msat.unwrap_or_default());
                format!("has forwarded {} and kept {}", sat(on), sat(kept))
            }
            (Who::Wallet, Event::PaymentClaimable { amount_msat, counterparty_skimmed_fee_msat, .. }) => {
                let (arrived, kept) = (sat(*amount_msat), sat(*counterparty_skimmed_fee_msat));
                format!("sees {arrived} arrive, of which {kept} were kept, and checks that against the promise")
            }
            (Who::Wallet, Event::PaymentClaimed { .. }) => "claims the payment".into(),
            (Who::Payer, Event::PaymentSent { .. }) => "has the preimage: the payment is proven".into(),
            _ => return,
        };
        self.tells(who, &line);
    }

    pub fn message(&self, message: Observed<'_>) {
        if self.options.verbose {
            let way = if message.sent { "wallet -> LSP" } else { "LSP -> wallet" };
            println!("         {way}  {}", String::from_utf8_lossy(message.payload));
        }
    }

    pub fn ends(&self, account: &Account, took: Duration) {
        if self.options.json {
            println!("{}", self.outcome(account, took));
            return;
        }
        let row = |name: &str, before: Balance, after: Balance| {
            println!("  {name:8}{:>22}{:>22}", sat(before.total_msat()), sat(after.total_msat()));
        };
        let Account { before, after, paid, received, kept, promised, mining, .. } = *account;
        println!("\n  {:8}{:>22}{:>22}", "", "before", "after");
        row("payer", before.payer, after.payer);
        row("LSP", before.lsp, after.lsp);
        row("wallet", before.wallet, after.wallet);
        println!("\n  fee asked {}, fee taken {}", sat(promised), sat(kept));
        println!("  paid {} = received {} + opening fee {}", sat(paid), sat(received), sat(kept));
        if self.options.client_trusts_lsp {
            println!("  the funding was in nobody's mempool before the wallet had claimed");
        }
        println!("  the LSP paid the miners {} for the funding, which is confirmed", sat(mining));
        println!(
            "\nEverything adds up to the millisatoshi, read from the nodes and the chain. {:.1} s.",
            took.as_secs_f32()
        );
    }

    fn outcome(&self, account: &Account, took: Duration) -> Value {
        let Account { before, after, paid, routing, received, kept, promised, mining } = *account;
        let balance =
            |balance: Balance| json!({ "coins_sat": balance.coins_sat, "channels_msat": balance.channels_msat });
        let balances = |of: lsps_testing::scene::Balances| json!({ "payer": balance(of.payer), "lsp": balance(of.lsp), "wallet": balance(of.wallet) });
        json!({
            "paid_msat": paid,
            "routing_fee_msat": routing,
            "received_msat": received,
            "fee_asked_msat": promised,
            "fee_taken_msat": kept,
            "mining_fee_msat": mining,
            "parts": self.options.parts,
            "variable": self.options.variable,
            "client_trusts_lsp": self.options.client_trusts_lsp,
            "before": balances(before),
            "after": balances(after),
            "seconds": took.as_secs_f64(),
        })
    }

    fn tells(&self, who: Who, line: &str) {
        self.say(format!("  {:6}  {line}", who.name()));
    }

    fn say(&self, line: String) {
        if !self.options.json {
            println!("{line}");
        }
    }
}
