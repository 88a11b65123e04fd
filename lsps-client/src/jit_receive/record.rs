//! A purchase as bytes: a version, then its fields.

use alloc::vec::Vec;

use lsps_types::PaymentHash;

use super::Purchase;

/// The bytes to keep of a purchase.
pub(crate) fn write(purchase: &Purchase) -> Vec<u8> {
    let start = Vec::from([VERSION]);
    postcard::to_extend(purchase, start).expect("a purchase is integers, bytes and enums, which always serialise")
}

/// Reads what [`write`] wrote under the name of `payment_hash`.
pub(crate) fn read(payment_hash: PaymentHash, bytes: &[u8]) -> Result<Purchase, Unreadable> {
    let (version, fields) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    if *version != VERSION {
        return Err(Unreadable::Version(*version));
    }
    let (purchase, rest) = postcard::take_from_bytes::<Purchase>(fields).map_err(|_| Unreadable::Damaged)?;
    if !rest.is_empty() || purchase.payment_hash != payment_hash {
        return Err(Unreadable::Damaged);
    }
    Ok(purchase)
}

/// Why a record was not loaded. It is left in the store as it is, and the others are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Written by a version of this crate that knows more.
    #[error("record version {0} is not known")]
    Version(u8),
    /// Not what was written, or not under its own name.
    #[error("damaged record")]
    Damaged,
    /// A purchase of that payment hash is loaded already.
    #[error("loaded twice")]
    Twice,
}

const VERSION: u8 = 1;
