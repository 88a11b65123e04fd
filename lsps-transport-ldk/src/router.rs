//! A router that adds what payments of orders by offer need: a path of one hop to the LSP, and blocks to be held.

use std::ops::Deref;
use std::time::Duration;

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::payment::{BlindedPaymentPath, ReceiveTlvs};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{MIN_FINAL_CLTV_EXPIRY_DELTA, PaymentId};
use lightning::routing::router::{BlindedTail, InFlightHtlcs, Payee, Route, RouteParameters, Router};
use lightning::sign::EntropySource;
use lightning::types::payment::PaymentHash;

/// The router of a node that pays for orders by BOLT 12 offer, or is paid that way
/// ([`OrderPolicy::bolt12`](lsps_service::OrderPolicy)).
///
/// A channel is opened before the payment for it is claimed. That takes blocks, and LDK leaves next to none to payments
/// for offers: an LSP cannot hold most of them, and they fail.
///
/// - The LSP's invoices ask for as many blocks as those of orders that are paid by invoice. Their only path is a blinded
///   path of one hop, which shows the node id, as that is no secret of an LSP: payments arrive over its channels with the
///   payer, or over public ones.
/// - The wallet adds these blocks to its route, as LDK 0.2 ignores them in a blinded path of one hop. No HTLC is locked for
///   longer than the payment allows ([`PaymentParameters::max_total_cltv_expiry_delta`], 1008 blocks unless the payer
///   sets it): an invoice that asks for more is not paid.
///
/// [`PaymentParameters::max_total_cltv_expiry_delta`]:
/// lightning::routing::router::PaymentParameters::max_total_cltv_expiry_delta
pub struct OrderRouter<R, E> {
    routes: R,
    entropy: E,
    final_cltv: u16,
}

impl<R, E> OrderRouter<R, E> {
    /// Creates a router on top of `routes`. `held_for` is the time for which an LSP may hold payments of orders:
    /// [`OrderPolicy::lightning_validity`](lsps_service::OrderPolicy).
    pub fn new(routes: R, entropy: E, held_for: Duration) -> Self {
        let blocks = held_for.as_secs().div_ceil(FASTEST_BLOCK.as_secs());
        let held = u16::try_from(blocks).unwrap_or(u16::MAX).saturating_add(MARGIN);
        Self { routes, entropy, final_cltv: held.saturating_add(MIN_FINAL_CLTV_EXPIRY_DELTA) }
    }
}

impl<R, E> Router for OrderRouter<R, E>
where
    R: Deref<Target: Router>,
    E: Deref<Target: EntropySource>,
{
    fn find_route(
        &self,
        payer: &PublicKey,
        route_params: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        inflight_htlcs: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        let route = self.routes.find_route(payer, route_params, first_hops, inflight_htlcs)?;
        leaving_what_is_asked_for(route, route_params)
    }

    fn find_route_with_id(
        &self,
        payer: &PublicKey,
        route_params: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        inflight_htlcs: InFlightHtlcs,
        payment_hash: PaymentHash,
        payment_id: PaymentId,
    ) -> Result<Route, &'static str> {
        let routes = &self.routes;
        let route =
            routes.find_route_with_id(payer, route_params, first_hops, inflight_htlcs, payment_hash, payment_id)?;
        leaving_what_is_asked_for(route, route_params)
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        recipient: PublicKey,
        _: Vec<ChannelDetails>,
        tlvs: ReceiveTlvs,
        _: Option<u64>,
        secp_ctx: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        BlindedPaymentPath::one_hop(recipient, tlvs, self.final_cltv, &*self.entropy, secp_ctx).map(|path| vec![path])
    }
}

fn leaving_what_is_asked_for(mut route: Route, route_params: &RouteParameters) -> Result<Route, &'static str> {
    let Payee::Blinded { route_hints, .. } = &route_params.payment_params.payee else { return Ok(route) };
    let asked_for = |tail: &BlindedTail| {
        let hint = route_hints.iter().find(|hint| hint.blinding_point() == tail.blinding_point)?;
        (hint.blinded_hops().len() == 1).then_some(hint.payinfo.cltv_expiry_delta)
    };
    for path in &mut route.paths {
        let (Some(tail), Some(last)) = (path.blinded_tail.as_mut(), path.hops.last_mut()) else { continue };
        let blocks = asked_for(tail).map_or(0, u32::from);
        // The number of blocks in the onion of the last hop, and in its HTLC.
        for delta in [&mut tail.excess_final_cltv_expiry_delta, &mut last.cltv_expiry_delta] {
            *delta = delta.saturating_add(blocks);
        }
        // The router found the route without these blocks, and an LSP can write any number into its invoice.
        let locked = path.hops.iter().fold(0, |sum: u32, hop| sum.saturating_add(hop.cltv_expiry_delta));
        if locked > route_params.payment_params.max_total_cltv_expiry_delta {
            return Err(
                "the invoice asks for an HTLC that is locked for longer than `max_total_cltv_expiry_delta` allows",
            );
        }
    }
    Ok(route)
}

/// Shortest average time between blocks, as the service assumes it for hold invoices.
const FASTEST_BLOCK: Duration = Duration::from_secs(300);
const MARGIN: u16 = 100;
