//! What to write into the invoice of a purchase.

use core::time::Duration;

use lsps_types::{
    Blocks, Msat, PeerId, Ppm, Scid, Timestamp,
    lsps2::{Bought, Buy},
};
use serde::{Deserialize, Serialize};

use super::{AcceptTrust, Promised, Rules, Terms};

/// What the wallet wants of its invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The final CLTV delta that the node asks for in ordinary invoices.
    pub normal_min_final_cltv_expiry_delta: u16,
    /// Confirmations of the funding transaction to wait for before the payment is claimed.
    pub confirmations_to_wait: u16,
    /// How long the invoice should stand; if `None`, as long as the purchase and [`Rules::longest_invoice`] allow.
    pub expiry: Option<Duration>,
    /// The largest share that may be kept of a payment whose size the payer chooses. A smaller payment whose fee is a
    /// larger share goes back. Payments of a known size were held to the limits when the terms were chosen.
    pub max_proportional_fee: Option<Ppm>,
}

/// What to write into the invoice.
///
/// Spec: LSPS2 §2 "Invoice". Should the terms travel by another way than BOLT 11, all of them must reach the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    /// The one route hint.
    pub hint: RouteHint,
    /// The amount; none leaves it to the payer.
    pub amount: Option<Msat>,
    /// Final CLTV delta to ask for.
    pub min_final_cltv_expiry_delta: u16,
    /// When the invoice was made, in whole seconds. The expiry counts from here.
    pub timestamp: Timestamp,
    /// Seconds from `timestamp` for which it stands: never past the end of the purchase.
    pub expiry_secs: u64,
    /// Whether the payer may split the payment (`basic_mpp`).
    pub basic_mpp: bool,
}

/// The only hop of the only route hint. Its fees are zero: the opening fee is kept another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHint {
    /// The LSP.
    pub node_id: PeerId,
    /// The SCID that makes the LSP open the channel.
    pub scid: Scid,
    /// The LSP's CLTV delta.
    pub cltv_expiry_delta: u16,
}

impl RouteHint {
    /// Base fee of the hop.
    pub const FEE_BASE: Msat = Msat::ZERO;
    /// Proportional fee of the hop.
    pub const FEE_PROPORTIONAL_MILLIONTHS: u32 = 0;
}

/// A purchase that was weighed and found good, ready to be registered under the payment hash of its invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// What to write into the invoice.
    pub invoice: InvoiceTerms,
    pub(crate) lsp: PeerId,
    pub(crate) terms: Terms,
}

