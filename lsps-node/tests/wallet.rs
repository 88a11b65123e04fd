//! The wallet's contracts: with the LSP, which pays for channels and refunds, and with LDK.
#![allow(non_snake_case)]

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Transaction};
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::sign::{KeysManager, SignerProvider};
use lsps_node::store::{MemoryStore, Store};
use lsps_node::wallet::HomeKeys;
use lsps_node::{BdkWallet, Chain};
use lsps_transport_ldk::ports::{CannotFund, ChainWatch, OnchainWallet, SeenOutput};

#[test]
fn funding_is_the_same_for_the_same_key_and_its_coins_come_back() {
    let world = World::with(1_000_000);
    let tx = world.funds(7, 600_000);
    assert_eq!(world.wallet.fund(7, &somewhere(), 600_000, RATE), Ok(tx.clone()));
    assert!(matches!(world.wallet.fund(7, &somewhere(), 600_001, RATE), Err(CannotFund::Wallet(_))), "not for another");
    assert!(matches!(world.wallet.fund(8, &somewhere(), 600_000, RATE), Err(CannotFund::NotEnough { .. })));
    assert!(world.chain.mempool().is_empty(), "funding is not broadcast");
    assert_eq!(paid_to(&tx, &somewhere()), [600_000], "one output, exactly");
    assert!(tx.input.iter().all(|input| !input.witness.is_empty()), "SegWit");

    world.wallet.release(&inputs(&tx));
    assert!(world.wallet.fund(8, &somewhere(), 600_000, RATE).is_ok());
}

#[test]
fn a_wallet_that_starts_again_knows_its_coins_and_sets_aside_those_on_record() {
    let mut world = World::with(1_000_000);
    let (spent, on_record) = (world.funds(1, 300_000), world.chain.give(&world.wallet.script(), 500_000));
    world.mines(&spent);
    let on_record = world.funds_from(2, on_record);
    let before = world.wallet.balance_sat();

    world.restarts();
    assert_eq!(world.wallet.balance_sat(), before, "its change too");
    assert_eq!(world.wallet.spendable_sat(), before, "what nobody recorded is free again");
    world.wallet.lock(&inputs(&on_record));
    assert_eq!(world.wallet.spendable_sat(), before - 500_000);
    let other = world.funds(3, 100_000);
    assert!(inputs(&other).iter().all(|input| !inputs(&on_record).contains(input)));
    world.mines(&on_record);
    world.mines(&other);
    world.restarts();
    let mined = [&on_record, &other].map(|tx| world.wallet.mining_fee_sat(tx)).iter().sum::<u64>();
    assert_eq!(world.wallet.balance_sat(), before - 400_000 - 100_000 - mined);
}

