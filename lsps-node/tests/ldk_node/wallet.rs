//! ldk-node buys from our LSP.

use ldk_node::bitcoin::hashes::{Hash as _, sha256};
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::config::{AnchorChannelsConfig, Config};
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::payment::PaymentKind;
use ldk_node::{Builder, Event, NodeError};
use lightning::types::features::ChannelTypeFeatures;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use lsps_node::node::within;
use lsps_service::{BookTotals, Trust};
use lsps_testing::scene::{Scene, Script, shares};
use lsps_transport_ldk::Msat;

use crate::peer::Peer;
use crate::{AMOUNT, FEE_LIMIT, HOUR, LDK_NODE, OUR_LSP, UNKNOWN_PAYMENT, codes_at};
use lsps_testing::table::Outcome::{Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_amount_arrives_less_the_fee_that_was_agreed() {
    let world = World::set(Script::default()).await;
    let invoice = world.buys().expect("our LSP sells");
    let before = world.totals().expect("nothing is under way");
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, &invoice).await;
    LDK_NODE.shows(OUR_LSP, "fixed amount", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_parts_arrive_over_one_channel() {
    let world = World::set(Script { payer_channels: vec![100_000; 4], ..Script::default() }).await;
    let invoice = world.buys().expect("our LSP sells");
    let before = world.totals().expect("nothing is under way");
    world.scene.payer.pay_split(&invoice, AMOUNT.0).expect("channels to the LSP");
    world.is_settled(before, &invoice).await;
    assert_eq!(world.scene.seen.facts().intercepted, 4);
    assert_eq!(world.wallet.node().list_channels().len(), 1);
    LDK_NODE.shows(OUR_LSP, "fixed amount in four parts", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_client_trusts_the_lsp_the_funding_waits_for_the_claim() {
    let world = World::set(Script { trust: Trust::ClientTrustsLsp, ..Script::default() }).await;
    let (preimage, payment) = ([42; 32], world.wallet.node().bolt11_payment());
    let hash = PaymentHash(sha256::Hash::hash(&preimage).to_byte_array());
    let limit = Some(FEE_LIMIT.0);
    let invoice = payment.receive_via_jit_channel_for_hash(AMOUNT.0, &description(), 3_600, limit, hash).unwrap();
    let before = world.totals().expect("nothing is under way");
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    let asked = world.wallet.tells("to claim", |event| matches!(event, Event::PaymentClaimable { .. })).await;
    let Event::PaymentClaimable { claimable_amount_msat, .. } = asked else { unreachable!() };
    assert!(world.scene.chain.mempool().is_empty(), "nothing is out before the claim");
    payment.claim_for_hash(hash, claimable_amount_msat, PaymentPreimage(preimage)).expect("it is as was asked");
    world.is_settled(before, &invoice).await;
    LDK_NODE.shows(OUR_LSP, "client trusts LSP", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_restarts_before_the_payment_is_paid() {
    let mut world = World::set(Script::default()).await;
    let invoice = world.buys().expect("our LSP sells");
    let before = world.totals().expect("nothing is under way");
    world.wallet.leaves();
    world.wallet.is_back();
    world.wallet.connect(&world.scene.lsp.node).await;
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    world.is_settled(before, &invoice).await;
    LDK_NODE.shows(OUR_LSP, "wallet restarts before the payment", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_is_away_when_the_payment_comes_is_paid_when_it_is_back() {
    let mut world = World::set(Script::default()).await;
    let invoice = world.buys().expect("our LSP sells");
    let before = world.totals().expect("nothing is under way");
    world.wallet.leaves();
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    assert!(within(|| world.scene.seen.facts().intercepted == 1).await, "our LSP holds it");
    world.wallet.is_back();
    world.wallet.connect(&world.scene.lsp.node).await;
    world.is_settled(before, &invoice).await;
    LDK_NODE.shows(OUR_LSP, "wallet away when the payment comes, and back", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_trusts_its_lsp_with_the_closing_has_a_channel_with_anchors() {
    let kind = paid_over_a_channel_of_what_kind(true).await;
    assert!(kind.requires_anchors_zero_fee_htlc_tx() && kind.requires_scid_privacy(), "{kind}");
    LDK_NODE.shows(
        OUR_LSP,
        "our LSP offers anchors, the wallet has no coins and trusts it with the closing (`trusted_peers_no_reserve`)",
        Works,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_coins_to_close_it_with_has_a_channel_without_anchors() {
    let kind = paid_over_a_channel_of_what_kind(false).await;
    assert!(!kind.supports_anchors_zero_fee_htlc_tx() && kind.requires_scid_privacy(), "{kind}");
    LDK_NODE.shows(OUR_LSP, "our LSP offers anchors, the wallet has no coins and its settings are the default: it refuses, and is asked for a channel without them", Works);
}

/// Plays a payment with an LSP that offers anchor channels, and returns the type of the opened channel.
async fn paid_over_a_channel_of_what_kind(trusts_closing: bool) -> ChannelTypeFeatures {
    let world = World::of(Script { anchors: true, ..Script::default() }, None, trusts_closing).await;
    let invoice = world.buys().expect("our LSP sells");
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    let fee = world.is_paid(&invoice).await;
    // The exact balances of channels with anchors are not known, but whole satoshis are.
    let has_sat = || world.wallet.node().list_balances().total_lightning_balance_sats;
    assert!(within(|| has_sat() == (AMOUNT.0 - fee) / 1_000).await, "{} sat", has_sat());
    assert_eq!(world.wallet.has_logged("Rejecting inbound Anchor channel"), !trusts_closing);
    let channels = world.scene.lsp.node.channel_manager().list_channels_with_counterparty(&world.wallet.id());
    channels[0].channel_type.clone().expect("known since it was accepted")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_is_refused() {
    let world = World::of(Script::default(), Some("unknown"), false).await;
    assert_eq!(world.buys().expect_err("the token is no good"), NodeError::LiquidityRequestFailed);
    assert!(world.scene.lsp.node.peer_manager().peer_by_node_id(&world.wallet.id()).is_some(), "it stays connected");
    LDK_NODE.shows(OUR_LSP, "unknown token", Works);
}

/// The wallet compares the fee with a limit that it computes from the amount that is left after the fee.
#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_the_payer_chooses_goes_back() {
    let world = World::set(Script::default()).await;
    let description = description();
    let payment = world.wallet.node().bolt11_payment();
    let invoice = payment.receive_variable_amount_via_jit_channel(&description, 3_600, None).expect("our LSP sells");
    let before = world.totals().expect("nothing is under way");
    world.scene.payer.pay(&invoice, AMOUNT.0).expect("a route");
    assert!(within(|| world.scene.seen.facts().has_failed).await, "the payer has its money back");
    assert_eq!(codes_at(&world.scene.payer), [UNKNOWN_PAYMENT], "it is the wallet that refuses");
    let mining = world.mining_msat();
    let [payer, lsp, wallet] = before;
    let settled = || world.totals() == Some([payer, lsp - mining, wallet]);
    assert!(within(settled).await, "{:?} and not {before:?} less {mining}", world.totals());
    let book = world.book().await;
    assert!(book.asked > Msat::ZERO && book.earned == Msat::ZERO, "our LSP knows that it was not paid: {book:?}");
    assert_eq!(world.wallet.node().list_channels().len(), 1, "the channel may yet be paid for");
    LDK_NODE.shows(OUR_LSP, "amount left to the payer", Cannot(
            "it holds the fee against the agreed share of what is left after the fee, so that any fee is too large; the fee \
             is to be judged on value plus extra fee (L2-137, L2-141). The payer has its money back, the channel stays",
        ));
}

fn description() -> Bolt11InvoiceDescription {
    Bolt11InvoiceDescription::Direct(Description::new("a first payment".into()).expect("it is short"))
}

/// Payer, our LSP, and an ldk-node as its client.
struct World {
    scene: Scene,
    wallet: Peer,
}

impl World {
    async fn set(script: Script) -> Self {
        Self::of(script, None, false).await
    }

    async fn of(script: Script, token: Option<&str>, trusts_closing: bool) -> Self {
        let scene = Scene::set(script).await.expect("the nodes start");
        let (lsp, address) = (scene.lsp.node.node_id(), SocketAddress::from(scene.lsp.node.address()));
        let token = token.map(String::from);
        let wallet =
            Peer::start(&scene.chain, move || customer_of(lsp, &address, token.as_ref(), trusts_closing)).await;
        Self { scene, wallet }
    }

    fn buys(&self) -> Result<Bolt11Invoice, NodeError> {
        let (payment, seconds) = (self.wallet.node().bolt11_payment(), u32::try_from(HOUR.as_secs()).unwrap());
        payment.receive_via_jit_channel(AMOUNT.0, &description(), seconds, Some(FEE_LIMIT.0))
    }

    /// Balances of payer, LSP and wallet, in millisatoshis; `None` while a payment is under way.
    fn totals(&self) -> Option<[u64; 3]> {
        let (payer, lsp) = (&self.scene.payer, &self.scene.lsp.node);
        let [from_payer, at_lsp] = shares(lsp).ok()?;
        let [from_lsp, at_wallet] = self.wallet.shares();
        let coins = |sat: u64| sat * 1_000;
        Some([
            coins(payer.wallet().balance_sat()) + from_payer,
            coins(lsp.wallet().balance_sat()) + at_lsp + from_lsp,
            at_wallet,
        ])
    }

    fn mining_msat(&self) -> u64 {
        let fundings = self.wallet.node().list_channels().into_iter().filter_map(|channel| channel.funding_txo);
        fundings.filter_map(|funding| self.scene.chain.fee_sat(&funding.txid)).sum::<u64>() * 1_000
    }

    /// Checks that the wallet reports the payment less the agreed fee, and that the payer has the preimage. Returns the
    /// fee.
    async fn is_paid(&self, invoice: &Bolt11Invoice) -> u64 {
        let received =
            self.wallet.tells("of the payment", |event| matches!(event, Event::PaymentReceived { .. })).await;
        let Event::PaymentReceived { payment_id: Some(id), amount_msat, .. } = received else { unreachable!() };
        let PaymentKind::Bolt11Jit { counterparty_skimmed_fee_msat, lsp_fee_limits, hash, .. } =
            self.wallet.node().payment(&id).expect("it is on record").kind
        else {
            panic!("a JIT payment");
        };
        let fee = lsp_fee_limits.max_total_opening_fee_msat.expect("a fee was agreed");
        assert_eq!(&hash.0, AsRef::<[u8; 32]>::as_ref(invoice.payment_hash()));
        assert_eq!((counterparty_skimmed_fee_msat, amount_msat), (Some(fee), AMOUNT.0 - fee));

        assert!(within(|| self.scene.seen.facts().sent.is_some()).await, "the payer has the preimage");
        fee
    }

    /// Checks to the millisatoshi that payer and wallet have their balances, and the LSP the rest.
    async fn is_settled(&self, before: [u64; 3], invoice: &Bolt11Invoice) {
        let fee = self.is_paid(invoice).await;
        let (sent, routing) = self.scene.seen.facts().sent.unwrap();
        assert_eq!(sent, AMOUNT.0 + routing);
        assert!(within(|| self.mining_msat() > 0).await, "the funding is out");
        let mining = self.mining_msat();
        let [payer, lsp, wallet] = before;
        let should = [payer - sent, lsp + fee + routing - mining, wallet + AMOUNT.0 - fee];
        within(|| self.totals() == Some(should)).await;
        assert_eq!(self.totals(), Some(should));
        let book = self.book().await;
        assert_eq!((book.asked, book.earned, book.lost), (Msat(fee), Msat(fee), Msat::ZERO));
    }

    async fn book(&self) -> BookTotals {
        BookTotals::of(&self.scene.lsp.host.book().await.expect("it can be read"))
    }
}

/// A channel with anchors is closed with coins. A wallet without coins can leave the closing to its LSP.
fn customer_of(lsp: PublicKey, address: &SocketAddress, token: Option<&String>, trusts_closing: bool) -> Builder {
    let mut anchors = AnchorChannelsConfig::default();
    if trusts_closing {
        anchors.trusted_peers_no_reserve.push(lsp);
    }
    let mut builder = Builder::from_config(Config { anchor_channels_config: Some(anchors), ..Config::default() });
    builder.set_liquidity_source_lsps2(lsp, address.clone(), token.cloned());
    builder
}
