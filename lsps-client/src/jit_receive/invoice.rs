//! Terms of the invoice for a purchase.

use core::time::Duration;

use lsps_types::{
    Blocks, Msat, PeerId, Ppm, Scid, Timestamp,
    lsps2::{Bought, Buy},
};
use serde::{Deserialize, Serialize};

use super::{AcceptTrust, Promised, Rules, Terms};

/// The wallet's parameters of the invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvoiceParams {
    /// Final CLTV expiry delta that the node asks for in ordinary invoices.
    pub normal_min_final_cltv_expiry_delta: u16,
    /// Confirmations of the funding transaction to wait for before the payment is claimed.
    pub confirmations_to_wait: u16,
    /// Time for which the invoice is to be valid; if `None`, as long as the purchase and [`Rules::longest_invoice`]
    /// allow.
    pub expiry: Option<Duration>,
    /// Largest share that may be kept of a payment whose amount the payer chooses. A payment of which the fee is a
    /// larger share is failed. Payments of a known amount were checked against the limits when the terms were chosen.
    pub max_proportional_fee: Option<Ppm>,
}

/// Terms that the invoice has to contain.
///
/// Spec: LSPS2 §2 "Invoice". If the terms do not travel in a BOLT 11 invoice, all of them must reach the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    /// The only route hint.
    pub hint: RouteHint,
    /// Amount; `None` leaves it to the payer.
    pub amount: Option<Msat>,
    /// Final CLTV expiry delta to ask for.
    pub min_final_cltv_expiry_delta: u16,
    /// Time of the invoice, in whole seconds, from which its expiry counts.
    pub timestamp: Timestamp,
    /// Expiry in seconds from `timestamp`, never past the end of the purchase.
    pub expiry_secs: u64,
    /// Whether the payer may split the payment (`basic_mpp`).
    pub basic_mpp: bool,
}

/// The only hop of the only route hint. Its fees are zero: the opening fee is kept of the forwarded amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHint {
    /// The LSP.
    pub node_id: PeerId,
    /// SCID that makes the LSP open the channel.
    pub scid: Scid,
    /// CLTV expiry delta of the LSP.
    pub cltv_expiry_delta: u16,
}

impl RouteHint {
    /// Base fee of the hop.
    pub const FEE_BASE: Msat = Msat::ZERO;
    /// Proportional fee of the hop.
    pub const FEE_PROPORTIONAL_MILLIONTHS: u32 = 0;
}

/// A purchase that passed the checks, to be registered under the payment hash of its invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Terms of the invoice.
    pub invoice: InvoiceTerms,
    pub(crate) lsp: PeerId,
    pub(crate) terms: Terms,
}

