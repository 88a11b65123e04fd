//! Payer, LSP and a wallet without channels: real LDK nodes over loopback TCP.
#![allow(non_snake_case)]

mod dishonest;
mod failures;
mod flows;
mod restarts;
mod wallet;

use std::time::Duration;

use lsps_examples::Scene;
use lsps_examples::node::within;
use lsps_examples::scene::{Account, Balances, Script};
use lsps_service::Trust;
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_transport_ldk::{Msat, Ppm};

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const SHARE_LIMIT: Ppm = Ppm(50_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// A scene on which the wallet has bought a channel.
struct World {
    scene: Scene,
    jit: JitInvoice,
    before: Balances,
}

impl World {
    async fn with(trust: Trust) -> Self {
        Self::playing(Script { trust, ..Script::default() }).await
    }

    async fn playing(script: Script) -> Self {
        let scene = Scene::set(script).await.expect("the nodes start");
        let before = scene.balances().expect("nothing is under way");
        let jit = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a first payment", HOUR, FEE_LIMIT).await;
        Self { scene, jit: jit.expect("the LSP sells"), before }
    }

    fn pays(&self) {
        self.scene.payer.pay(&self.jit.invoice, AMOUNT.0).expect("a route");
    }

    /// The payer has the preimage, the wallet all but the fee, and all of it adds up.
    async fn is_settled(&self) -> Account {
        self.scene.settle(self.before, self.jit.fee.0).await.unwrap_or_else(|why| panic!("{why}"))
    }

    async fn wallet_leaves(&self) {
        let (lsp, wallet) = (&self.scene.lsp.node, &self.scene.wallet.node);
        wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
        let gone = || lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none();
        assert!(within(gone).await, "the wallet is gone");
    }

    async fn payer_is_back(&self) {
        let channels = || self.scene.payer.channel_manager().list_usable_channels();
        assert!(within(|| !channels().is_empty()).await, "the payer can use its channel");
    }
}
