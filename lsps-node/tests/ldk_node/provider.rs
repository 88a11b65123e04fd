//! Our wallet buys from an ldk-node.

use std::sync::{Arc, Mutex};

use ldk_node::Builder;
use ldk_node::liquidity::LSPS2ServiceConfig;
use lsps_client::jit_receive::CannotInvoice;
use lsps_client::session::WhyNot;
use lsps_node::Chain;
use lsps_node::node::{Node, within};
use lsps_node::store::MemoryStore;
use lsps_service::Trust;
use lsps_testing::scene::{Script, Seen, WalletNode, noting, shares, start_payer};
use lsps_transport_ldk::wallet::{CannotReceive, JitInvoice};
use lsps_transport_ldk::{Msat, Observed, Ppm};

use crate::peer::Peer;
use crate::{AMOUNT, FEE_LIMIT, HOUR, LDK_NODE, OUR_WALLET, TEMPORARY_NODE_FAILURE, soon};
use lsps_testing::table::Outcome::{Around, Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_amount_arrives_over_a_channel_without_scid_alias() {
    let menus = Arc::new(Mutex::new(vec![]));
    let kept = Arc::clone(&menus);
    let on_message: Arc<dyn Fn(Observed<'_>) + Send + Sync> = Arc::new(move |message| {
        let reply = String::from_utf8_lossy(message.payload).into_owned();
        kept.lock().unwrap().extend(reply.contains("valid_until").then_some(reply));
    });
    let world = World::set(sells(), Script { on_message, ..Script::default() }).await;
    let jit = world.buys().await.expect("ldk-node sells");
    let before = world.totals().expect("nothing is under way");
    world.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, jit.fee).await;
    let channels = world.wallet.node.channel_manager().list_channels();
    let kind = channels[0].channel_type.as_ref().expect("known since it was accepted");
    assert!(!kind.supports_scid_privacy(), "LSPS2 wants option_scid_alias; if it comes, the table is to be changed");

    let menus = menus.lock().unwrap();
    let date = menus[0].split("\"valid_until\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let fraction = date.trim_end_matches('Z').rsplit('.').next().unwrap();
    assert!(fraction.len() > 3, "{date} counts no more than milliseconds: the table is to be changed");
    LDK_NODE.shows(OUR_WALLET, "fixed amount", Around(
            "its channels are of a type without `option_scid_alias` (L2-113); its `valid_until` has nanoseconds (L0-103)",
        ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_the_payer_chooses_arrives() {
    let world = World::set(sells(), Script::default()).await;
    let share = Ppm(50_000);
    let jit = world.wallet.host.receive_variable_via_jit_channel(AMOUNT, "as you like", HOUR, share).await.unwrap();
    let before = world.totals().expect("nothing is under way");
    world.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, jit.fee).await;
    LDK_NODE.shows(OUR_WALLET, "amount left to the payer", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_parts_arrive_over_one_channel() {
    let world = World::set(sells(), Script { payer_channels: vec![100_000; 4], ..Script::default() }).await;
    let jit = world.buys().await.expect("ldk-node sells");
    let before = world.totals().expect("nothing is under way");
    world.payer.pay_split(&jit.invoice, AMOUNT.0).expect("channels to the LSP");
    world.is_settled(before, jit.fee).await;
    assert_eq!(world.wallet.node.channel_manager().list_channels().len(), 1);
    LDK_NODE.shows(OUR_WALLET, "fixed amount in four parts", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_to_be_trusted_is_paid_if_we_trust_it() {
    let trusted = LSPS2ServiceConfig { client_trusts_lsp: true, ..sells() };
    let world = World::set(trusted, Script { trust: Trust::ClientTrustsLsp, ..Script::default() }).await;
    let jit = world.buys().await.expect("ldk-node sells");
    assert!(jit.client_trusts_lsp);
    let before = world.totals().expect("nothing is under way");
    world.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, jit.fee).await;
    assert_eq!(world.seen.facts().unconfirmed_at_claim, Some(0), "nothing was out before the claim");
    LDK_NODE.shows(OUR_WALLET, "client trusts LSP", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lsp_that_restarts_before_the_payment_delivers() {
    let mut world = World::set(sells(), Script::default()).await;
    let jit = world.buys().await.expect("ldk-node sells");
    let before = world.totals().expect("nothing is under way");
    world.lsp.leaves();
    world.lsp.is_back();
    world.connect().await;
    let usable = || !world.payer.channel_manager().list_usable_channels().is_empty();
    assert!(within(usable).await, "the payer can use its channel");
    world.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, jit.fee).await;
    LDK_NODE.shows(OUR_WALLET, "LSP restarts before the payment", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_it_wants_it_refuses_with_the_code_for_that() {
    let picky = LSPS2ServiceConfig { require_token: Some("a token".into()), ..sells() };
    let world = World::set(picky, Script::default()).await;
    let Err(CannotReceive::NobodySells(nobody)) = world.buys().await else { panic!("it sells") };
    let why: Vec<&WhyNot> = nobody.failures.values().collect();
    assert!(why[0].to_string().contains("the token is unknown or no longer good"), "{why:?}");
    LDK_NODE.shows(OUR_WALLET, "token wanted and not given", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_that_token_it_sells() {
    let picky = LSPS2ServiceConfig { require_token: Some("a token".into()), ..sells() };
    let world = World::set(picky, Script { token: Some("a token".into()), ..Script::default() }).await;
    assert_eq!(world.buys().await.expect("ldk-node sells").lsp, world.lsp.id());
    LDK_NODE.shows(OUR_WALLET, "token wanted and given", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_comes_while_the_wallet_is_away_hangs() {
    let world = World::set(sells(), Script::default()).await;
    let jit = world.buys().await.expect("ldk-node sells");
    let before = world.totals().expect("nothing is under way");
    world.wallet.node.peer_manager().disconnect_by_node_id(world.lsp.id());
    world.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
    let cannot = || world.lsp.has_logged("Failed to open LSPS2 channel");
    assert!(within(cannot).await, "it holds the payment and cannot open a channel");
    world.lsp.connect(&world.wallet.node).await;
    world.hangs_until_its_htlc_expires(&jit, before).await;
    LDK_NODE.shows(OUR_WALLET, "wallet away when the payment comes, and back", Cannot(
            "it tries to open the channel once, and not when the wallet is back (L2-103). Only LDK's own limit ends the \
             payment, 39 blocks before its HTLC would; the payer has its money back",
        ));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_to_be_trusted_and_is_not_sells_nothing() {
    let trusted = LSPS2ServiceConfig { client_trusts_lsp: true, ..sells() };
    let world = World::set(trusted, Script::default()).await;
    let refused = world.buys().await.expect_err("our wallet trusts nobody by default");
    assert!(matches!(refused, CannotReceive::Terms(CannotInvoice::TrustRefused)), "{refused}");
    LDK_NODE.shows(OUR_WALLET, "client is to trust LSP, and does not", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_trusted_with_four_parts_keeps_the_funding() {
    let trusted = LSPS2ServiceConfig { client_trusts_lsp: true, ..sells() };
    let script = Script { trust: Trust::ClientTrustsLsp, payer_channels: vec![100_000; 4], ..Script::default() };
    let world = World::set(trusted, script).await;
    let jit = world.buys().await.expect("ldk-node sells");
    world.payer.pay_split(&jit.invoice, AMOUNT.0).expect("channels to the LSP");
    let facts = || world.seen.facts();
    assert!(within(|| facts().sent.is_some() && facts().received.is_some()).await, "{:?}", facts());
    assert!(!soon(|| world.mining_msat() > 0).await, "the funding is out: the table is to be changed");
    LDK_NODE.shows(OUR_WALLET, "client trusts LSP, four parts", Cannot(
            "the wallet is paid and has claimed, and the funding is still not broadcast (L2-124 lets it wait for the preimage \
             only). Our wallet trusts nobody unless told to",
        ));
}

fn sells() -> LSPS2ServiceConfig {
    LSPS2ServiceConfig {
        require_token: None,
        advertise_service: false,
        channel_opening_fee_ppm: 10_000,
        channel_over_provisioning_ppm: 500_000,
        min_channel_opening_fee_msat: 500_000,
        min_channel_lifetime: 1_000,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: 1_000,
        max_payment_size_msat: 1_000_000_000,
        client_trusts_lsp: false,
    }
}

/// Payer, an ldk-node as LSP, and our wallet.
struct World {
    chain: Chain,
    payer: Arc<Node>,
    lsp: Peer,
    wallet: WalletNode,
    seen: Arc<Seen>,
}

impl World {
    async fn set(terms: LSPS2ServiceConfig, mut script: Script) -> Self {
        let (chain, seen) = (Chain::new(), Arc::new(Seen::default()));
        script.on_event = noting(&seen, &chain, script.on_event);
        let lsp = Peer::start(&chain, move || {
            let mut builder = Builder::new();
            builder.set_liquidity_provider_lsps2(terms.clone());
            builder
        })
        .await;
        lsp.is_given(&chain, 1_000_000).await;
        let payer = start_payer(&chain, &script).await.expect("it starts");
        let nowhere = payer.address(); // it is the LSP that connects
        let at = (lsp.id(), nowhere);
        let wallet = WalletNode::start(&chain, &(Arc::new(MemoryStore::new()) as _), at, &script).await.unwrap();
        let world = Self { chain, payer, lsp, wallet, seen };
        world.connect().await;
        world.payer_opens(&script.payer_channels).await;
        world
    }

    async fn connect(&self) {
        self.lsp.connect(&self.payer).await;
        self.lsp.connect(&self.wallet.node).await;
    }

    async fn payer_opens(&self, sizes_sat: &[u64]) {
        for (size, key) in sizes_sat.iter().zip(1..) {
            self.chain.give(&self.payer.wallet().script(), size + 200_000);
            let opened = self.payer.channel_manager().create_channel(self.lsp.id(), *size, 0, key, None, None);
            opened.expect("it is connected");
        }
        assert!(within(|| self.chain.mempool().len() == sizes_sat.len()).await, "the fundings are out");
        self.chain.mine(6);
        let open = || {
            self.lsp.node().sync_wallets().expect("the chain is there");
            let usable = self.lsp.node().list_channels().iter().filter(|channel| channel.is_usable).count();
            usable == sizes_sat.len() && self.payer.channel_manager().list_usable_channels().len() == usable
        };
        assert!(within(open).await, "the payer's channels are open");
    }

    async fn buys(&self) -> Result<JitInvoice, CannotReceive> {
        self.wallet.host.receive_via_jit_channel(AMOUNT, "a first payment", HOUR, FEE_LIMIT).await
    }

    /// Balances of payer, LSP and wallet, in millisatoshis; `None` while a payment is under way.
    fn totals(&self) -> Option<[u64; 3]> {
        let [from_payer, at_lsp] = self.lsp.shares();
        let [from_lsp, at_wallet] = shares(&self.wallet.node).ok()?;
        let coins = |sat: u64| sat * 1_000;
        Some([
            coins(self.payer.wallet().balance_sat()) + from_payer,
            coins(self.lsp.coins_sat()) + at_lsp + from_lsp,
            coins(self.wallet.node.wallet().balance_sat()) + at_wallet,
        ])
    }

    /// ldk-node asks no wallet twice, neither one that was away nor one that refused the channel.
    async fn hangs_until_its_htlc_expires(&self, jit: &JitInvoice, before: [u64; 3]) {
        let failed = || self.seen.facts().has_failed;
        let opens = || !self.wallet.node.channel_manager().list_channels().is_empty();
        assert!(!soon(|| opens() || failed()).await, "neither is the channel opened nor the payment failed");
        let channels = self.payer.channel_manager().list_channels();
        let expiry = channels[0].pending_outbound_htlcs[0].cltv_expiry;
        let delta = u32::from(jit.invoice.route_hints()[0].0[0].cltv_expiry_delta);
        self.chain.mine(expiry - delta - FAILS_BEFORE - self.chain.height());
        assert!(within(failed).await, "the payer has its money back");
        assert_eq!(crate::codes_at(&self.payer), [TEMPORARY_NODE_FAILURE]);
        assert!(within(|| self.totals() == Some(before)).await, "{:?} and not {before:?}", self.totals());
    }

    fn mining_msat(&self) -> u64 {
        let channels = self.wallet.node.channel_manager().list_channels();
        let fundings = channels.into_iter().filter_map(|channel| channel.funding_txo);
        fundings.filter_map(|funding| self.chain.fee_sat(&funding.txid)).sum::<u64>() * 1_000
    }

    /// Checks to the millisatoshi that payer and wallet have their balances, and the LSP the rest.
    async fn is_settled(&self, before: [u64; 3], fee: Msat) {
        let facts = || self.seen.facts();
        let over = within(|| facts().has_failed || (facts().sent.is_some() && facts().received.is_some())).await;
        assert!(over && !facts().has_failed, "{:?} {:?}", facts(), crate::codes_at(&self.payer));
        let (sent, routing) = facts().sent.unwrap();
        assert_eq!((sent, facts().received), (AMOUNT.0 + routing, Some((AMOUNT.0 - fee.0, fee.0))));
        assert!(within(|| self.mining_msat() > 0).await, "the funding is out");
        let mining = self.mining_msat();
        let [payer, lsp, wallet] = before;
        let should = [payer - sent, lsp + fee.0 + routing - mining, wallet + AMOUNT.0 - fee.0];
        within(|| self.totals() == Some(should)).await;
        assert_eq!(self.totals(), Some(should));
    }
}

/// Number of blocks before the expiry of a held HTLC at which LDK fails it by itself.
const FAILS_BEFORE: u32 = 39;