/// Checks the reply of `lsp` to `buy`, before an invoice is made.
///
/// # Errors
///
/// [`CannotInvoice`]: do not use the purchase; it costs nothing.
pub fn prepare(
    lsp: PeerId,
    buy: &Buy,
    bought: &Bought,
    params: &InvoiceParams,
    rules: &Rules,
    now: Timestamp,
) -> Result<Prepared, CannotInvoice> {
    let offered = &buy.opening_fee_params;
    if bought.client_trusts_lsp {
        match rules.accept_trust {
            AcceptTrust::Never => return Err(CannotInvoice::TrustRefused),
            AcceptTrust::Yes if params.confirmations_to_wait > 0 => {
                return Err(CannotInvoice::CannotWaitWhenClientTrustsLsp);
            }
            AcceptTrust::Yes => {}
        }
    }
    let (delta, max) = (bought.lsp_cltv_expiry_delta, rules.max_lsp_cltv_expiry_delta);
    if delta > max {
        return Err(CannotInvoice::CltvDeltaTooLarge { delta, max });
    }
    let promised = Promised::by(offered, buy.payment_size_msat).ok_or(CannotInvoice::FeeOverflow)?;
    let valid_until = offered.valid_until.instant();
    // A payment of any amount is checked when it arrives.
    if let (Some(size), Promised::Fee(fee)) = (buy.payment_size_msat, promised) {
        let net = size.checked_sub(fee).filter(|net| *net >= rules.least_net);
        net.ok_or(CannotInvoice::LeavesTooLittle { fee, least: rules.least_net })?;
    }
    let params = InvoiceParams { expiry: params.expiry.or(Some(rules.longest_invoice)), ..*params };
    let params = &params;
    let invoice = InvoiceTerms {
        hint: RouteHint { node_id: lsp, scid: bought.jit_channel_scid, cltv_expiry_delta: delta },
        amount: buy.payment_size_msat,
        min_final_cltv_expiry_delta: final_delta(params).ok_or(CannotInvoice::FinalDeltaTooLarge)?,
        timestamp: Timestamp::from_unix_millis(whole_secs(now) * 1_000),
        expiry_secs: expiry_secs(valid_until, params, now).ok_or(CannotInvoice::Expired)?,
        basic_mpp: buy.payment_size_msat.is_some(),
    };
    // A purchase ends with its invoice, even if the LSP's terms are valid for longer.
    let ends = invoice.timestamp + Duration::from_secs(invoice.expiry_secs);
    let open_until = ends.min(valid_until) + rules.late_channel;
    let terms = Terms {
        scid: bought.jit_channel_scid,
        amount: buy.payment_size_msat,
        promised,
        max_proportional_fee: params.max_proportional_fee.filter(|_| buy.payment_size_msat.is_none()),
        least_net: rules.least_net,
        valid_until,
        open_until,
        keep_until: open_until + rules.keep,
        min_lifetime: Blocks(offered.min_lifetime),
        max_to_self_delay: Blocks(offered.max_client_to_self_delay),
        client_trusts_lsp: bought.client_trusts_lsp,
        confirmations_to_wait: params.confirmations_to_wait,
    };
    Ok(Prepared { invoice, lsp, terms })
}

/// The final CLTV expiry delta: the normal one, two blocks for the opening, and the confirmations that the wallet waits
/// for.
fn final_delta(params: &InvoiceParams) -> Option<u16> {
    params.normal_min_final_cltv_expiry_delta.checked_add(OPENING_BLOCKS)?.checked_add(params.confirmations_to_wait)
}

/// Seconds until `valid_until`, or fewer if requested; `None` if none are left. Fractions are cut, never rounded up.
fn expiry_secs(valid_until: Timestamp, params: &InvoiceParams, now: Timestamp) -> Option<u64> {
    let left = whole_secs(valid_until).checked_sub(whole_secs(now)).filter(|secs| *secs > 0 && now < valid_until)?;
    Some(params.expiry.map_or(left, |wanted| wanted.as_secs().min(left)))
}

fn whole_secs(instant: Timestamp) -> u64 {
    instant.unix_millis() / 1_000
}

/// Reason for which no invoice can be made for a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotInvoice {
    /// The terms have expired.
    #[error("the offer has expired")]
    Expired,
    /// The LSP wants the preimage before it publishes the funding transaction, and the wallet's rules forbid that.
    #[error("the LSP asks to be trusted with the first payment")]
    TrustRefused,
    /// The LSP wants to be trusted, which requires an immediate claim, but the wallet waits for confirmations.
    #[error("the LSP asks to be trusted, so confirmations cannot be waited for")]
    CannotWaitWhenClientTrustsLsp,
    /// The LSP's CLTV expiry delta would lock the payer's money for too long.
    #[error("the LSP asks for a CLTV delta of {delta} blocks, at most {max} are accepted")]
    CltvDeltaTooLarge {
        /// Requested delta.
        delta: u16,
        /// Largest accepted delta.
        max: u16,
    },
    /// The final CLTV expiry delta overflows its field.
    #[error("too many confirmations to wait for")]
    FinalDeltaTooLarge,
    /// The fee overflows 64 bits.
    #[error("the opening fee is absurd")]
    FeeOverflow,
    /// The fee leaves less of the payment than [`Rules::least_net`].
    #[error("an opening fee of {fee} leaves less than {least} of the payment")]
    LeavesTooLittle {
        /// Opening fee.
        fee: Msat,
        /// Least amount that has to be left.
        least: Msat,
    },
}

/// Blocks in which the LSP opens the channel while it holds the HTLC.
const OPENING_BLOCKS: u16 = 2;
