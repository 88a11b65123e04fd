//! A wallet without channels is paid through a channel that is opened for it: arguments and output of the program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lightning::events::Event;
use lsps_node::node::within;
use lsps_service::Trust;
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_transport_ldk::{Msat, Observed};
use serde_json::{Value, json};

use super::repeat::Measured;
use super::{sat, show_balances};
use crate::Error;
use crate::scene::{Account, Balance, Balances, Scene, Script, Who};

/// The payment to play, and its terms.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Amount that the payer pays, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    pub amount_msat: u64,
    /// Makes an invoice without amount.
    #[arg(long, conflicts_with = "parts")]
    pub variable: bool,
    /// Number of channels over which the payment is split, one HTLC each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub parts: u8,
    /// Broadcasts the funding only after the wallet has claimed the payment.
    #[arg(long)]
    pub client_trusts_lsp: bool,
    /// Largest opening fee, as a share of the payment in parts per million.
    #[arg(long, default_value_t = 50_000)]
    pub max_fee_ppm: u32,
    /// Prints the protocol messages.
    #[arg(long)]
    pub verbose: bool,
    /// Number of further payments of 10 sat over the same SCID, one after the other, whose time is measured.
    #[arg(long, default_value_t = 0)]
    pub repeat: u16,
    /// File for a tape of all inputs and outputs of the LSP's service, which `replay` repeats.
    #[arg(long, conflicts_with = "repeat")]
    pub tape: Option<PathBuf>,
    /// Prints the outcome as one JSON object instead of the story.
    #[arg(long, conflicts_with_all = ["verbose", "repeat"])]
    pub json: bool,
}

impl Plan {
    /// Largest fee that the LSP may keep of a payment of a fixed amount.
    #[must_use]
    pub fn most_fee(&self) -> Msat {
        let most = u128::from(self.amount_msat) * u128::from(self.max_fee_ppm) / 1_000_000;
        Msat(u64::try_from(most).unwrap_or(u64::MAX))
    }

    /// Satoshis in each channel of the payer: a part, and the payer's reserve.
    fn channels(&self) -> Result<Vec<u64>, Error> {
        // The first part includes the remainder.
        let (amount, parts) = (self.amount_msat, u64::from(self.parts));
        let share = Msat((amount / parts).saturating_add(parts)).to_sat_ceil();
        let size = share.saturating_add(share / 20 + 20_000).max(100_000);
        if size > LARGEST_CHANNEL_SAT {
            return Err(format!("{size} sat do not fit into a channel: pay less, or in more parts").into());
        }
        Ok(vec![size; self.parts.into()])
    }
}

/// Prints the events, as text or as JSON.
pub struct Story {
    plan: Plan,
    files: PathBuf,
    start: Instant,
    parts: AtomicUsize,
    is_told: AtomicBool,
    measured: Mutex<Option<Measured>>,
}

impl Story {
    /// Creates a story for these arguments, whose nodes keep their files in this folder.
    #[must_use]
    pub fn new(plan: Plan, files: PathBuf) -> Arc<Self> {
        let (start, parts, is_told) = (Instant::now(), AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { plan, files, start, parts, is_told, measured: Mutex::default() })
    }

    /// Settings of the scene.
    ///
    /// # Errors
    ///
    /// The payment does not fit into the payer's channels.
    pub fn script(self: &Arc<Self>) -> Result<Script, Error> {
        let (plan, on_event, on_message) = (&self.plan, Arc::clone(self), Arc::clone(self));
        Ok(Script {
            directory: Some(self.files.clone()),
            trust: if plan.client_trusts_lsp { Trust::ClientTrustsLsp } else { Trust::LspTrustsClient },
            payer_channels: plan.channels()?,
            lsp_tape: plan.tape.clone().or_else(|| (plan.repeat > 0).then(|| self.files.join("tape"))),
            on_event: Arc::new(move |who, event| on_event.event(who, event)),
            on_message: Arc::new(move |message| on_message.message(message)),
            ..Script::default()
        })
    }

