//! The seed of a node: a BIP 39 phrase, and its form at rest.

use std::fmt;
use std::str::FromStr;

use argon2::Argon2;
use bip39::Mnemonic;
use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use chacha20poly1305::aead::rand_core::RngCore as _;
use chacha20poly1305::aead::{Aead as _, OsRng};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

/// The phrase of a node, from which all its keys follow. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Phrase(Mnemonic);

impl Phrase {
    /// Draws a phrase of twelve words.
    ///
    /// # Panics
    ///
    /// Never: twelve words are a length of BIP 39.
    #[must_use]
    pub fn draw() -> Self {
        Self(Mnemonic::generate(12).expect("twelve words"))
    }

    /// The words, to be written down. Whoever has them has the coins.
    #[must_use]
    pub fn words(&self) -> String {
        self.0.to_string()
    }

    /// The seed of the on-chain wallet, as BIP 39 defines it: other wallets find the coins (BIP 84).
    pub(crate) fn coins(&self) -> [u8; 64] {
        self.0.to_seed_normalized("")
    }

    /// A key for one purpose, independent of the keys for all others.
    pub(crate) fn key(&self, purpose: &str) -> [u8; 32] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.coins());
        engine.input(purpose.as_bytes());
        Hmac::from_engine(engine).to_byte_array()
    }
}

impl FromStr for Phrase {
    type Err = NoPhrase;

    fn from_str(text: &str) -> Result<Self, NoPhrase> {
        text.parse().map(Self).map_err(|why: bip39::Error| NoPhrase(why.to_string()))
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase")
    }
}

/// Error for a text that is no BIP 39 phrase. It does not contain the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no phrase of 12 to 24 words of BIP 39: {0}")]
pub struct NoPhrase(String);

/// A phrase at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sealed {
    /// The words as they are: the file system is the protection.
    Plain(String),
    /// Encrypted with XChaCha20-Poly1305 under a key that Argon2id derives from a passphrase, with the default parameters
    /// of the crate `argon2` 0.5 (19 MiB, two passes, one lane).
    Passphrase {
        /// Salt of the derivation.
        salt: [u8; 16],
        /// Nonce of the encryption.
        nonce: [u8; 24],
        /// Encrypted words, with the tag.
        words: Vec<u8>,
    },
}

/// Reason for which a phrase at rest is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// The phrase is encrypted, and no passphrase was given.
    PassphraseNeeded,
    /// The passphrase is wrong, or the record is damaged; the two cannot be told apart.
    Wrong,
    /// A passphrase was given for a phrase that is not encrypted.
    NotEncrypted,
}

impl Sealed {
    pub fn seal(phrase: &Phrase, passphrase: Option<&str>) -> Self {
        let Some(passphrase) = passphrase else { return Self::Plain(phrase.words()) };
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        OsRng.fill_bytes(&mut salt);
        OsRng.fill_bytes(&mut nonce);
        let words = cipher(passphrase, &salt).encrypt(XNonce::from_slice(&nonce), phrase.words().as_bytes());
        Self::Passphrase { salt, nonce, words: words.expect("a phrase is short enough to encrypt") }
    }

    pub fn open(&self, passphrase: Option<&str>) -> Result<Phrase, Locked> {
        let words = match (self, passphrase) {
            (Self::Plain(words), None) => words.clone(),
            (Self::Plain(_), Some(_)) => return Err(Locked::NotEncrypted),
            (Self::Passphrase { .. }, None) => return Err(Locked::PassphraseNeeded),
            (Self::Passphrase { salt, nonce, words }, Some(passphrase)) => {
                let opened = cipher(passphrase, salt).decrypt(XNonce::from_slice(nonce), &words[..]);
                String::from_utf8(opened.map_err(|_| Locked::Wrong)?).map_err(|_| Locked::Wrong)?
            }
        };
        words.parse().map_err(|_| Locked::Wrong)
    }
}

fn cipher(passphrase: &str, salt: &[u8; 16]) -> XChaCha20Poly1305 {
    let mut key = [0; 32];
    let derived = Argon2::default().hash_password_into(passphrase.as_bytes(), salt, &mut key);
    derived.expect("a salt of 16 bytes and a key of 32 suit Argon2");
    XChaCha20Poly1305::new(&key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_phrase_opens_with_its_passphrase_only_and_shows_no_word() {
        let phrase = Phrase::draw();
        let sealed = Sealed::seal(&phrase, Some("correct horse"));
        let text = serde_json::to_string(&sealed).expect("JSON") + &format!("{sealed:?} {phrase:?}");
        let words = phrase.words();
        let two = words.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(!text.contains(&two), "{text}");
        assert_eq!(sealed.open(Some("correct horse")), Ok(phrase.clone()));
        assert_eq!(sealed.open(Some("correct horsf")), Err(Locked::Wrong));
        assert_eq!(sealed.open(None), Err(Locked::PassphraseNeeded));
        let plain = Sealed::seal(&phrase, None);
        assert_eq!((plain.open(None), plain.open(Some("x"))), (Ok(phrase), Err(Locked::NotEncrypted)));
    }

    #[test]
    fn keys_follow_from_the_phrase_and_differ_by_purpose() {
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        let (one, same): (Phrase, Phrase) = (words.parse().expect("valid"), words.parse().expect("valid"));
        assert_eq!(one.key("a"), same.key("a"));
        assert_ne!(one.key("a"), one.key("b"));
        assert_ne!(one.key("a"), Phrase::draw().key("a"));
        assert!("abandon abandon".parse::<Phrase>().is_err());
    }
}
