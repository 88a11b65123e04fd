//! The embedded chain refuses what a real one refuses, and the wallet on it keeps its word.

use bitcoin::{Amount, FeeRate, ScriptBuf, Witness};

use lsps_examples::{Chain, CoinWallet};
use lsps_transport_ldk::onchain::{CannotFund, OnchainWallet};

const RATE: FeeRate = FeeRate::from_sat_per_kwu(253);

fn somewhere() -> ScriptBuf {
    ScriptBuf::from_hex("00140000000000000000000000000000000000000001").expect("a script")
}

#[test]
fn a_payment_is_checked_mined_and_cannot_be_spent_twice() {
    let chain = Chain::new();
    let wallet = CoinWallet::new(&[1; 32], chain.clone());
    chain.give(&wallet.script(), 1_000_000);
    let tx = wallet.pay(&somewhere(), 400_000, RATE).expect("enough coins");

    let mut unsigned = tx.clone();
    unsigned.input[0].witness = Witness::new();
    assert!(chain.submit(unsigned).is_err(), "scripts are verified");
    let mut generous = tx.clone();
    generous.output[0].value = Amount::from_sat(2_000_000);
    assert!(chain.submit(generous).is_err(), "nothing comes from nothing");

    let txid = chain.submit(tx.clone()).expect("it is valid");
    assert!(chain.in_mempool(&txid));
    assert_eq!(chain.submit(tx.clone()), Ok(txid), "known already");
    let mut other = tx.clone();
    other.output[0].value = Amount::from_sat(399_999);
    assert!(chain.submit(other).is_err(), "its coins are spoken for");

    chain.mine(1);
    assert_eq!((chain.in_mempool(&txid), chain.confirmations(&txid)), (false, Some(1)));
    assert_eq!(chain.submit(tx), Ok(txid), "known already, in a block");
}

#[test]
fn funding_is_the_same_for_the_same_key_and_its_coins_come_back() {
    let chain = Chain::new();
    let wallet = CoinWallet::new(&[2; 32], chain.clone());
    chain.give(&wallet.script(), 1_000_000);
    let tx = wallet.fund(7, &somewhere(), 600_000, RATE).expect("enough coins");
    assert_eq!(wallet.fund(7, &somewhere(), 600_000, RATE), Ok(tx.clone()));
    assert!(matches!(wallet.fund(8, &somewhere(), 600_000, RATE), Err(CannotFund::NotEnough { .. })));
    assert!(chain.mempool().is_empty(), "funding is not broadcast");

    let inputs: Vec<_> = tx.input.iter().map(|input| input.previous_output).collect();
    wallet.release(&inputs);
    assert!(wallet.fund(8, &somewhere(), 600_000, RATE).is_ok());
    wallet.release(&inputs);
    wallet.lock(&inputs);
    assert_eq!(wallet.spendable_sat(), 0, "locked for a transaction on record");
}