    /// Prints the nodes.
    pub fn begins(&self, scene: &Scene) {
        let (payer, lsp, wallet) = (&scene.payer, &scene.lsp.node, &scene.wallet.node);
        let channels = payer.channel_manager().list_usable_channels();
        let capacity: u64 = channels.iter().map(|channel| channel.channel_value_satoshis).sum();
        self.say(format!("Three nodes on a regtest chain of their own, files in {}", self.files.display()));
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

    /// Prints the purchase.
    pub fn has_invoice(&self, jit: &JitInvoice) {
        self.tells(Who::Wallet, &format!("buys a channel; the LSP may keep {} of the payment", sat(jit.fee.0)));
        let amount = jit.invoice.amount_milli_satoshis().map_or("any amount".into(), sat);
        self.tells(Who::Wallet, &format!("hands out an invoice over {amount}: {}", jit.invoice));
        self.tells(Who::Payer, &format!("pays {}", sat(self.plan.amount_msat)));
    }

    /// Has the payer pay the invoice, and checks the payment; then makes further payments over the same SCID if the
    /// plan asks for them.
    ///
    /// # Errors
    ///
    /// A balance is wrong, or the payment did not go as planned.
    pub async fn is_paid(&self, scene: &Scene, before: Balances, jit: &JitInvoice) -> Result<Account, Error> {
        let (plan, start) = (&self.plan, Instant::now());
        if plan.parts > 1 {
            scene.payer.pay_split(&jit.invoice, plan.amount_msat)?;
        } else {
            scene.payer.pay(&jit.invoice, plan.amount_msat)?;
        }
        within(|| scene.seen.facts().sent.is_some() || scene.seen.facts().has_failed).await;
        let took = start.elapsed();
        let account = scene.settle(before, jit.fee.0).await?;
        let facts = scene.seen.facts();
        if plan.client_trusts_lsp && facts.unconfirmed_at_claim != Some(0) {
            return Err("the funding was broadcast before the wallet had claimed".into());
        }
        if facts.intercepted != usize::from(plan.parts) {
            return Err(format!("the payment came in {} parts", facts.intercepted).into());
        }
        if plan.repeat > 0 {
            self.is_told.store(true, Ordering::SeqCst);
            let measured = Measured::payments(scene, jit, took, plan.repeat, &self.files.join("tape")).await?;
            *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        }
        Ok(account)
    }

    fn event(&self, who: Who, event: &Event) {
        if self.is_told.load(Ordering::SeqCst) {
            return;
        }
        let line = match (who, event) {
            (Who::Lsp, Event::HTLCIntercepted { inbound_amount_msat, .. }) => {
                let part = self.parts.fetch_add(1, Ordering::SeqCst) + 1;
                format!("holds part {part} of {}, {}", self.plan.parts, sat(*inbound_amount_msat))
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

    fn message(&self, message: Observed<'_>) {
        if self.plan.verbose {
            let way = if message.sent { "wallet -> LSP" } else { "LSP -> wallet" };
            println!("         {way}  {}", String::from_utf8_lossy(message.payload));
        }
    }

    /// Prints the effect of the payment on all balances.
    pub fn ends(&self, account: &Account) {
        let took = self.start.elapsed();
        if self.plan.json {
            println!("{}", self.outcome(account, took));
            return;
        }
        let Account { before, after, paid, received, kept, promised, mining, .. } = *account;
        let rows = [
            ("payer", before.payer, after.payer),
            ("LSP", before.lsp, after.lsp),
            ("wallet", before.wallet, after.wallet),
        ];
        show_balances(&rows);
        println!("\n  fee asked {}, fee taken {}", sat(promised), sat(kept));
        println!("  paid {} = received {} + opening fee {}", sat(paid), sat(received), sat(kept));
        if self.plan.client_trusts_lsp {
            println!("  the funding was in nobody's mempool before the wallet had claimed");
        }
        println!("  the LSP paid the miners {} for the funding, which is confirmed", sat(mining));
        println!(
            "\nEverything adds up to the millisatoshi, read from the nodes and the chain. {:.1} s.",
            took.as_secs_f32()
        );
        if let Some(measured) = &*self.measured.lock().unwrap_or_else(PoisonError::into_inner) {
            measured.show();
        }
    }

    fn outcome(&self, account: &Account, took: Duration) -> Value {
        let Account { before, after, paid, routing, received, kept, promised, mining } = *account;
        let balance =
            |balance: Balance| json!({ "coins_sat": balance.coins_sat, "channels_msat": balance.channels_msat });
        let balances =
            |of: Balances| json!({ "payer": balance(of.payer), "lsp": balance(of.lsp), "wallet": balance(of.wallet) });
        json!({
            "paid_msat": paid,
            "routing_fee_msat": routing,
            "received_msat": received,
            "fee_asked_msat": promised,
            "fee_taken_msat": kept,
            "mining_fee_msat": mining,
            "parts": self.plan.parts,
            "variable": self.plan.variable,
            "client_trusts_lsp": self.plan.client_trusts_lsp,
            "before": balances(before),
            "after": balances(after),
            "seconds": took.as_secs_f64(),
        })
    }

    fn tells(&self, who: Who, line: &str) {
        self.say(format!("  {:6}  {line}", who.name()));
    }

    fn say(&self, line: String) {
        if !self.plan.json {
            println!("{line}");
        }
    }
}

/// Largest channel that LDK accepts by default.
const LARGEST_CHANNEL_SAT: u64 = 16_777_215;
