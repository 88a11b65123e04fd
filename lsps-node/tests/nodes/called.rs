//! Sleeping wallets that are called by their webhook over HTTPS.

use std::time::Duration;

use lsps_client::NotSent;
use lsps_client::session::Failed;
use lsps_node::node::{passes, within};
use lsps_testing::hook::{Hook, reached_with};
use lsps_testing::https::Authority;
use lsps_testing::scene::Script;
use lsps_types::lsps5::{AppName, ListWebhooks, Notification};
use lsps_types::{BlockHeight, PeerId};

use crate::{AMOUNT, Shifted, TEMPORARY_CHANNEL_FAILURE, World};

/// L5-056, L5-077, L5-078
#[tokio::test(flavor = "multi_thread")]
async fn case_J17_a_sleeping_wallet_is_called_and_wakes_and_is_paid_once() {
    let (hook, script) = reachable(Script::default()).await;
    let mut called = Called::registers(World::playing(script).await, hook).await;
    called.wallet_sleeps().await;
    called.world.pays();
    called.is_told([Notification::WebhookRegistered, Notification::PaymentIncoming]).await;
    called.world.lsp_holds(1).await;
    assert_eq!(called.world.channels(), 0, "nothing is opened with nobody");

    called.wallet_wakes().await;
    let account = called.world.is_settled().await;
    assert_eq!((account.paid, account.received + account.kept), (AMOUNT.0, AMOUNT.0));
    assert_eq!(called.world.channels(), 1);
    assert_eq!(called.hook.posts().len(), 2, "it is called once for one payment");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J17_a_wallet_that_never_wakes_costs_its_payer_nothing() {
    let (clock, script) = Shifted::script();
    let (hook, script) = reachable(script).await;
    let mut called = Called::registers(World::playing(script).await, hook).await;
    called.wallet_sleeps().await;
    called.world.pays();
    called.is_told([Notification::WebhookRegistered, Notification::PaymentIncoming]).await;
    called.world.lsp_holds(1).await;
    clock.jump(91);
    called.world.fails_with(TEMPORARY_CHANNEL_FAILURE, "nobody wakes").await;
    assert_eq!((called.world.channels(), called.scene().chain.mempool().len()), (0, 0), "nothing was opened");
    assert_eq!(called.hook.posts().len(), 2, "it is called once for one payment");

    called.world.tries_again();
    called.wallet_wakes().await;
    called.world.pays();
    called.world.is_settled().await;
    assert_eq!(called.hook.posts().len(), 2, "who is there is not called");
}

/// L5-045, L5-086: the wallet owes an answer about a payment, and sleeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_is_called_before_an_htlc_expires_comes_and_keeps_its_channel() {
    let (called, timeout) = Called::sleeps_on_a_payment().await;
    called.is_called_in_time(timeout).await;
    called.world.wallet_is_back().await;
    assert!(within(|| called.scene().seen.facts().has_failed).await, "it lets the payment go");
    called.mines_up_to(timeout).await;
    called.mines_up_to(BlockHeight(timeout.0 + 1)).await;
    assert_eq!(called.world.channels(), 1, "nothing is left that could force it");
    assert_eq!(called.hook.posts().len(), 2);
}

/// L5-086: the notification contains the height of the forced close.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_is_called_before_an_htlc_expires_and_does_not_come_loses_its_channel_when_it_was_told() {
    let (called, timeout) = Called::sleeps_on_a_payment().await;
    called.is_called_in_time(timeout).await;
    called.mines_up_to(BlockHeight(timeout.0 - 1)).await;
    assert_eq!(called.world.channels(), 1, "it may still come");
    called.mines_up_to(timeout).await;
    assert!(within(|| called.world.channels() == 0).await, "it is closed");
    assert_eq!(called.hook.posts().len(), 2, "it is called once for one HTLC");
}

/// L5-023.
#[tokio::test(flavor = "multi_thread")]
async fn case_N01_a_webhook_is_kept_for_as_long_as_there_is_a_channel_and_weeks_longer() {
    let (clock, script) = Shifted::script();
    let (hook, script) = reachable(script).await;
    let mut called = Called::registers(World::playing(script).await, hook).await;
    called.world.pays();
    called.world.is_settled().await;
    called.mines_a_block().await; // with which the LSP looks at its channels
    for _ in 0..2 {
        clock.jump(60 * DAY);
        called.mines_a_block().await;
        assert_eq!(called.listed().await, ["phone"], "there is a channel");
        called.lsp_restarts().await;
    }
    let (lsp, wallet) = (called.scene().lsp.node.node_id(), called.scene().wallet.node.channel_manager());
    assert!(within(|| !wallet.list_usable_channels().is_empty()).await);
    wallet.close_channel(&wallet.list_channels()[0].channel_id, &lsp).expect("both agree");
    assert!(within(|| called.world.channels() == 0).await, "it is closed");
    called.mines_a_block().await;

    clock.jump(KEPT - HOUR);
    called.lsp_restarts().await;
    assert_eq!(called.listed().await, ["phone"]);
    clock.jump(2 * HOUR);
    called.is_forgotten().await;
}

