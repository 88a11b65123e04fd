//! A wallet sleeps while it is paid: arguments and output of the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lightning::events::Event;
use lightning::sign::EntropySource as _;
use lsps_node::node::within;
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_types::PeerId;
use lsps_types::lsps5::{AppName, Notification};

use super::{sat, show_balances};
use crate::Error;
use crate::fault::Shifted;
use crate::hook::reached_with;
use crate::https::Authority;
use crate::push::PushService;
use crate::scene::{Balances, Scene, Script, Who};

/// The payment to play, and whether the wallet is woken.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Never wakes the wallet, so that the payment is failed in time.
    #[arg(long)]
    pub never_wakes: bool,
    /// Amount that the payer pays, in millisatoshis.
    #[arg(long, default_value_t = 40_000_000)]
    pub amount_msat: u64,
    /// Largest opening fee, in millisatoshis.
    #[arg(long, default_value_t = 2_000_000)]
    pub max_fee_msat: u64,
}

/// Prints the events.
pub struct Story {
    start: Instant,
    clock: Arc<Shifted>,
    /// Whether the story has begun; earlier events are not printed.
    has_begun: AtomicBool,
}

impl Story {
    /// Creates a story, and the settings of its scene: the LSP posts to servers of this authority.
    #[must_use]
    pub fn new(authority: &Authority) -> (Arc<Self>, Script) {
        let (clock, script) = Shifted::script();
        let story = Arc::new(Self { start: Instant::now(), clock, has_begun: AtomicBool::new(false) });
        let on_event = Arc::clone(&story);
        let on_event: crate::scene::OnEvent = Arc::new(move |who, event| on_event.event(who, event));
        (story, Script { webhooks: Some(reached_with(authority)), on_event, ..script })
    }

    /// Prints the nodes.
    pub fn begins(&self, scene: &Scene) {
        println!("Three nodes on a regtest chain of their own, and a notification service");
        println!("  payer   {}", scene.payer.node_id());
        println!("  LSP     {}", scene.lsp.node.node_id());
        println!("  wallet  {}", scene.wallet.node.node_id());
        println!("          no channels\n");
        self.has_begun.store(true, Ordering::SeqCst);
    }

    /// Registers the notification service as the wallet's webhook, and waits for the LSP's confirmation.
    ///
    /// # Errors
    ///
    /// The LSP does not accept the webhook, or does not confirm it.
    pub async fn register(&self, scene: &Scene, push: &mut PushService) -> Result<(), Error> {
        let lsp = scene.lsp.node.node_id();
        let secret = scene.wallet.node.keys().get_secure_random_bytes();
        let url = push.enrol(PeerId(lsp.serialize()), &secret)?;
        self.tells("wallet", &format!("registers {} with its LSP", url.as_str()));
        scene.wallet.host.keep_registered(&lsp, AppName::new("sleepy-wallet".into())?, url).await?;
        let first = push.next().await?;
        if self.posted(first, Notification::WebhookRegistered) {
            Ok(())
        } else {
            Err("the webhook was not confirmed".into())
        }
    }

    /// Prints the purchase.
    pub fn has_invoice(&self, jit: &JitInvoice) {
        self.tells("wallet", &format!("buys a channel; the LSP may keep {} of the payment", sat(jit.fee.0)));
        self.tells("wallet", &format!("hands out an invoice: {}", jit.invoice));
    }

    /// Stops the wallet; its state is in its store.
    ///
    /// # Errors
    ///
    /// The LSP does not notice.
    pub async fn falls_asleep(&self, scene: &Scene) -> Result<(), Error> {
        let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
        wallet.stop().await;
        let is_gone = || lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none();
        if !within(is_gone).await {
            return Err("the wallet is still connected".into());
        }
        self.tells("wallet", "falls asleep");
        Ok(())
    }

    /// Has the payer pay, and waits for the LSP's notification.
    ///
    /// # Errors
    ///
    /// The notification is another one, or none arrives.
    pub async fn is_called(
        &self,
        scene: &Scene,
        push: &mut PushService,
        jit: &JitInvoice,
        amount: Msat,
    ) -> Result<(), Error> {
        self.tells("payer", &format!("pays {}", sat(amount.0)));
        scene.payer.pay(&jit.invoice, amount.0)?;
        let is_payment = self.posted(push.next().await?, Notification::PaymentIncoming);
        if is_payment { Ok(()) } else { Err("the LSP calls for something else".into()) }
    }

