//! A wallet whose application decides whether and when the payment is claimed or failed.

use bitcoin::hashes::{Hash, sha256};
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lsps_node::node::within;
use lsps_testing::scene::{Scene, Script};

use crate::{AMOUNT, FEE_LIMIT, HOUR, World};

impl World {
    pub async fn on_hold(script: Script) -> Self {
        let scene = Scene::set(script).await.expect("the nodes start");
        let (wallet, hash) = (&scene.wallet.host, lsps_transport_ldk::PaymentHash(hash().0));
        let jit = wallet.receive_via_jit_channel_for_hash(hash, AMOUNT, "on hold", HOUR, FEE_LIMIT).await;
        let jit = jit.expect("the LSP sells");
        Self::that_sold(scene, jit)
    }

    pub async fn wallet_is_asked_to_claim(&self) {
        let asked = || self.scene.seen.facts().unconfirmed_at_claim.is_some();
        assert!(within(asked).await, "the application is asked to claim");
        assert!(self.scene.seen.facts().received.is_none(), "nobody else does");
    }

    pub fn wallet_claims(&self) {
        self.scene.wallet.node.channel_manager().claim_funds(PaymentPreimage(PREIMAGE));
    }
}

pub fn hash() -> PaymentHash {
    PaymentHash(sha256::Hash::hash(&PREIMAGE).to_byte_array())
}

pub const PREIMAGE: [u8; 32] = [42; 32];
