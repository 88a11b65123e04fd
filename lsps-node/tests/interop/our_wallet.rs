//! Our wallet buys from an LSP with `lightning-liquidity`.

use std::sync::Arc;
use std::time::Duration;

use lightning::types::payment::PaymentPreimage;
use lsps_client::CallError;
use lsps_client::jit_receive::CannotInvoice;
use lsps_client::session::{Failed, WhyNot};
use lsps_node::node::{passes, within};
use lsps_service::Trust;
use lsps_testing::scene::{Account, Balances, Error, Script, WalletNode};
use lsps_transport_ldk::wallet::{CannotReceive, JitInvoice};
use lsps_types::PeerId;
use lsps_types::codes::GetInfoError;
use lsps_types::jsonrpc::{ErrorReply, Refusal};
use lsps_types::lsps1;

use crate::stage::{Stage, settles};
use crate::their_lsp::{Terms, TheirLsp, fee_on};
use crate::{AMOUNT, FEE_LIMIT, HOUR, OUR_WALLET, SHARE_LIMIT, TABLE, listens, text_of, the_one_with};
use lsps_testing::table::Outcome::{Around, Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_serves_lsps2() {
    let world = World::with(Terms::default()).await;
    let protocols = world.lsp().list_protocols().await.expect("an answer").protocols;
    assert_eq!(protocols, [2]);
    TABLE.shows(OUR_WALLET, "`lsps0.list_protocols`", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_answer_what_it_does_not_serve() {
    let world = World::with(Terms::default()).await;
    let asked = world.lsp().call_within(&lsps1::GetInfo {}, Duration::from_millis(500)).await;
    assert!(matches!(asked, Err(Failed::Call(CallError::TimedOut))), "{asked:?}");
    assert_eq!(world.lsp().list_protocols().await.expect("the next call").protocols, [2]);
    let outcome =
        Cannot("it never answers (L0-077); the call ends as `CallError::TimedOut`, and the next is not affected");
    TABLE.shows(OUR_WALLET, "a method it does not serve", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_goes_back_as_it_was() {
    let (said, on_message) = listens();
    let world = World::playing(Terms::default(), Script { on_message, ..Script::default() }).await;
    let jit = world.buys().await.expect("it sells");
    assert_eq!((jit.fee.0, jit.client_trusts_lsp), (fee_on(AMOUNT.0), false));
    let menu = text_of(&the_one_with(&said, "opening_fee_params_menu"), "valid_until");
    let bought = text_of(&the_one_with(&said, "lsps2.buy"), "valid_until");
    let fraction = menu.split_once('.').expect("a fraction").1;
    assert_eq!(fraction.len(), "123456789Z".len(), "{menu}");
    assert_eq!(bought, menu);
    let outcome =
        Around("it writes `valid_until` with nine digits of a second, not three (R-05), which are kept as they are");
    TABLE.shows(OUR_WALLET, "`get_info`, `buy`", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_refusal_of_a_token_is_understood() {
    let terms = Terms { token: Some("spring"), ..Terms::default() };
    let wrong = Script { token: Some("autumn".into()), ..Script::default() };
    let world = World::playing(terms, wrong).await;
    let Err(CannotReceive::NobodySells(nobody)) = world.buys().await else { panic!("it sells") };
    let why = &nobody.failures[&world.lsp_id()];
    let WhyNot::GetInfo(Failed::Call(CallError::Refused(ErrorReply { refusal, .. }))) = why else { panic!("{why:?}") };
    assert_eq!(*refusal, Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));

    let right = Script { token: Some("spring".into()), ..Script::default() };
    World::playing(terms, right).await.buys().await.expect("it sells to who has the token");
    TABLE.shows(OUR_WALLET, "a token that is refused", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_amount_arrives_over_a_channel_with_an_alias() {
    let world = World::with(Terms::default()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    TABLE.shows(OUR_WALLET, "a fixed amount", Works);

    let channels = world.wallet.node.channel_manager().list_channels();
    let channel_type = channels[0].channel_type.as_ref().expect("negotiated");
    assert!(!channel_type.requires_scid_privacy());
    assert!(channels[0].inbound_scid_alias.is_some(), "what later invoices need");
    let outcome = Around(
        "it leaves `option_scid_alias` out of the channel's type (L2-113); both nodes support it, so the channel has its alias",
    );
    TABLE.shows(OUR_WALLET, "the channel opens", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_the_payer_chooses_arrives() {
    let world = World::with(Terms::default()).await;
    let (before, wallet) = (world.balances(), &world.wallet.host);
    let jit = wallet.receive_variable_via_jit_channel(AMOUNT, "as you like", HOUR, SHARE_LIMIT).await.unwrap();
    assert_eq!(jit.invoice.amount_milli_satoshis(), None);
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    TABLE.shows(OUR_WALLET, "an amount the payer chooses", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_parts_arrives() {
    let world = World::playing(Terms::default(), four_channels()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.stage.payer.pay_split(&jit.invoice, AMOUNT.0).unwrap();
    world.settles(before, fee_on(AMOUNT.0)).await;
    assert_eq!(world.stage.seen.facts().intercepted, 4);
    TABLE.shows(OUR_WALLET, "a payment in four parts", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_payment_over_the_same_scid_arrives_whole_after_a_payment_in_one_part() {
    let world = World::with(Terms::default()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.stage.pays(&jit.invoice);
    let after_one = world.settles(before, fee_on(AMOUNT.0)).await.after;
    world.pays_later(&jit);
    assert!(within(|| world.stage.seen.facts().unconfirmed_at_claim.is_some()).await, "it arrives");
    world.wallet.node.channel_manager().claim_funds(PaymentPreimage(LATE));
    let facts = || world.stage.seen.facts();
    assert!(within(|| facts().sent.is_some() && facts().received.is_some() && world.try_balances().is_ok()).await);
    assert_eq!(facts().received, Some((AMOUNT.0 / 2, 0)), "nothing is kept of it");
    assert_eq!(world.balances().wallet.total_msat() - after_one.wallet.total_msat(), AMOUNT.0 / 2);
    TABLE.shows(OUR_WALLET, "a later payment over the same SCID", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_payment_in_parts_a_later_one_is_held_until_it_times_out() {
    let world = World::playing(Terms::default(), four_channels()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.stage.payer.pay_split(&jit.invoice, AMOUNT.0).unwrap();
    let after_first = world.settles(before, fee_on(AMOUNT.0)).await.after;
    world.pays_later(&jit);
    let facts = || world.stage.seen.facts();
    assert!(within(|| facts().intercepted == 1).await);
    assert!(passes(500).await);
    let channels = world.wallet.node.channel_manager().list_channels();
    assert!(channels.iter().all(|channel| channel.pending_inbound_htlcs.is_empty()), "the table can say so");
    for _ in 0..40 {
        world.stage.chain.mine(10);
        if passes(200).await && facts().has_failed {
            break;
        }
    }
    assert!(facts().has_failed && facts().received.is_none(), "the payer has its money back");
    assert!(within(|| world.try_balances().is_ok_and(|now| now == after_first)).await, "everybody has what they had");
    let why = "its LSP still waits for the whole fee in one part, and holds the payment until it times out (L2-145, L2-148); the \
               payer has the money back then";
    TABLE.shows(OUR_WALLET, "a later payment over the same SCID, the first in four parts", Cannot(why));
}

const LATE: [u8; 32] = [24; 32];

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_trusts_it_is_paid_before_the_funding_is_out() {
    let world = World::playing(TRUSTED, Script { trust: Trust::ClientTrustsLsp, ..Script::default() }).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    assert!(jit.client_trusts_lsp);
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    assert_eq!(world.stage.seen.facts().unconfirmed_at_claim, Some(0), "nothing was out before the claim");
    TABLE.shows(OUR_WALLET, "client trusts LSP", Works);
}

/// `lightning-liquidity` looks for the whole fee in one part, while each part carries only its share of the fee.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_parts_leaves_who_trusts_it_with_a_channel_that_is_not_on_the_chain() {
    let trusting = Script { trust: Trust::ClientTrustsLsp, ..four_channels() };
    let world = World::playing(TRUSTED, trusting).await;
    let jit = world.buys().await.expect("it sells");
    world.stage.payer.pay_split(&jit.invoice, AMOUNT.0).unwrap();
    let facts = || world.stage.seen.facts();
    assert!(within(|| facts().sent.is_some() && facts().received.is_some()).await, "the payment is over");
    assert_eq!(facts().received, Some((AMOUNT.0 - fee_on(AMOUNT.0), fee_on(AMOUNT.0))));
    assert!(passes(500).await);
    let channels = world.wallet.node.channel_manager().list_channels();
    let funding = channels[0].funding_txo.expect("it is known").txid;
    assert!(world.stage.chain.transaction(&funding).is_none(), "it is out: the table can say so");

    let careful = World::playing(TRUSTED, four_channels()).await.buys().await;
    assert!(matches!(careful, Err(CannotReceive::Terms(CannotInvoice::TrustRefused))), "{careful:?}");
    let why = "the payment arrives, and the funding is never broadcast (L2-124, L2-145). A wallet trusts nobody by default, \
               and ends with `CannotInvoice::TrustRefused` before there is an invoice";
    TABLE.shows(OUR_WALLET, "client trusts LSP, in four parts", Cannot(why));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_wallet_may_restart_before_it_is_paid() {
    let mut world = World::with(Terms::default()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.wallet.node.kill();
    world.wallet = start_wallet(&world.stage, &world.lsp).await;
    assert!(within(|| world.is_gone(&world.wallet.node.node_id())).await);
    assert!(world.wallet.host.purchases()[0].is_unpaid(), "it is on record");
    world.stage.connects(&world.lsp.node, &world.wallet.node).await;
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    TABLE.shows(OUR_WALLET, "the wallet restarts between buy and payment", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_lsp_may_restart_before_our_wallet_is_paid() {
    let mut world = World::with(Terms::default()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.lsp.node.kill();
    let lsp = world.lsp.node.node_id();
    assert!(within(|| world.stage.payer.peer_manager().peer_by_node_id(&lsp).is_none()).await);
    assert!(within(|| world.wallet.node.peer_manager().peer_by_node_id(&lsp).is_none()).await);
    world.lsp = TheirLsp::start(&world.stage, Terms::default()).await;
    world.stage.connects(&world.lsp.node, &world.wallet.node).await;
    world.stage.payer_is_ready().await;
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    TABLE.shows(OUR_WALLET, "the LSP restarts between buy and payment", Works);
}

const TRUSTED: Terms = Terms { token: None, client_trusts_lsp: true, webhooks: None };

fn four_channels() -> Script {
    Script { payer_channels: vec![100_000; 4], ..Script::default() }
}

pub struct World {
    pub stage: Stage,
    pub lsp: TheirLsp,
    pub wallet: WalletNode,
}

impl World {
    pub async fn with(terms: Terms) -> Self {
        Self::playing(terms, Script::default()).await
    }

    pub async fn playing(terms: Terms, script: Script) -> Self {
        Self::on(Stage::set(script).await, terms).await
    }

    pub async fn on(stage: Stage, terms: Terms) -> Self {
        let lsp = TheirLsp::start(&stage, terms).await;
        let wallet = start_wallet(&stage, &lsp).await;
        stage.opens(&lsp.node, &wallet.node).await;
        Self { stage, lsp, wallet }
    }

    pub async fn buys(&self) -> Result<JitInvoice, CannotReceive> {
        self.wallet.host.receive_via_jit_channel(AMOUNT, "a first payment", HOUR, FEE_LIMIT).await
    }

    pub async fn settles(&self, before: Balances, fee: u64) -> Account {
        settles(self.stage.trio(&self.lsp.node, &self.wallet.node), before, fee).await
    }

    pub fn balances(&self) -> Balances {
        self.try_balances().expect("nothing is under way")
    }

    fn try_balances(&self) -> Result<Balances, Error> {
        self.stage.trio(&self.lsp.node, &self.wallet.node).balances()
    }

    /// The payer pays an ordinary invoice of the application with the route hint that was bought.
    fn pays_later(&self, jit: &JitInvoice) {
        self.stage.seen.forget();
        let (hint, half) = (jit.invoice.route_hints()[0].clone(), AMOUNT.0 / 2);
        let invoice = self.wallet.node.invoice_over(hint, Some(half), Some(LATE)).expect("an invoice");
        self.stage.payer.pay_in_parts(&invoice, &[half]).expect("a channel");
    }

    pub fn lsp(&self) -> lsps_client::session::Lsp {
        self.wallet.host.session().lsp(self.lsp_id())
    }

    pub fn lsp_id(&self) -> PeerId {
        PeerId(self.lsp.node.node_id().serialize())
    }

    pub fn is_gone(&self, peer: &bitcoin::secp256k1::PublicKey) -> bool {
        self.lsp.node.peer_manager().peer_by_node_id(peer).is_none()
    }
}

async fn start_wallet(stage: &Stage, lsp: &TheirLsp) -> WalletNode {
    let at = (lsp.node.node_id(), lsp.node.address());
    WalletNode::start(&stage.chain, &Arc::clone(&stage.wallet_store), at, &stage.script).await.expect("it starts")
}