/// L5-022.
#[tokio::test(flavor = "multi_thread")]
async fn case_N01_case_X59_a_webhook_of_who_never_had_a_channel_is_kept_for_seven_days() {
    let (clock, script) = Shifted::script();
    let (hook, script) = reachable(script).await;
    let called = Called::registers(World::playing(script).await, hook).await;
    clock.jump(KEPT_FOR_STRANGERS - HOUR);
    called.mines_a_block().await;
    assert_eq!(called.listed().await, ["phone"]);
    clock.jump(2 * HOUR);
    called.is_forgotten().await;
}

/// A scene whose wallet is registered, and the hook to which its LSP posts.
struct Called {
    world: World,
    hook: Hook,
}

/// Adds a webhook server, and the LSP's trust in its certificate, to the script.
async fn reachable(script: Script) -> (Hook, Script) {
    let authority = Authority::new().expect("a key");
    let hook = Hook::content(&authority).await.expect("a port");
    (hook, Script { webhooks: Some(reached_with(&authority)), ..script })
}

impl Called {
    async fn registers(world: World, hook: Hook) -> Self {
        let (wallet, lsp) = (&world.scene.wallet.host, world.scene.lsp.node.node_id());
        let app = AppName::new("phone".into()).expect("short");
        wallet.keep_registered(&lsp, app, hook.url("/wake").expect("a path")).await.expect("it is registered");
        let called = Self { world, hook };
        called.is_told([Notification::WebhookRegistered]).await;
        called
    }

    /// The wallet is away with a payment that it has neither claimed nor failed. Also returns the height at which the
    /// HTLC forces its channel on-chain.
    async fn sleeps_on_a_payment() -> (Self, BlockHeight) {
        let (hook, script) = reachable(Script::default()).await;
        let called = Self::registers(World::on_hold(script).await, hook).await;
        called.world.pays();
        called.world.wallet_is_asked_to_claim().await;
        called.world.wallet_leaves().await;
        let (lsp, wallet) = (called.scene().lsp.node.channel_manager(), called.scene().wallet.node.node_id());
        let channel = lsp.list_channels_with_counterparty(&wallet).remove(0);
        let expiry = channel.pending_outbound_htlcs[0].cltv_expiry;
        (called, BlockHeight(expiry + GRACE))
    }

    /// The wallet is called 24 blocks before the time-out, and not a block earlier.
    async fn is_called_in_time(&self, timeout: BlockHeight) {
        self.mines_up_to(BlockHeight(timeout.0 - 25)).await;
        self.is_told([Notification::WebhookRegistered]).await;
        self.mines_up_to(BlockHeight(timeout.0 - 24)).await;
        self.is_told([Notification::WebhookRegistered, Notification::ExpirySoon { timeout }]).await;
    }

    async fn wallet_sleeps(&self) {
        let (lsp, wallet) = (&self.scene().lsp.node, &self.scene().wallet.node);
        wallet.stop().await;
        assert!(within(|| lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none()).await, "it is gone");
    }

    async fn wallet_wakes(&mut self) {
        self.world.scene.restart_wallet().await.expect("it starts");
        self.world.wallet_is_back().await;
    }

    async fn lsp_restarts(&mut self) {
        self.world.scene.restart_lsp().await.expect("it starts");
        self.scene().connect().await.expect("it is reached");
    }

    /// Checks that these are all notifications of the LSP.
    async fn is_told<const N: usize>(&self, notifications: [Notification; N]) {
        let lsp = PeerId(self.scene().lsp.node.node_id().serialize());
        let told = || self.hook.notifications(lsp).expect("it is the LSP's");
        assert!(within(|| told().len() >= N).await, "{:?}", told());
        assert_eq!(told(), notifications);
    }

    /// Names of the webhooks that the LSP has on record.
    async fn listed(&self) -> Vec<String> {
        let lsp = PeerId(self.scene().lsp.node.node_id().serialize());
        let lsp = self.scene().wallet.host.session().lsp(lsp);
        for _ in 0..200 {
            match lsp.call(&ListWebhooks {}).await {
                // The wallet learns of the connection in its next turn.
                Err(Failed::NotSent(NotSent::NotConnected)) => assert!(passes(50).await),
                answer => return answer.expect("it lists").app_names,
            }
        }
        panic!("they are not connected");
    }

    /// Waits until the LSP forgets the webhook, at the next tick after its clock went on.
    async fn is_forgotten(&self) {
        for _ in 0..100 {
            if self.listed().await.is_empty() {
                return;
            }
            assert!(passes(100).await);
        }
        panic!("it is kept");
    }

    async fn mines_a_block(&self) {
        self.mines_up_to(BlockHeight(self.scene().chain.height() + 1)).await;
    }

    async fn mines_up_to(&self, height: BlockHeight) {
        self.scene().chain.mine(height.0 - self.scene().chain.height());
        let lsp = self.scene().lsp.node.channel_manager();
        // The LSP polls for blocks every second.
        assert!(within(|| lsp.current_best_block().height == height.0).await);
        assert!(passes(1_500).await);
    }

    fn scene(&self) -> &lsps_testing::scene::Scene {
        &self.world.scene
    }
}

/// Number of blocks that LDK waits after the expiry of an HTLC.
const GRACE: u32 = 3;
const HOUR: u64 = Duration::from_secs(60 * 60).as_secs();
const DAY: u64 = 24 * HOUR;
/// Default retention of webhooks; LSPS5 requires seven days.
const KEPT: u64 = 28 * DAY;
/// Retention of webhooks for clients that never had or paid for a channel.
const KEPT_FOR_STRANGERS: u64 = 7 * 24 * HOUR;
