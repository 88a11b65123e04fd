//! A wallet with `lightning-liquidity` buys from our LSP.

use std::sync::Arc;

use bitcoin::{Address, FeeRate, Network};
use lightning_liquidity::lsps1::msgs::{LSPS1OrderParams, LSPS1PaymentState};
use lightning_liquidity::lsps2::msgs::LSPS2OpeningFeeParams;
use lsps_node::chain::embedded::FEE_SAT_PER_KW;
use lsps_node::node::within;
use lsps_service::{AmountRule, StandardPolicy, Trust};
use lsps_testing::scene::{Account, Balances, LspNode, Script};
use lsps_transport_ldk::ports::{Clock, SystemClock};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Msat, Ppm, Timestamp};

use crate::stage::{Stage, settles};
use crate::their_wallet::TheirWallet;
use crate::{AMOUNT, OUR_LSP, TABLE, listens, text_of, the_one_with};
use lsps_testing::table::Outcome::{Around, Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn it_understands_what_our_lsp_serves() {
    let world = World::playing(Script::default()).await;
    assert_eq!(world.wallet.list_protocols().await, [2]);
    TABLE.shows(OUR_LSP, "`lsps0.list_protocols`", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_spells_in_its_own_way_is_sold() {
    let (said, on_request) = listens();
    let clock = Arc::new(WholeSeconds);
    let world = World::playing(Script { clock, on_request, ..Script::default() }).await;
    world.wallet.receives(Some(AMOUNT.0)).await;
    assert!(the_one_with(&said, "lsps2.get_info").contains(r#""token":null"#), "{said:?}");
    let menu = text_of(&the_one_with(&said, "opening_fee_params_menu"), "valid_until");
    let bought = text_of(&the_one_with(&said, "lsps2.buy"), "valid_until");
    assert!(menu.ends_with(".000Z"), "{menu}");
    assert_eq!(bought, menu.replace(".000Z", "Z"), "the same instant in other words");
    let outcome = Around(
        "it writes `\"token\":null` where it has none (R-07), and writes `valid_until` anew instead of copying it (L2-052, R-05)",
    );
    TABLE.shows(OUR_LSP, "`get_info`, `buy`", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_understands_that_its_token_is_refused() {
    let tokens = [("spring".to_owned(), lsps_service::TokenTerms::default())].into();
    let policy = StandardPolicy { tokens, token_needed: true, ..StandardPolicy::default() };
    let world = World::playing(Script { policy, ..Script::default() }).await;
    let refused = world.wallet.get_info(Some("autumn")).await.expect_err("the season is over");
    assert_eq!(refused.code, 200);
    assert!(!world.wallet.get_info(Some("spring")).await.expect("a menu").is_empty());
    TABLE.shows(OUR_LSP, "a token that is refused", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_understands_that_its_payment_is_too_small_or_too_large() {
    let world = World::playing(Script::default()).await;
    let terms = world.wallet.get_info(None).await.expect("a menu").remove(0);
    let small = world.wallet.buy(&terms, Some(terms.min_payment_size_msat - 1)).await.expect_err("less than the least");
    let large = world.wallet.buy(&terms, Some(terms.max_payment_size_msat + 1)).await.expect_err("more than the most");
    assert_eq!((small.code, large.code), (202, 203));
    world.wallet.buy(&terms, Some(AMOUNT.0)).await.expect("in between");
    TABLE.shows(OUR_LSP, "a size that is refused", Works);
}

/// The client is refused because it has an offer too many.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_deaf_when_it_is_refused_as_a_client() {
    let (said, on_request) = listens();
    let policy = StandardPolicy { unpaid_per_client: 1, ..StandardPolicy::default() };
    let world = World::playing(Script { policy, on_request, ..Script::default() }).await;
    let (_, terms) = world.wallet.receives(Some(AMOUNT.0)).await;
    world.wallet.asks_to_buy(&terms, Some(AMOUNT.0));
    let junk = || said.lock().unwrap().iter().any(|message| message.contains("-32700"));
    assert!(within(junk).await, "it does not read the refusal");
    let (lsp, wallet) = (&world.lsp.node, &world.wallet.node);
    wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
    assert!(within(|| lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none()).await);
    world.stage.connects(lsp, wallet).await;
    assert!(!world.wallet.get_info(None).await.expect("it listens again").is_empty());
    the_one_with(&said, "-32700"); // and ours left it at that
    let outcome = Cannot(
        "it takes `data` of an error for text, and this is an object (L0-034, L2-069): it answers the refusal with -32700, and listens \
         to that LSP no more until it reconnects",
    );
    TABLE.shows(OUR_LSP, "a client that is refused", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_amount_reaches_it() {
    let world = World::playing(Script::default()).await;
    world.is_paid_in_one_part(Some(AMOUNT.0)).await;
    TABLE.shows(OUR_LSP, "a fixed amount", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_the_payer_chooses_reaches_it() {
    let world = World::playing(Script::default()).await;
    world.is_paid_in_one_part(None).await;
    TABLE.shows(OUR_LSP, "an amount the payer chooses", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_parts_reaches_it() {
    is_paid_in_four_parts(Trust::LspTrustsClient).await;
    TABLE.shows(OUR_LSP, "a payment in four parts", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_has_to_trust_the_funding_is_out_after_its_claim() {
    let world = World::playing(Script { trust: Trust::ClientTrustsLsp, ..Script::default() }).await;
    world.is_paid_in_one_part(Some(AMOUNT.0)).await;
    assert_eq!(world.stage.seen.facts().unconfirmed_at_claim, Some(0), "nothing was out before the claim");
    TABLE.shows(OUR_LSP, "client trusts LSP", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_has_to_trust_a_payment_in_parts_reaches_it_too() {
    let world = is_paid_in_four_parts(Trust::ClientTrustsLsp).await;
    assert_eq!(world.stage.seen.facts().unconfirmed_at_claim, Some(0), "nothing was out before the claim");
    TABLE.shows(OUR_LSP, "client trusts LSP, in four parts", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_wallet_may_restart_before_it_is_paid() {
    let mut world = World::playing(Script::default()).await;
    let (before, (invoice, terms)) = (world.balances(), world.wallet.receives(Some(AMOUNT.0)).await);
    world.wallet.node.kill();
    let wallet = world.wallet.node.node_id();
    assert!(within(|| world.lsp.node.peer_manager().peer_by_node_id(&wallet).is_none()).await);
    world.wallet = TheirWallet::start(&world.stage, world.lsp.node.node_id()).await;
    world.stage.connects(&world.lsp.node, &world.wallet.node).await;
    world.stage.pays(&invoice);
    world.settles(before, &terms).await;
    TABLE.shows(OUR_LSP, "the wallet restarts between buy and payment", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_lsp_may_restart_before_its_wallet_is_paid() {
    let mut world = World::playing(Script::default()).await;
    let (before, (invoice, terms)) = (world.balances(), world.wallet.receives(Some(AMOUNT.0)).await);
    world.lsp.node.kill();
    let lsp = world.lsp.node.node_id();
    assert!(within(|| world.stage.payer.peer_manager().peer_by_node_id(&lsp).is_none()).await);
    assert!(within(|| world.wallet.node.peer_manager().peer_by_node_id(&lsp).is_none()).await);
    world.lsp = start_lsp(&world.stage).await;
    world.stage.connects(&world.lsp.node, &world.wallet.node).await;
    world.stage.payer_is_ready().await;
    world.stage.pays(&invoice);
    world.settles(before, &terms).await;
    TABLE.shows(OUR_LSP, "the LSP restarts between buy and payment", Works);
}

/// The order is paid before its first confirmation: by their rule a client of `lightning-liquidity` can only read
/// payments that need none.
#[tokio::test(flavor = "multi_thread")]
async fn it_orders_a_channel_and_sees_it_paid_and_opened() {
    let mut script = Script::of_orders();
    script.policy.orders.as_mut().expect("it takes orders").confirmations =
        vec![AmountRule { up_to_sat: u64::MAX, confirmations: 0 }];
    let World { stage, lsp, wallet } = World::playing(script).await;
    for node in [lsp.node.wallet(), wallet.node.wallet()] {
        stage.chain.give(&node.script(), 1_000_000);
    }
    let height = || lsp.node.channel_manager().current_best_block().height;
    assert!(within(|| height() == stage.chain.height()).await, "the LSP knows of its coins");
    let order = LSPS1OrderParams {
        lsp_balance_sat: 500_000,
        client_balance_sat: 50_000,
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        announce_channel: false,
    };
    let own = Address::from_script(&wallet.node.wallet().script(), Network::Regtest).expect("SegWit");
    let (id, payment) = wallet.orders(order, own).await;
    let bill = payment.onchain.expect("it can be paid there");
    let (unpaid, channel) = wallet.order_status(&id).await;
    assert_eq!(unpaid.onchain.map(|onchain| onchain.state), Some(LSPS1PaymentState::ExpectPayment));
    assert!(channel.is_none());

    let rate = FeeRate::from_sat_per_kwu(FEE_SAT_PER_KW.into());
    let tx = wallet.node.wallet().pay(&bill.address.script_pubkey(), bill.order_total_sat, rate).expect("it has coins");
    stage.chain.submit(tx).expect("it is valid");
    stage.chain.mine(1);
    assert!(within(|| !stage.chain.mempool().is_empty()).await, "the channel is funded");
    let (paid, channel) = wallet.order_status(&id).await;
    assert_eq!(paid.onchain.map(|onchain| onchain.state), Some(LSPS1PaymentState::Paid));
    let funding = wallet.node.channel_manager().list_channels()[0].funding_txo.expect("it is funded");
    assert_eq!(channel.map(|channel| channel.funding_outpoint), Some(funding.into_bitcoin_outpoint()));
    TABLE.shows(OUR_LSP, "LSPS1: a channel is ordered, paid on the chain and opened (`OrderPolicy` with `onchain`, `confirmations` of 0)", Works);
}

async fn is_paid_in_four_parts(trust: Trust) -> World {
    let world = World::playing(Script { trust, payer_channels: vec![100_000; 4], ..Script::default() }).await;
    let (before, (invoice, terms)) = (world.balances(), world.wallet.receives(Some(AMOUNT.0)).await);
    world.stage.payer.pay_split(&invoice, AMOUNT.0).unwrap();
    world.settles(before, &terms).await;
    assert_eq!(world.stage.seen.facts().intercepted, 4);
    world
}

pub struct World {
    pub stage: Stage,
    pub lsp: LspNode,
    pub wallet: TheirWallet,
}

impl World {
    pub async fn playing(script: Script) -> Self {
        let stage = Stage::set(script).await;
        let lsp = start_lsp(&stage).await;
        let wallet = TheirWallet::start(&stage, lsp.node.node_id()).await;
        stage.opens(&lsp.node, &wallet.node).await;
        Self { stage, lsp, wallet }
    }

    async fn is_paid_in_one_part(&self, amount: Option<u64>) {
        let (before, (invoice, terms)) = (self.balances(), self.wallet.receives(amount).await);
        assert_eq!(invoice.amount_milli_satoshis(), amount);
        self.stage.pays(&invoice);
        self.settles(before, &terms).await;
    }

    /// Checks that the LSP kept the fee that the wallet's terms say.
    pub async fn settles(&self, before: Balances, terms: &LSPS2OpeningFeeParams) -> Account {
        let fee = opening_fee(AMOUNT, Msat(terms.min_fee_msat), Ppm(terms.proportional)).expect("no overflow");
        settles(self.stage.trio(&self.lsp.node, &self.wallet.node), before, fee.0).await
    }

    pub fn balances(&self) -> Balances {
        self.stage.trio(&self.lsp.node, &self.wallet.node).balances().expect("nothing is under way")
    }
}

async fn start_lsp(stage: &Stage) -> LspNode {
    LspNode::start(&stage.chain, &stage.lsp_store, &stage.script).await.expect("it starts")
}

/// A clock of whole seconds, so that the test sees it if a time is written without its milliseconds.
struct WholeSeconds;

impl Clock for WholeSeconds {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(SystemClock.now().unix_millis() / 1_000 * 1_000)
    }
}
