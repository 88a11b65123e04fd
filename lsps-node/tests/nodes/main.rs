//! Payer, LSP and a wallet without channels: real LDK nodes over loopback TCP.
#![allow(non_snake_case)]

mod away;
mod by_offer;
mod called;
mod capacity;
mod closes;
mod dishonest;
mod doom;
mod failures;
mod flows;
mod hold;
mod look_alike;
mod notifier;
mod observed;
mod opens;
mod order_world;
mod ordered;
mod orders;
mod parts;
mod probes;
mod refused_payments;
mod replayed;
mod restarts;
mod router;
mod store;
mod wallet;

use std::time::Duration;

use bitcoin::hashes::{Hash as _, sha256};
use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning_invoice::Bolt11Invoice;
use lsps_node::node::logger::FailureCode;
use lsps_node::node::{passes, within};
use lsps_service::Trust;
use lsps_testing::fault::Shifted;
use lsps_testing::scene::{Account, Balances, Scene, Script};
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_transport_ldk::{Msat, Ppm};

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const SHARE_LIMIT: Ppm = Ppm(50_000);
const HOUR: Duration = Duration::from_secs(3_600);

const TEMPORARY_CHANNEL_FAILURE: FailureCode = FailureCode(0x1007);
const UNKNOWN_NEXT_PEER: FailureCode = FailureCode(0x400a);

/// The wallet's application writes an ordinary invoice, as it does once it has a channel, and is paid.
async fn is_paid_by_an_ordinary_invoice(scene: &Scene, amount: Msat) -> Bolt11Invoice {
    const PREIMAGE: [u8; 32] = [24; 32];
    scene.seen.forget();
    let hash = PaymentHash(sha256::Hash::hash(&PREIMAGE).to_byte_array());
    let manager = scene.wallet.node.channel_manager();
    // A channel on trust has a prohibitive forwarding fee until its opening fee is paid; then the wallet is told the
    // usual one.
    let prices = || manager.list_channels().into_iter().filter_map(|channel| channel.counterparty.forwarding_info);
    assert!(within(|| prices().any(|price| price.fee_base_msat < u32::MAX)).await, "the LSP tells its price");
    let terms =
        Bolt11InvoiceParameters { amount_msats: Some(amount.0), payment_hash: Some(hash), ..Default::default() };
    let invoice = manager.create_bolt11_invoice(terms).expect("an invoice");
    scene.payer.pay(&invoice, amount.0).expect("a route");
    let facts = || scene.seen.facts();
    assert!(
        within(|| facts().has_failed || facts().unconfirmed_at_claim.is_some()).await,
        "the payment ends somewhere"
    );
    assert!(!facts().has_failed, "the payment arrives, instead of {:?}", scene.payer.logger().failure_codes());
    manager.claim_funds(PaymentPreimage(PREIMAGE));
    assert!(within(|| facts().sent.is_some() && facts().received.is_some()).await, "the payment is claimed");
    assert_eq!((facts().received, facts().intercepted), (Some((amount.0, 0)), 0), "the LSP forwards it as any other");
    invoice
}

/// A scene on which the wallet has bought a channel.
struct World {
    scene: Scene,
    jit: JitInvoice,
    before: Balances,
    /// Number of failures that the payer had seen before the present payment.
    failures: usize,
}

impl World {
    async fn with(trust: Trust) -> Self {
        Self::playing(Script { trust, ..Script::default() }).await
    }

    async fn playing(script: Script) -> Self {
        let scene = Scene::set(script).await.expect("the nodes start");
        let jit = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a first payment", HOUR, FEE_LIMIT).await;
        Self::that_sold(scene, jit.expect("the LSP sells"))
    }

    fn that_sold(scene: Scene, jit: JitInvoice) -> Self {
        let before = scene.balances().expect("nothing is under way");
        Self { scene, jit, before, failures: 0 }
    }

    fn pays(&self) {
        self.scene.payer.pay(&self.jit.invoice, AMOUNT.0).expect("a route");
    }

    fn pays_in_parts(&self, parts_msat: &[u64]) {
        self.scene.payer.pay_in_parts(&self.jit.invoice, parts_msat).expect("channels to the LSP");
    }

    /// Forgets the events of earlier payments.
    fn tries_again(&mut self) {
        self.scene.seen.forget();
        self.failures = self.scene.payer.logger().failure_codes().len();
    }

    /// Checks that the payer has the preimage, the wallet the amount less the fee, and that all balances add up.
    async fn is_settled(&self) -> Account {
        self.scene.settle(self.before, self.jit.fee.0).await.unwrap_or_else(|why| panic!("{why}"))
    }

    async fn fails_with(&self, code: FailureCode, why: &str) {
        self.fails_in_parts(1, code, why).await;
    }

    /// Checks that each part failed with this code, and that all balances are as before. The LSP may have paid for a
    /// funding transaction.
    async fn fails_in_parts(&self, parts: usize, code: FailureCode, why: &str) {
        assert!(within(|| self.scene.seen.facts().has_failed).await, "the payer is told");
        let codes = self.scene.payer.logger().failure_codes();
        assert_eq!(codes.get(self.failures..), Some(&vec![code; parts][..]), "{why}");
        let as_before = || {
            let mining = self.scene.mining_msat();
            let totals = |all: Balances| [all.payer, all.lsp, all.wallet].map(|balance| balance.total_msat());
            let [payer, lsp, wallet] = totals(self.scene.balances().ok()?);
            Some(([payer, lsp + mining, wallet], totals(self.before)))
        };
        within(|| as_before().is_some_and(|(after, before)| after == before)).await;
        let (after, before) = as_before().expect("nothing is under way any more");
        assert_eq!(after, before, "everybody has what they had");
    }

    /// Waits until the parts are on record: the answer to a part's event comes after its record is written, and the
    /// node asks for nothing before.
    async fn lsp_holds(&self, parts: usize) {
        assert!(within(|| self.scene.seen.facts().intercepted >= parts).await, "{parts} part(s) arrive");
        assert!(passes(300).await);
        let wallet = &self.scene.wallet.node;
        let channels = wallet.channel_manager().list_channels();
        assert!(channels.iter().all(|channel| channel.pending_inbound_htlcs.is_empty()), "none goes on");
    }

    async fn wallet_leaves(&self) {
        let (lsp, wallet) = (&self.scene.lsp.node, &self.scene.wallet.node);
        wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
        let gone = || lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none();
        assert!(within(gone).await, "the wallet is gone");
    }

    async fn wallet_is_back(&self) {
        let lsp = &self.scene.lsp.node;
        assert!(self.scene.wallet.node.connect(lsp.node_id(), lsp.address()).await, "the wallet is back");
    }

    async fn payer_is_back(&self) {
        let channels = || self.scene.payer.channel_manager().list_usable_channels();
        assert!(within(|| !channels().is_empty()).await, "the payer can use its channel");
    }

    /// Channels from the LSP to the wallet, as the LSP sees them.
    fn channels(&self) -> usize {
        let wallet = self.scene.wallet.node.node_id();
        self.scene.lsp.node.channel_manager().list_channels_with_counterparty(&wallet).len()
    }

    fn spendable_sat(&self) -> u64 {
        use lsps_transport_ldk::ports::OnchainWallet as _;
        self.scene.lsp.node.wallet().spendable_sat()
    }
}
