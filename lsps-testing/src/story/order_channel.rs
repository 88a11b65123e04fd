//! A wallet orders a channel, pays for it and gets it, or gets a refund: arguments and output of the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lightning::events::Event;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, PaymentMethod, Quote};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_transport_ldk::Msat;
use lsps_types::Sat;

use super::{sat, show_balances};
use crate::Error;
use crate::scene::{Ledger, Scene, Script, Stock, Who};

/// The order to play, and its payment.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Pays the hold invoice, over a channel that the wallet has already. The default.
    #[arg(long, conflicts_with_all = ["onchain", "offer"])]
    pub lightning: bool,
    /// Pays the BOLT 12 offer, over the same channel.
    #[arg(long, conflicts_with = "onchain")]
    pub offer: bool,
    /// Pays by an on-chain transaction.
    #[arg(long)]
    pub onchain: bool,
    /// Lets the LSP find its coins spent when it is to open the channel, so that the payment is refunded.
    #[arg(long)]
    pub fail_open: bool,
    /// Balance of the LSP in the channel, in satoshis.
    #[arg(long, default_value_t = 500_000)]
    pub lsp_balance_sat: u64,
    /// Initial balance of the wallet in the channel, in satoshis.
    #[arg(long, default_value_t = 50_000)]
    pub client_balance_sat: u64,
    /// Largest fee that the wallet pays, in satoshis.
    #[arg(long, default_value_t = 20_000)]
    pub max_fee_sat: u64,
}

impl Plan {
    /// Payment method.
    #[must_use]
    pub fn method(&self) -> PaymentMethod {
        match (self.onchain, self.offer) {
            (true, _) => PaymentMethod::Onchain,
            (false, true) => PaymentMethod::Bolt12,
            (false, false) => PaymentMethod::Bolt11,
        }
    }

    /// Coins and channels that the order needs.
    #[must_use]
    pub fn stock(&self) -> Stock {
        let (lsp, client) = (Sat(self.lsp_balance_sat), Sat(self.client_balance_sat));
        Stock { lsp, client, fee: Sat(self.max_fee_sat), has_channel: !self.onchain }
    }

    /// Limit of the wallet's fees.
    #[must_use]
    pub fn limits(&self) -> FeeLimits {
        let most = Msat(self.max_fee_sat.saturating_mul(1_000));
        FeeLimits { max_total_fee: Some(most), max_proportional_fee: None }
    }
}

/// Prints the events.
pub struct Story {
    start: Instant,
    /// Whether the story has begun; earlier events are not printed.
    has_begun: AtomicBool,
}

impl Default for Story {
    fn default() -> Self {
        Self { start: Instant::now(), has_begun: AtomicBool::new(false) }
    }
}

impl Story {
    /// Settings of the scene.
    #[must_use]
    pub fn script(self: &Arc<Self>) -> Script {
        let on_event = Arc::clone(self);
        Script { on_event: Arc::new(move |who, event| on_event.event(who, event)), ..Script::of_orders() }
    }

    /// Prints the nodes and the order.
    pub fn begins(&self, scene: &Scene, plan: &Plan) {
        println!("Two nodes on a regtest chain of their own");
        println!("  LSP     {}", scene.lsp.node.node_id());
        println!("  wallet  {}", scene.wallet.node.node_id());
        let channels = scene.wallet.node.channel_manager().list_usable_channels();
        let inbound: u64 = channels.iter().map(|channel| channel.inbound_capacity_msat).sum();
        let outbound: u64 = channels.iter().map(|channel| channel.outbound_capacity_msat).sum();
        println!("          can send {}, can receive {}\n", sat(outbound), sat(inbound));
        self.has_begun.store(true, Ordering::SeqCst);
        let (lsp, own) = (sat(plan.lsp_balance_sat * 1_000), sat(plan.client_balance_sat * 1_000));
        self.tells("wallet", &format!("orders a channel with {lsp} of the LSP's and {own} of its own"));
    }

    /// Prints the price of each payment method.
    pub fn is_quoted(&self, quote: &Quote, chosen: PaymentMethod) {
        for option in &quote.options {
            let (fee, total) = (sat(option.fee.0 * 1_000), sat(option.total.0 * 1_000));
            self.tells("LSP", &format!("takes {fee}, so {total} in all, if paid {}", words(option.method())));
        }
        self.tells("wallet", &format!("pays {}", words(chosen)));
    }

    /// Waits for the end of the order while blocks are mined, then confirms its transactions.
    ///
    /// # Errors
    ///
    /// The order does not end.
    pub async fn until_over(&self, scene: &Scene, handle: &OrderHandle) -> Result<End, Error> {
        let over = async {
            match handle.wait().await {
                Outcome::Failed => {
                    self.tells("wallet", "is told that there will be no channel, and waits for its money");
                    handle.over().await
                }
                outcome => outcome,
            }
        };
        match scene.while_blocks_come(over, || self.tells("chain", "has a new block")).await? {
            Outcome::Ended(end) => {
                scene.chain.mine(CONFIRMATIONS);
                Ok(end)
            }
            other => Err(format!("the order does not end: {other:?}").into()),
        }
    }

    /// Checks the balances, and prints them.
    ///
    /// # Errors
    ///
    /// The order did not end as planned, or a balance is wrong.
    pub async fn ends(
        &self,
        scene: &Scene,
        plan: &Plan,
        handle: &OrderHandle,
        before: &Ledger,
        end: &End,
    ) -> Result<(), Error> {
        let order = handle.snapshot();
        let fee = order.and_then(|order| Some(order.payment_option(plan.method())?.fee)).ok_or("the order is gone")?;
        match end {
            End::Done { lease, .. } if !plan.fail_open => before.check_done(scene, fee, lease).await?,
            End::Refunded if plan.fail_open => before.check_refunded(scene).await?,
            other => return Err(format!("the order ended otherwise: {other:?}").into()),
        }
        let after = Ledger::read(scene)?;
        show_balances(&[("LSP", before.lsp, after.lsp), ("wallet", before.wallet, after.wallet)]);
        match end {
            End::Done { lease, .. } => println!("\n  the channel {} stays until {}", lease.funding, date(lease.until)),
            End::Refunded | End::Unpaid(_) | End::GivenUp => println!("\n  no channel, and the money is back"),
        }
        let took = self.start.elapsed().as_secs_f32();
        println!("\nEverything adds up to the satoshi, read from the nodes and the chain. {took:.1} s.");
        Ok(())
    }

    fn event(&self, who: Who, event: &Event) {
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

    fn tells(&self, who: &str, line: &str) {
        if self.has_begun.load(Ordering::SeqCst) {
            println!("  {who:6}  {line}");
        }
    }
}

fn words(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Bolt11 => "by hold invoice",
        PaymentMethod::Bolt12 => "by offer",
        PaymentMethod::Onchain => "on the chain",
        PaymentMethod::Free => "with nothing",
    }
}

fn date(at: lsps_types::Timestamp) -> String {
    lsps_types::DateTime::from(at).as_str().into()
}

/// Confirmations after which a refund counts as final.
const CONFIRMATIONS: u32 = 6;
