//! Building a transaction that pays one output.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, FeeRate, Script, Sequence, Transaction, TxIn, TxOut, Weight};

use lsps_transport_ldk::onchain::CannotFund;

use super::keys::WalletKeys;
use crate::chain::Coin;

/// Spends as few of `coins` as suffice; what is left goes back to the wallet, or to the miner when it is dust.
pub(super) fn payment(
    coins: &[Coin],
    keys: &WalletKeys,
    script: &Script,
    amount_sat: u64,
    fee_rate: FeeRate,
) -> Result<Transaction, CannotFund> {
    let amount = Amount::from_sat(amount_sat);
    let mut tx = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![],
        output: vec![TxOut { value: amount, script_pubkey: script.into() }],
    };
    let chosen = choose(coins, &mut tx, amount, fee_rate)?;
    add_change(&mut tx, &chosen, keys.receiving(), fee_rate);
    sign(&mut tx, chosen, keys)?;
    Ok(tx)
}

/// Spends all of `coins` to one output, less the fee.
pub(super) fn give_back(
    coins: &[Coin],
    keys: &WalletKeys,
    script: &Script,
    fee_rate: FeeRate,
) -> Result<Transaction, CannotFund> {
    let output = vec![TxOut { value: Amount::ZERO, script_pubkey: script.into() }];
    let mut tx = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![], output };
    tx.input.extend(coins.iter().map(input));
    let worth = coins.iter().map(|coin| coin.output.value).sum::<Amount>();
    let cost = needed(&tx, Amount::ZERO, fee_rate);
    let rest = cost.and_then(|cost| worth.checked_sub(cost)).filter(|rest| *rest >= script.minimal_non_dust());
    let needed_sat = cost.map_or(u64::MAX, Amount::to_sat);
    let rest = rest.ok_or(CannotFund::NotEnough { needed_sat, available_sat: worth.to_sat() })?;
    tx.output.iter_mut().for_each(|output| output.value = rest);
    sign(&mut tx, coins, keys)?;
    Ok(tx)
}

fn input(coin: &Coin) -> TxIn {
    TxIn { previous_output: coin.outpoint, sequence: Sequence::ENABLE_RBF_NO_LOCKTIME, ..Default::default() }
}

fn sign<'c>(
    tx: &mut Transaction,
    coins: impl IntoIterator<Item = &'c Coin>,
    keys: &WalletKeys,
) -> Result<(), CannotFund> {
    let spent: Vec<_> = coins.into_iter().map(|coin| Some(coin.output.clone())).collect();
    keys.sign(tx, &spent).map_err(|_| CannotFund::Wallet("a coin could not be signed for".into()))
}

/// Adds inputs to `tx`, the most valuable first, until they cover its output and its own fee.
fn choose<'c>(
    coins: &'c [Coin],
    tx: &mut Transaction,
    amount: Amount,
    fee_rate: FeeRate,
) -> Result<Vec<&'c Coin>, CannotFund> {
    let mut richest: Vec<_> = coins.iter().collect();
    richest.sort_by_key(|coin| std::cmp::Reverse(coin.output.value));
    let mut chosen: Vec<&Coin> = vec![];
    for coin in richest {
        if Some(total(&chosen)) >= needed(tx, amount, fee_rate) && !chosen.is_empty() {
            break;
        }
        tx.input.push(input(coin));
        chosen.push(coin);
    }
    let available_sat = coins.iter().map(|coin| coin.output.value.to_sat()).sum();
    match needed(tx, amount, fee_rate) {
        Some(needed) if !chosen.is_empty() && total(&chosen) >= needed => Ok(chosen),
        Some(needed) => Err(CannotFund::NotEnough { needed_sat: needed.to_sat(), available_sat }),
        None => Err(CannotFund::NotEnough { needed_sat: u64::MAX, available_sat }),
    }
}

fn add_change(tx: &mut Transaction, chosen: &[&Coin], script: &Script, fee_rate: FeeRate) {
    let paid: Amount = tx.output.iter().map(|output| output.value).sum();
    tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: script.into() });
    let change = needed(tx, paid, fee_rate).and_then(|needed| total(chosen).checked_sub(needed));
    match change.filter(|change| *change >= script.minimal_non_dust()) {
        Some(change) => tx.output[1].value = change,
        None => tx.output.truncate(1),
    }
}

/// Amount and fee of `tx` once its inputs are signed; `None` on overflow.
fn needed(tx: &Transaction, amount: Amount, fee_rate: FeeRate) -> Option<Amount> {
    let inputs = u64::try_from(tx.input.len()).ok()?;
    let weight = tx.weight().checked_add(WITNESS_WEIGHT.checked_mul(inputs)?)?.checked_add(SEGWIT_MARKER)?;
    amount.checked_add(fee_rate.checked_mul_by_weight(weight)?)
}

fn total(coins: &[&Coin]) -> Amount {
    coins.iter().map(|coin| coin.output.value).sum()
}

/// Number of items, a signature of at most 72 bytes, a key of 33, both with their lengths.
const WITNESS_WEIGHT: Weight = Weight::from_wu(1 + 1 + 72 + 1 + 33);
const SEGWIT_MARKER: Weight = Weight::from_wu(2);