/// Weighs what `lsp` answered to `buy`, before any invoice exists.
///
/// # Errors
///
/// [`CannotInvoice`]: the purchase is to be left alone; it costs nothing.
pub fn prepare(
    lsp: PeerId,
    buy: &Buy,
    bought: &Bought,
    wish: &Wish,
    rules: &Rules,
    now: Timestamp,
) -> Result<Prepared, CannotInvoice> {
    let params = &buy.opening_fee_params;
    if bought.client_trusts_lsp {
        match rules.accept_trust {
            AcceptTrust::Never => return Err(CannotInvoice::TrustRefused),
            AcceptTrust::Yes if wish.confirmations_to_wait > 0 => {
                return Err(CannotInvoice::CannotWaitWhenClientTrustsLsp);
            }
            AcceptTrust::Yes => {}
        }
    }
    let (delta, max) = (bought.lsp_cltv_expiry_delta, rules.max_lsp_cltv_expiry_delta);
    if delta > max {
        return Err(CannotInvoice::CltvDeltaTooLarge { delta, max });
    }
    let promised = Promised::by(params, buy.payment_size_msat).ok_or(CannotInvoice::FeeOverflow)?;
    let valid_until = params.valid_until.instant();
    // Of a payment of any size it is judged when that comes.
    if let (Some(size), Promised::Fee(fee)) = (buy.payment_size_msat, promised) {
        let net = size.checked_sub(fee).filter(|net| *net >= rules.least_net);
        net.ok_or(CannotInvoice::LeavesTooLittle { fee, least: rules.least_net })?;
    }
    let wish = Wish { expiry: wish.expiry.or(Some(rules.longest_invoice)), ..*wish };
    let wish = &wish;
    let invoice = InvoiceTerms {
        hint: RouteHint { node_id: lsp, scid: bought.jit_channel_scid, cltv_expiry_delta: delta },
        amount: buy.payment_size_msat,
        min_final_cltv_expiry_delta: final_delta(wish).ok_or(CannotInvoice::FinalDeltaTooLarge)?,
        timestamp: Timestamp::from_unix_millis(whole_secs(now) * 1_000),
        expiry_secs: expiry_secs(valid_until, wish, now).ok_or(CannotInvoice::Expired)?,
        basic_mpp: buy.payment_size_msat.is_some(),
    };
    // A purchase ends with its invoice, however long the LSP says that its terms are valid.
    let ends = invoice.timestamp + Duration::from_secs(invoice.expiry_secs);
    let open_until = ends.min(valid_until) + rules.late_channel;
    let terms = Terms {
        scid: bought.jit_channel_scid,
        amount: buy.payment_size_msat,
        promised,
        max_proportional_fee: wish.max_proportional_fee.filter(|_| buy.payment_size_msat.is_none()),
        least_net: rules.least_net,
        valid_until,
        open_until,
        keep_until: open_until + rules.keep,
        min_lifetime: Blocks(params.min_lifetime),
        max_to_self_delay: Blocks(params.max_client_to_self_delay),
        client_trusts_lsp: bought.client_trusts_lsp,
        confirmations_to_wait: wish.confirmations_to_wait,
    };
    Ok(Prepared { invoice, lsp, terms })
}

/// Two blocks for the opening, and those that the wallet itself waits for.
fn final_delta(wish: &Wish) -> Option<u16> {
    wish.normal_min_final_cltv_expiry_delta.checked_add(OPENING_BLOCKS)?.checked_add(wish.confirmations_to_wait)
}

/// Seconds until `valid_until`, or fewer if so wished; `None` if nothing is left. Fractions are cut, never rounded up.
fn expiry_secs(valid_until: Timestamp, wish: &Wish, now: Timestamp) -> Option<u64> {
    let left = whole_secs(valid_until).checked_sub(whole_secs(now)).filter(|secs| *secs > 0 && now < valid_until)?;
    Some(wish.expiry.map_or(left, |wanted| wanted.as_secs().min(left)))
}

fn whole_secs(instant: Timestamp) -> u64 {
    instant.unix_millis() / 1_000
}

/// Why no invoice can be made of a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotInvoice {
    /// The terms ran out.
    #[error("the offer has expired")]
    Expired,
    /// The LSP wants the preimage before the funding transaction is published, and our rules say no.
    #[error("the LSP asks to be trusted with the first payment")]
    TrustRefused,
    /// Whoever trusts the LSP must claim at once.
    #[error("the LSP asks to be trusted, so confirmations cannot be waited for")]
    CannotWaitWhenClientTrustsLsp,
    /// The LSP's hop would lock the payer's money for too long.
    #[error("the LSP asks for a CLTV delta of {delta} blocks, at most {max} are accepted")]
    CltvDeltaTooLarge {
        /// Asked for.
        delta: u16,
        /// Ours.
        max: u16,
    },
    /// The final CLTV delta does not fit its field.
    #[error("too many confirmations to wait for")]
    FinalDeltaTooLarge,
    /// The fee cannot be computed in 64 bits.
    #[error("the opening fee is absurd")]
    FeeOverflow,
    /// Less would be left of the payment than [`Rules::least_net`].
    #[error("an opening fee of {fee} leaves less than {least} of the payment")]
    LeavesTooLittle {
        /// The opening fee.
        fee: Msat,
        /// The least that has to be left.
        least: Msat,
    },
}

/// The LSP opens the channel while the HTLC ticks.
const OPENING_BLOCKS: u16 = 2;
