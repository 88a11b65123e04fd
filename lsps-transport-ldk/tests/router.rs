//! Limit on how long a payment of an offer may stay locked.
#![allow(non_snake_case)]

use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, Signing, Verification};
use lightning::blinded_path::payment::{
    BlindedPaymentPath, Bolt12RefundContext, PaymentConstraints, PaymentContext, ReceiveTlvs,
    UnauthenticatedReceiveTlvs,
};
use lightning::ln::channel_state::ChannelDetails;
use lightning::offers::nonce::Nonce;
use lightning::routing::router::{
    BlindedTail, InFlightHtlcs, Path, Payee, PaymentParameters, Route, RouteHop, RouteParameters, Router,
};
use lightning::sign::{KeysManager, NodeSigner as _};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::PaymentSecret;
use lsps_transport_ldk::OrderRouter;

/// A router that knows one route: the LSP's node, by its node ID, as LDK finds it.
struct Straight;

impl Router for Straight {
    fn find_route(
        &self,
        _: &PublicKey,
        params: &RouteParameters,
        _: Option<&[&ChannelDetails]>,
        _: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        let Payee::Blinded { route_hints, .. } = &params.payment_params.payee else {
            return Err("by an invoice of BOLT 12");
        };
        let hint = route_hints.first().ok_or("a path")?;
        let hop = RouteHop {
            pubkey: lsp(),
            node_features: NodeFeatures::empty(),
            short_channel_id: 1,
            channel_features: ChannelFeatures::empty(),
            fee_msat: params.final_value_msat,
            cltv_expiry_delta: 0,
            maybe_announced_channel: false,
        };
        let tail = BlindedTail {
            trampoline_hops: vec![],
            hops: hint.blinded_hops().to_vec(),
            blinding_point: hint.blinding_point(),
            excess_final_cltv_expiry_delta: 0,
            final_value_msat: params.final_value_msat,
        };
        let paths = vec![Path { hops: vec![hop], blinded_tail: Some(tail) }];
        Ok(Route { paths, route_params: Some(params.clone()) })
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        _: PublicKey,
        _: Vec<ChannelDetails>,
        _: ReceiveTlvs,
        _: Option<u64>,
        _: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        Err(())
    }
}

fn lsp() -> PublicKey {
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[7; 32]).expect("a key"))
}

fn keys() -> KeysManager {
    KeysManager::new(&[7; 32], 0, 0, true)
}

/// Finds a route to an LSP whose invoice lets it hold the payment this long, for a wallet that allows `most` blocks in
/// all.
fn route_to_an_lsp_that_holds(held_for: Duration, most: u32) -> Result<Route, &'static str> {
    let (keys, secp) = (keys(), Secp256k1::new());
    let payee = UnauthenticatedReceiveTlvs {
        payment_secret: PaymentSecret([1; 32]),
        payment_constraints: PaymentConstraints { max_cltv_expiry: u32::MAX, htlc_minimum_msat: 1 },
        payment_context: PaymentContext::Bolt12Refund(Bolt12RefundContext {}),
    };
    let tlvs = payee.authenticate(Nonce::from_entropy_source(&keys), &keys.get_expanded_key());
    let lsp_router = OrderRouter::new(&Straight, &keys, held_for);
    let paths = lsp_router.create_blinded_payment_paths(lsp(), vec![], tlvs, None, &secp).expect("a path");
    let params = PaymentParameters::blinded(paths).with_max_total_cltv_expiry_delta(most);
    let params = RouteParameters::from_payment_params_and_value(params, 1_000_000);
    let wallet_router = OrderRouter::new(&Straight, &keys, Duration::from_secs(3_600));
    let payer = PublicKey::from_secret_key(&secp, &SecretKey::from_slice(&[8; 32]).expect("a key"));
    wallet_router.find_route(&payer, &params, None, InFlightHtlcs::new())
}

#[test]
fn case_X31_an_lsp_cannot_lock_a_payment_for_longer_than_the_wallet_allows() {
    let an_hour = route_to_an_lsp_that_holds(Duration::from_secs(3_600), 1_008).expect("as an LSP of ours asks for");
    let blocks = an_hour.paths[0].hops[0].cltv_expiry_delta;
    assert!((12..1_008).contains(&blocks), "{blocks} blocks, as the invoice asks for");
    assert!(route_to_an_lsp_that_holds(Duration::from_secs(3_600), blocks).is_ok(), "exactly what is allowed");
    assert!(route_to_an_lsp_that_holds(Duration::from_secs(3_600), blocks - 1).is_err(), "one block too many");
    // The invoice asks for 65 535 blocks, that is, 455 days.
    let refused = route_to_an_lsp_that_holds(Duration::from_secs(u64::from(u32::MAX)), 1_008);
    assert!(refused.is_err_and(|why| why.contains("max_total_cltv_expiry_delta")));
}
