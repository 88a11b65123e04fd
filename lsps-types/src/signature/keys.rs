//! Signature operations that need secp256k1.

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey};

use super::{LnSignature, digest};
use crate::units::{ConnectionString, PeerId};

impl LnSignature {
    /// Signs with a key in memory; deterministic (RFC 6979), with a low `s`.
    #[must_use]
    pub fn sign(message: &[u8], key: &SecretKey) -> Self {
        let hash = Message::from_digest(digest(message));
        let (id, compact) = Secp256k1::signing_only().sign_ecdsa_recoverable(&hash, key).serialize_compact();
        let mut bytes = [0; super::LENGTH];
        let (first, rest) = bytes.split_at_mut(1);
        // The recovery id is 0 to 3.
        first.fill(u8::try_from(id.to_i32()).unwrap_or_default().saturating_add(FIRST));
        rest.copy_from_slice(&compact);
        Self(bytes)
    }

    /// Recovers the node id that signed `message`; `None` if the signature is invalid.
    #[must_use]
    pub fn signer(&self, message: &[u8]) -> Option<PeerId> {
        let (first, compact) = self.0.split_first()?;
        let id = RecoveryId::from_i32(i32::from(first.checked_sub(FIRST)?)).ok()?;
        let signature = RecoverableSignature::from_compact(compact, id).ok()?;
        let key =
            Secp256k1::verification_only().recover_ecdsa(&Message::from_digest(digest(message)), &signature).ok()?;
        Some(PeerId(key.serialize()))
    }
}

impl PeerId {
    /// Whether the node id is a point on the curve. Spec: LSPS0 "Pubkey" asks readers to check.
    #[must_use]
    pub fn is_on_curve(&self) -> bool {
        PublicKey::from_slice(&self.0).is_ok()
    }
}

impl From<PublicKey> for PeerId {
    fn from(key: PublicKey) -> Self {
        Self(key.serialize())
    }
}

impl From<&PublicKey> for PeerId {
    fn from(key: &PublicKey) -> Self {
        Self(key.serialize())
    }
}

/// Fails where the bytes are no point on the curve.
impl TryFrom<PeerId> for PublicKey {
    type Error = secp256k1::Error;

    fn try_from(id: PeerId) -> Result<Self, Self::Error> {
        Self::from_slice(&id.0)
    }
}

impl ConnectionString {
    /// Whether the node id is a point on the curve.
    #[must_use]
    pub fn is_on_curve(&self) -> bool {
        self.node_id.is_on_curve()
    }
}

/// Offset of the recovery id in the first byte, for a compressed key.
const FIRST: u8 = 31;
