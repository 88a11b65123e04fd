//! The embedded chain refuses the transactions that a real one refuses.

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, ScriptBuf, Witness};

use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::util::config::UserConfig;
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_node::{BdkWallet, Chain};

const RATE: FeeRate = FeeRate::from_sat_per_kwu(253);

fn somewhere() -> ScriptBuf {
    ScriptBuf::from_hex("00140000000000000000000000000000000000000001").expect("a script")
}

#[test]
fn a_payment_is_checked_mined_and_cannot_be_spent_twice() {
    let chain = Chain::new();
    let wallet = BdkWallet::new(&[1; 32], chain.clone(), Arc::new(MemoryStore::new())).expect("it is new");
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
fn another_branch_and_a_forgetful_mempool_undo_what_they_undo_and_no_more() {
    let chain = Chain::new();
    let wallet = BdkWallet::new(&[1; 32], chain.clone(), Arc::new(MemoryStore::new())).expect("it is new");
    let gift = chain.give(&wallet.script(), 1_000_000);
    let tx = wallet.pay(&somewhere(), 400_000, RATE).expect("enough coins");
    let txid = chain.submit(tx.clone()).expect("it is valid");
    let fees = [chain.fee_sat(&gift), chain.fee_sat(&txid)];
    chain.mine(1);
    let height = chain.height();

    chain.reorganize(2);
    assert_eq!(chain.height(), height + 1, "the longer branch wins");
    assert_eq!(chain.mempool().iter().map(|tx| tx.compute_txid()).collect::<Vec<_>>(), [gift, txid], "in order");
    assert_eq!([chain.fee_sat(&gift), chain.fee_sat(&txid)], fees);
    chain.mine(1);
    assert_eq!([chain.confirmations(&gift), chain.confirmations(&txid)], [Some(1); 2]);

    chain.reorganize(1);
    chain.evict(&gift);
    assert!(chain.mempool().is_empty(), "nor what was paid with it");
    assert!(chain.submit(tx).is_err(), "its coin does not exist any more");
    chain.give(&somewhere(), 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_another_branch_while_it_runs_and_after_a_start() {
    let (chain, store): (Chain, Store) = (Chain::new(), Arc::new(MemoryStore::new()));
    let start = || async {
        let (config, store) = (UserConfig::default(), Arc::clone(&store));
        let setup = Setup { name: "alice", seed: [1; 32], store, config, chain: Arc::new(chain.clone()) };
        let node = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await.expect("it starts");
        node.run(|_| std::future::ready(Ok(())));
        node
    };
    let alice = start().await;
    chain.mine(3);
    let is_there = |node: &Node| node.channel_manager().current_best_block() == chain.best_block();
    assert!(within(|| is_there(&alice)).await);
    chain.reorganize(3);
    assert!(within(|| is_there(&alice)).await, "while it runs");
    assert!(alice.chain().status().is_current(), "{:?}", alice.chain().status());
    alice.stop().await;

    chain.reorganize(3);
    chain.mine(2);
    let alice = start().await;
    assert!(is_there(&alice), "after a start");
    alice.stop().await;
}

#[test]
fn a_chain_in_a_file_is_the_same_after_its_process_was_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chain");
    let open = || Chain::open(&path).expect("it opens");
    let chain = open();
    assert_eq!(chain.height(), 110);
    let store = Arc::new(MemoryStore::new());
    let wallet = BdkWallet::new(&[1; 32], chain.clone(), store).expect("it is new");
    chain.give(&wallet.script(), 1_000_000);
    chain.mine(2);
    chain.reorganize(1);
    let txid = chain.submit(wallet.pay(&somewhere(), 400_000, RATE).expect("enough coins")).expect("it is valid");
    let (tip, length) = (chain.best_block(), std::fs::metadata(&path).expect("a file").len());
    drop((wallet, chain));

    let again = open();
    assert_eq!((again.best_block(), again.in_mempool(&txid)), (tip, true));
    again.mine(1);
    assert_eq!(again.confirmations(&txid), Some(1));
    drop(again);

    let half = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &half[..half.len() - 7]).expect("it is cut short");
    let again = open();
    assert_eq!((again.best_block(), again.in_mempool(&txid)), (tip, true), "the last block was half written");
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), length);
    again.mine(1);
    assert_eq!(open().height(), tip.height + 1);
}