    /// Leaves the wallet asleep until the LSP stops waiting.
    pub fn stays_dark(&self) {
        self.tells("phone", "stays dark");
        self.clock.jump(HOLD_SECS);
        self.tells("LSP", &format!("has waited for {HOLD_SECS} s, by a clock that jumps"));
    }

    /// Starts the wallet again.
    ///
    /// # Errors
    ///
    /// The wallet does not start, or does not reach its LSP.
    pub async fn wakes(&self, scene: &mut Scene) -> Result<(), Error> {
        self.tells("wallet", "wakes, and connects to its LSP");
        scene.restart_wallet().await?;
        let lsp = &scene.lsp.node;
        let is_there = scene.wallet.node.connect(lsp.node_id(), lsp.address()).await;
        if is_there { Ok(()) } else { Err("the wallet does not reach its LSP".into()) }
    }

    /// Checks that all balances are as promised.
    ///
    /// # Errors
    ///
    /// A balance is wrong.
    pub async fn ends(&self, scene: &Scene, before: Balances, jit: &JitInvoice, amount: Msat) -> Result<(), Error> {
        let account = scene.settle(before, jit.fee.0).await?;
        if account.paid != amount.0 {
            return Err(format!("{} msat were paid", account.paid).into());
        }
        show(account.before, account.after);
        let (paid, received, kept) = (sat(account.paid), sat(account.received), sat(account.kept));
        println!("\n  paid {paid} = received {received} + opening fee {kept}");
        println!("  the LSP paid the miners {} for the funding, which is confirmed", sat(account.mining));
        self.adds_up();
        Ok(())
    }

    /// Checks that the payment was failed without a block, over a channel that stays, and that no channel was opened.
    ///
    /// # Errors
    ///
    /// A balance differs from before.
    pub async fn ends_as_before(&self, scene: &Scene, before: Balances) -> Result<(), Error> {
        has_it_back(scene, before).await?;
        show(before, before);
        println!("\n  no channel was opened, none was closed, and everybody has what they had");
        self.adds_up();
        Ok(())
    }

    /// Prints a notification; `true` if it is the expected one.
    fn posted(&self, is: Notification, should: Notification) -> bool {
        let method = is.method().unwrap_or("something");
        self.tells("push", &format!("is told {method} over HTTPS, and verifies the LSP's signature"));
        is == should
    }

    fn event(&self, who: Who, event: &Event) {
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

    fn tells(&self, who: &str, line: &str) {
        if self.has_begun.load(Ordering::SeqCst) {
            println!("  {who:6}  {line}");
        }
    }

    fn adds_up(&self) {
        let took = self.start.elapsed().as_secs_f32();
        println!("\nEverything adds up to the millisatoshi, read from the nodes and the chain. {took:.1} s.");
    }
}

fn show(before: Balances, after: Balances) {
    show_balances(&[
        ("payer", before.payer, after.payer),
        ("LSP", before.lsp, after.lsp),
        ("wallet", before.wallet, after.wallet),
    ]);
}

async fn has_it_back(scene: &Scene, before: Balances) -> Result<(), Error> {
    let height = scene.chain.height();
    if !within(|| scene.seen.facts().has_failed).await {
        return Err("the payment is still held".into());
    }
    if !within(|| scene.balances().is_ok_and(|after| after == before)).await {
        return Err(format!("not everybody has what they had: {:?}", scene.balances()).into());
    }
    let usable = scene.payer.channel_manager().list_usable_channels().len();
    let opened = scene.lsp.node.channel_manager().list_channels().len() - usable;
    if usable != 1 || opened != 0 || !scene.chain.mempool().is_empty() || scene.chain.height() != height {
        return Err(format!("{usable} channels can be used, {opened} were opened, or something is on the chain").into());
    }
    Ok(())
}

/// Time for which an LSP holds a payment for its client, by default and by LSPS2, plus a second.
const HOLD_SECS: u64 = 91;