#[test]
fn no_address_is_handed_out_twice_in_this_life_or_the_next() {
    let mut world = World::with(1_000_000);
    let mut all = vec![world.wallet.script()];
    for _ in 0..3 {
        all.extend((0..30).map(|_| world.wallet.address().done().expect("there are more").script_pubkey()));
        all.push(world.home().get_destination_script([0; 32]).unwrap());
        all.push(world.home().get_shutdown_scriptpubkey().unwrap().into_inner());
        world.restarts();
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    let before = world.wallet.balance_sat();
    for script in &all {
        world.chain.give(script, 1_000);
    }
    assert_eq!(
        world.wallet.balance_sat(),
        before + 1_000 * u64::try_from(all.len()).unwrap(),
        "all of them are its own"
    );
}

#[test]
fn what_an_order_is_paid_with_is_not_spent_before_the_host_knows_of_it() {
    let mut world = World::with(1_000_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    world.chain.give(&deposit, 70_000);
    assert_eq!(world.wallet.spendable_sat(), 1_000_000);
    world.restarts();
    world.wallet.watch(&deposit);
    assert_eq!(world.wallet.spendable_sat(), 1_000_000, "nor after a start");
    let [seen] = world.outputs_to(&deposit);
    assert_eq!((seen.amount.to_sat(), seen.height), (70_000, Some(world.chain.height())));
    assert_eq!(world.wallet.spendable_sat(), 1_070_000, "now the host sets it aside if it has to");
}

#[test]
fn a_refund_spends_the_very_deposits_and_gives_all_back_but_the_fee() {
    let world = World::with(1_000_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    let [first, second] = [30_000, 40_000].map(|sat| OutPoint { txid: world.chain.give(&deposit, sat), vout: 0 });
    assert_eq!(world.outputs_to(&deposit).map(|seen| seen.outpoint), [first, second]);
    world.wallet.lock(&[first, second]);
    let refund = world.wallet.refund(&[first, second], &somewhere(), RATE).unwrap();
    assert!(world.chain.mempool().is_empty(), "it is not broadcast");
    let mut spent = inputs(&refund);
    spent.sort();
    let mut deposits = [first, second];
    deposits.sort();
    assert_eq!(spent, deposits);
    let fee = world.wallet.mining_fee_sat(&refund);
    assert_eq!(refund.output.len(), 1);
    assert_eq!(paid_to(&refund, &somewhere()), [70_000 - fee]);
    assert!(rate([fee], [&refund]) >= RATE);
    world.mines(&refund);
    assert_eq!(world.wallet.balance_sat(), 1_000_000);
    assert_eq!(world.outputs_to::<2>(&deposit).map(|seen| seen.outpoint), [first, second], "spent or not");
    assert!(matches!(world.wallet.refund(&[first], &somewhere(), RATE), Err(CannotFund::Wallet(_))), "it is gone");
}

#[test]
fn a_deposit_that_the_fee_would_eat_is_not_given_back() {
    let world = World::with(1_000_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    world.chain.give(&deposit, 1_000);
    let [seen] = world.outputs_to(&deposit);
    for sat_per_vb in [7, 100] {
        let rate = FeeRate::from_sat_per_vb(sat_per_vb).unwrap();
        let refused = world.wallet.refund(&[seen.outpoint], &somewhere(), rate);
        assert!(matches!(refused, Err(CannotFund::NotEnough { .. })), "{refused:?}");
    }
}

#[test]
fn a_deposit_whose_block_is_lost_waits_again_and_may_come_in_another() {
    let world = World::with(1_000_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    let txid = world.chain.give(&deposit, 70_000);
    let [before] = world.outputs_to(&deposit);
    assert_eq!(before.height, Some(world.chain.height()));
    assert_eq!(world.wallet.spendable_sat(), 1_070_000);

    world.chain.reorganize(1);
    assert_eq!(world.wallet.touched(), None, "there is news");
    let [waiting] = world.outputs_to(&deposit);
    assert_eq!((waiting.outpoint, waiting.height, waiting.fee_rate), (before.outpoint, None, Some(FeeRate::ZERO)));
    assert_eq!(world.wallet.spendable_sat(), 1_000_000, "who paid it might still take it back");
    assert_eq!(world.wallet.touched(), Some(vec![]), "no more news");

    world.chain.mine(1);
    let [again] = world.outputs_to(&deposit);
    assert_eq!(again.height, Some(world.chain.height()));
    world.chain.reorganize(1);
    world.chain.evict(&txid);
    assert!(world.outputs_to::<0>(&deposit).is_empty(), "it is gone");
    assert_eq!(world.wallet.balance_sat(), 1_000_000);
}

#[test]
fn a_payment_that_is_replaced_in_the_mempool_counts_once() {
    let world = World::with(1_000_000);
    let payer = World { chain: world.chain.clone(), ..World::of(2) };
    let payer = BdkWallet::new(&[2; 32], payer.chain, payer.store).unwrap();
    world.chain.give(&payer.script(), 200_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    let (slow, fast) = (payer.pay(&deposit, 50_000, RATE).unwrap(), FeeRate::from_sat_per_vb(20).unwrap());
    payer.release(&inputs(&slow));
    let fast = payer.pay(&deposit, 50_000, fast).unwrap();
    world.chain.submit(slow.clone()).unwrap();
    let [seen] = world.outputs_to(&deposit);
    assert_eq!(seen.outpoint.txid, slow.compute_txid());
    assert!(seen.fee_rate >= Some(RATE), "the sender's fee counts for what is not confirmed");

    world.chain.evict(&slow.compute_txid());
    world.chain.submit(fast.clone()).unwrap();
    let [seen] = world.outputs_to(&deposit);
    assert_eq!(seen.outpoint.txid, fast.compute_txid());
    world.chain.evict(&fast.compute_txid());
    world.chain.submit(slow.clone()).unwrap();
    assert_eq!(world.outputs_to(&deposit).map(|seen: SeenOutput| seen.outpoint.txid), [slow.compute_txid()]);
    world.chain.mine(1);
    assert_eq!(world.outputs_to::<1>(&deposit)[0].height, Some(world.chain.height()));
    assert_eq!(payer.balance_sat(), 150_000 - payer.mining_fee_sat(&slow), "and its change is not counted twice");
}

#[test]
fn a_funding_that_is_stuck_is_paid_for_by_its_change() {
    let world = World::with(1_000_000);
    let funding = world.funds(1, 600_000);
    let urgent = FeeRate::from_sat_per_vb(50).unwrap();
    assert!(!world.wallet.bump(&funding, urgent), "it is not out");
    world.chain.submit(funding.clone()).unwrap();
    assert!(!world.wallet.bump(&funding, RATE), "it pays that much");
    assert!(world.wallet.bump(&funding, urgent));
    let [_, child] = &world.chain.mempool()[..] else { panic!("parent and child") };
    let fees = [&funding, child].map(|tx| world.chain.fee_sat(&tx.compute_txid()).unwrap());
    let (both, most) = (rate(fees, [&funding, child]), FeeRate::from_sat_per_vb(51).unwrap());
    assert!((urgent..=most).contains(&both), "{both}");

    assert!(world.wallet.bump(&funding, urgent), "it is asked for with every block");
    assert_eq!(world.chain.mempool().len(), 2);
    assert!(!world.wallet.bump(&funding, most), "once is all");
    world.chain.mine(1);
    assert_eq!(world.wallet.balance_sat(), 400_000 - fees.iter().sum::<u64>());
}

#[test]
fn a_refund_has_no_change_that_could_pay_for_it() {
    let world = World::with(1_000_000);
    let deposit = world.wallet.address().done().unwrap().script_pubkey();
    world.chain.give(&deposit, 70_000);
    let [seen] = world.outputs_to(&deposit);
    let refund = world.wallet.refund(&[seen.outpoint], &somewhere(), RATE).unwrap();
    world.chain.submit(refund.clone()).unwrap();
    assert!(!world.wallet.bump(&refund, FeeRate::from_sat_per_vb(50).unwrap()));
}

#[test]
fn case_X26_change_is_spent_again_before_it_is_confirmed_but_not_in_lines_that_no_mempool_takes() {
    let world = World::with(10_000_000);
    let mut line = 0;
    let refused = loop {
        match world.wallet.fund(line, &somewhere(), 10_000, RATE) {
            Ok(tx) => world.chain.submit(tx).expect("it is valid"),
            Err(why) => break why,
        };
        line += 1;
    };
    assert_eq!(line, 20);
    assert!(matches!(refused, CannotFund::NotEnough { .. }), "{refused}");
    assert_eq!(world.wallet.spendable_sat(), 0, "prices and quotes know");
    world.chain.mine(1);
    assert!(world.wallet.fund(line, &somewhere(), 10_000, RATE).is_ok());
}

#[test]
fn an_absurd_fee_rate_is_only_too_much() {
    let world = World::with(1_000_000);
    for absurd in [FeeRate::MAX, FeeRate::from_sat_per_kwu(u64::MAX / 1_000), FeeRate::from_sat_per_kwu(1 << 40)] {
        let refused = world.wallet.fund(1, &somewhere(), 10_000, absurd);
        assert!(matches!(refused, Err(CannotFund::NotEnough { .. })), "{refused:?}");
    }
    assert!(matches!(world.wallet.fund(1, &somewhere(), u64::MAX, RATE), Err(CannotFund::NotEnough { .. })));
    world.funds(1, 10_000);
}

/// LDK spends coins like this when it raises the fee of a commitment transaction.
#[test]
fn ldk_can_spend_confirmed_coins_beside_an_input_of_its_own() {
    let world = World::with(1_000_000);
    let ours = world.wallet.list_confirmed_utxos().unwrap();
    let [coin] = &ours[..] else { panic!("{ours:?}") };
    let mut tx = world.funds(1, 600_000);
    world.wallet.release(&inputs(&tx));
    tx.input.iter_mut().for_each(|input| input.witness.clear());
    assert_eq!(inputs(&tx), [coin.outpoint]);
    tx.input.push(bitcoin::TxIn::default());
    let mut psbt = bitcoin::Psbt::from_unsigned_tx(tx).unwrap();
    psbt.inputs[0].witness_utxo = Some(coin.output.clone());
    let signed = world.wallet.sign_psbt(psbt).unwrap();
    assert!(!signed.input[0].witness.is_empty() && signed.input[1].witness.is_empty());
    let weight = signed.input[0].segwit_weight().to_wu() - bitcoin::TxIn::default().segwit_weight().to_wu() + 1;
    assert!(weight <= coin.satisfaction_weight, "no heavier than was said");
    world.funds(1, 1_000);
    assert!(world.wallet.list_confirmed_utxos().unwrap().is_empty(), "nor what is set aside");
}

struct World {
    chain: Chain,
    store: Store,
    seed: [u8; 32],
    wallet: Arc<BdkWallet>,
}

impl World {
    fn of(seed: u8) -> Self {
        let (chain, store, seed): (_, Store, _) = (Chain::new(), Arc::new(MemoryStore::new()), [seed; 32]);
        let wallet = BdkWallet::new(&seed, chain.clone(), Arc::clone(&store)).expect("the store is empty");
        Self { chain, store, seed, wallet }
    }

    /// A world whose wallet has one coin.
    fn with(amount_sat: u64) -> Self {
        let world = Self::of(1);
        world.chain.give(&world.wallet.script(), amount_sat);
        world
    }

    fn restarts(&mut self) {
        self.wallet = BdkWallet::new(&self.seed, self.chain.clone(), Arc::clone(&self.store)).expect("it can be read");
    }

    /// The wallet as LDK sees it.
    fn home(&self) -> HomeKeys {
        HomeKeys::new(Arc::new(KeysManager::new(&self.seed, 0, 0, true)), Arc::clone(&self.wallet))
    }

    fn funds(&self, key: u128, amount_sat: u64) -> Transaction {
        self.wallet.fund(key, &somewhere(), amount_sat, RATE).expect("it has coins")
    }

    /// Funds a channel of 400 000 satoshis from this coin of 500 000 satoshis.
    fn funds_from(&self, key: u128, coin: bitcoin::Txid) -> Transaction {
        let others = self.wallet.outpoints().into_iter().filter(|outpoint| outpoint.txid != coin).collect::<Vec<_>>();
        self.wallet.lock(&others);
        let tx = self.funds(key, 400_000);
        self.wallet.release(&others);
        tx
    }

    fn mines(&self, tx: &Transaction) {
        self.chain.submit(tx.clone()).expect("it is valid");
        self.chain.mine(1);
    }

    fn outputs_to<const N: usize>(&self, script: &ScriptBuf) -> [SeenOutput; N] {
        let mut seen = self.wallet.outputs_to(script).expect("it knows");
        seen.sort_by_key(|seen| (seen.height, seen.amount));
        seen.try_into().unwrap_or_else(|seen| panic!("{seen:?}"))
    }
}

fn somewhere() -> ScriptBuf {
    ScriptBuf::from_hex("00140000000000000000000000000000000000000001").expect("a script")
}

fn inputs(tx: &Transaction) -> Vec<OutPoint> {
    tx.input.iter().map(|input| input.previous_output).collect()
}

fn paid_to(tx: &Transaction, script: &ScriptBuf) -> Vec<u64> {
    let outputs = tx.output.iter().filter(|output| output.script_pubkey == *script);
    outputs.map(|output| output.value.to_sat()).collect()
}

fn rate<const N: usize>(fees_sat: [u64; N], txs: [&Transaction; N]) -> FeeRate {
    let weight = txs.iter().map(|tx| tx.weight()).sum();
    Amount::from_sat(fees_sat.iter().sum()).div_by_weight_floor(weight).expect("they weigh something")
}

const RATE: FeeRate = FeeRate::from_sat_per_kwu(253);
