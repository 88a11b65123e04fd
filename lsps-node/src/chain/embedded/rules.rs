//! Rules for transactions in the next block.

use std::collections::HashSet;

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, OutPoint, Transaction, TxIn, Txid, consensus, relative};

use super::ledger::{Coin, Ledger};

/// Reason for which the next block cannot contain a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The transaction is a coinbase, has no inputs or no outputs, or names one input twice.
    #[error("it is malformed")]
    Malformed,
    /// An input does not exist, or not yet.
    #[error("{0} does not exist")]
    MissingInput(OutPoint),
    /// Another transaction, mined or in the mempool, spends the same coin.
    #[error("{outpoint} is spent by {by}")]
    DoubleSpend {
        /// Outpoint of the coin.
        outpoint: OutPoint,
        /// Transaction that spends it.
        by: Txid,
    },
    /// An input spends a coinbase with too few confirmations.
    #[error("{0} is a coinbase that is not yet mature")]
    Immature(OutPoint),
    /// The absolute lock time of the transaction has not passed.
    #[error("it is locked until {0}")]
    Locked(LockTime),
    /// The relative lock time (BIP 68) of an input has not passed.
    #[error("{0} is too young for its relative lock time")]
    TooYoung(OutPoint),
    /// The outputs exceed the inputs, or amounts overflow.
    #[error("its outputs exceed its inputs")]
    Inflates,
    /// The script of an input does not verify.
    #[error("the script of input {0} fails")]
    Script(usize),
}

/// Checks `tx` against the chain and the mempool; returns its fee.
pub(super) fn check(tx: &Transaction, ledger: &Ledger) -> Result<Amount, Rejected> {
    check_shape(tx)?;
    check_lock_time(tx, ledger)?;
    let coins = tx.input.iter().map(|input| find(input, ledger)).collect::<Result<Vec<_>, _>>()?;
    for (input, coin) in tx.input.iter().zip(&coins) {
        if !coin.is_mature(ledger.height() + 1) {
            return Err(Rejected::Immature(coin.outpoint));
        }
        check_age(tx, input, coin, ledger)?;
    }
    let fee = check_amounts(tx, &coins)?;
    check_scripts(tx, &coins)?;
    Ok(fee)
}

fn check_shape(tx: &Transaction) -> Result<(), Rejected> {
    let distinct: HashSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
    if tx.is_coinbase() || tx.input.is_empty() || tx.output.is_empty() || distinct.len() < tx.input.len() {
        return Err(Rejected::Malformed);
    }
    Ok(())
}

fn check_lock_time(tx: &Transaction, ledger: &Ledger) -> Result<(), Rejected> {
    let open = !tx.is_lock_time_enabled()
        || match tx.lock_time {
            LockTime::Blocks(height) => height.to_consensus_u32() <= ledger.height(),
            LockTime::Seconds(time) => time.to_consensus_u32() < ledger.median_time_at(ledger.height()),
        };
    if open { Ok(()) } else { Err(Rejected::Locked(tx.lock_time)) }
}

fn find(input: &TxIn, ledger: &Ledger) -> Result<Coin, Rejected> {
    let outpoint = input.previous_output;
    if let Some(by) = ledger.spender(&outpoint) {
        return Err(Rejected::DoubleSpend { outpoint, by });
    }
    ledger.unspent(&outpoint).ok_or(Rejected::MissingInput(outpoint))
}

/// Checks the relative lock time of an input. BIP 68: a lock in blocks counts from the coin's block, a lock in time
/// from the median time before that block.
fn check_age(tx: &Transaction, input: &TxIn, coin: &Coin, ledger: &Ledger) -> Result<(), Rejected> {
    let Some(lock) = input.sequence.to_relative_lock_time().filter(|_| tx.version.0 >= 2) else {
        return Ok(());
    };
    let next = ledger.height() + 1;
    let created = coin.height.unwrap_or(next);
    let old_enough = match lock {
        relative::LockTime::Blocks(blocks) => next - created >= u32::from(blocks.value()),
        relative::LockTime::Time(time) => {
            let since = ledger.median_time_at(created.saturating_sub(1));
            ledger.median_time_at(ledger.height()) >= since.saturating_add(u32::from(time.value()) * 512)
        }
    };
    if old_enough { Ok(()) } else { Err(Rejected::TooYoung(coin.outpoint)) }
}

fn check_amounts(tx: &Transaction, coins: &[Coin]) -> Result<Amount, Rejected> {
    let sum = |mut amounts: &mut dyn Iterator<Item = Amount>| {
        (&mut amounts)
            .try_fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).filter(|sum| *sum <= Amount::MAX_MONEY))
    };
    let taken = sum(&mut coins.iter().map(|coin| coin.output.value)).ok_or(Rejected::Inflates)?;
    let paid = sum(&mut tx.output.iter().map(|output| output.value)).ok_or(Rejected::Inflates)?;
    taken.checked_sub(paid).ok_or(Rejected::Inflates)
}

fn check_scripts(tx: &Transaction, coins: &[Coin]) -> Result<(), Rejected> {
    let raw = consensus::serialize(tx);
    let spent: Vec<bitcoinconsensus::Utxo> = coins.iter().map(spent_output).collect();
    for (index, coin) in coins.iter().enumerate() {
        let script = coin.output.script_pubkey.as_bytes();
        bitcoinconsensus::verify(script, coin.output.value.to_sat(), &raw, Some(&spent), index)
            .map_err(|_| Rejected::Script(index))?;
    }
    Ok(())
}

fn spent_output(coin: &Coin) -> bitcoinconsensus::Utxo {
    let script = coin.output.script_pubkey.as_bytes();
    bitcoinconsensus::Utxo {
        script_pubkey: script.as_ptr(),
        script_pubkey_len: u32::try_from(script.len()).expect("scripts are far shorter"),
        value: i64::try_from(coin.output.value.to_sat()).expect("amounts are at most 21 million bitcoin"),
    }
}

/// Number of blocks before a coinbase may be spent.
pub(super) const COINBASE_MATURITY: u32 = 100;
