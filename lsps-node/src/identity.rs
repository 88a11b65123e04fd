//! The record that says whose data a store has: network and phrase of the node.

use bitcoin::{Network, io};
use serde::{Deserialize, Serialize};

use crate::builder::StartError;
use crate::seed::{Locked, Phrase, Sealed};
use crate::store::Store;

/// Whose data a store has.
pub(crate) struct Identity {
    pub phrase: Phrase,
    pub origin: Origin,
    /// Height from which the chain is searched for coins. `None`: the node was new then, and had none.
    pub birthday: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    layout: u32,
    network: Network,
    phrase: Sealed,
    birthday: Option<u32>,
}

/// Whether a node is new in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The phrase was drawn for a new node.
    New,
    /// The phrase was given, and the store was empty. Coins on the chain are found again. Channels and their balances are
    /// not: their state was in the lost store only.
    FromPhrase,
    /// The store had the node.
    Stored,
}

/// The phrase of the node in this store: the one on record, or a given or new one that is put on record.
pub(crate) fn find(
    store: &Store,
    network: Network,
    given: Option<Phrase>,
    passphrase: Option<&str>,
    birthday: u32,
) -> Result<Identity, StartError> {
    let bytes = match store.read(NAMESPACE, "", KEY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (origin, birthday) = match given {
                Some(_) => (Origin::FromPhrase, Some(birthday)),
                None => (Origin::New, None),
            };
            let phrase = given.unwrap_or_else(Phrase::draw);
            let record = Record { layout: LAYOUT, network, phrase: Sealed::seal(&phrase, passphrase), birthday };
            let bytes = serde_json::to_vec(&record).map_err(|why| StartError::Damaged(why.to_string()))?;
            store.write(NAMESPACE, "", KEY, bytes)?;
            return Ok(Identity { phrase, origin, birthday });
        }
        read => read?,
    };
    let stored: Record = serde_json::from_slice(&bytes).map_err(|why| StartError::Damaged(why.to_string()))?;
    if stored.layout > LAYOUT {
        return Err(StartError::Damaged(format!(
            "layout {} is of a later release, this one reads {LAYOUT}",
            stored.layout
        )));
    }
    if stored.network != network {
        return Err(StartError::WrongNetwork { stored: stored.network, asked: network });
    }
    let phrase = stored.phrase.open(passphrase).map_err(|why| match why {
        Locked::PassphraseNeeded => StartError::PassphraseNeeded,
        Locked::Wrong => StartError::WrongPassphrase,
        Locked::NotEncrypted => StartError::NotEncrypted,
    })?;
    match given {
        Some(given) if given != phrase => Err(StartError::AnotherNode),
        _ => Ok(Identity { phrase, origin: Origin::Stored, birthday: stored.birthday }),
    }
}

const NAMESPACE: &str = "node";
const KEY: &str = "identity";
const LAYOUT: u32 = 1;
