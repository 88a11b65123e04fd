//! The coins that BDK knows, and those that may be spent.

use std::collections::HashSet;

use bdk_wallet::coin_selection::{InsufficientFunds, LargestFirstCoinSelection};
use bdk_wallet::error::CreateTxError;
use bdk_wallet::{LocalOutput, SignOptions, TxBuilder, Wallet};
use bitcoin::absolute::LockTime;
use bitcoin::constants::COINBASE_MATURITY;
use bitcoin::policy::MAX_STANDARD_TX_WEIGHT;
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, Script, Transaction, TxIn, Txid, Weight};
use lsps_transport_ldk::ports::CannotFund;

use super::deposits::Deposits;

pub(super) struct Coins {
    pub(super) bdk: Wallet,
    /// Reserved coins. Coins that were spent since may stay in the set.
    pub(super) reserved: HashSet<OutPoint>,
    pub(super) deposits: Deposits,
    /// Number of changes that BDK was told.
    pub(super) seen: u64,
    /// Number of changes of a source that counts them, at the last look.
    pub(super) changes: Option<u64>,
    /// Transactions in the mempool that BDK was told.
    pub(super) in_mempool: HashSet<Txid>,
    /// Time of the last look at the mempool, in Unix seconds; later with each look.
    pub(super) clock: u64,
}

impl Coins {
    pub(super) fn new(bdk: Wallet) -> Self {
        Self {
            bdk,
            reserved: HashSet::new(),
            deposits: Deposits::default(),
            seen: 0,
            changes: None,
            in_mempool: HashSet::new(),
            clock: 0,
        }
    }

    /// Coins that may be used. An unconfirmed coin from somebody else is not among them, as its sender can still
    /// replace it.
    pub(super) fn usable(&self) -> impl Iterator<Item = LocalOutput> {
        let next = self.bdk.latest_checkpoint().height() + 1;
        self.bdk.list_unspent().filter(move |coin| {
            let Some(tx) = self.bdk.tx_graph().get_tx(coin.outpoint.txid) else { return false };
            match coin.chain_position.confirmation_height_upper_bound() {
                Some(height) => !tx.is_coinbase() || next >= height + COINBASE_MATURITY,
                None => {
                    let is_own = |input: &TxIn| self.bdk.spk_index().txout(input.previous_output).is_some();
                    tx.input.iter().all(is_own) && self.has_few_unconfirmed(coin.outpoint.txid)
                }
            }
        })
    }

    /// Whether a transaction that spends this one would have few unconfirmed ancestors: mempools limit them.
    fn has_few_unconfirmed(&self, txid: Txid) -> bool {
        let is_unconfirmed = |txid| self.bdk.get_tx(txid).is_some_and(|tx| !tx.chain_position.is_confirmed());
        let (mut known, mut left) = (HashSet::new(), vec![txid]);
        while let Some(txid) = left.pop() {
            if is_unconfirmed(txid) && known.insert(txid) {
                let tx = self.bdk.tx_graph().get_tx(txid);
                left.extend(tx.iter().flat_map(|tx| &tx.input).map(|input| input.previous_output.txid));
            }
            if known.len() >= MOST_UNCONFIRMED {
                return false;
            }
        }
        true
    }

    /// Coins that are not reserved.
    pub(super) fn free(&self) -> impl Iterator<Item = LocalOutput> {
        let free = self.usable().filter(|coin| !self.reserved.contains(&coin.outpoint));
        free.filter(|coin| !self.deposits.is_unreported(coin))
    }

    /// Spends as few coins as suffice; the change returns to the wallet, or is added to the fee if it is dust.
    pub(super) fn pay(
        &mut self,
        script: &Script,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let (amount, free): (_, HashSet<_>) =
            (Amount::from_sat(amount_sat), self.free().map(|coin| coin.outpoint).collect());
        can_be_counted(amount, fee_rate)?;
        let unspendable = self.bdk.list_unspent().map(|coin| coin.outpoint).filter(|coin| !free.contains(coin));
        let unspendable = unspendable.collect();
        // Deterministic selection, so that the same coins are chosen each time.
        let mut builder = self.bdk.build_tx().coin_selection(LargestFirstCoinSelection);
        builder.unspendable(unspendable).add_recipient(script, amount).fee_rate(fee_rate);
        // BDK would lock the transaction to the newest block, which LDK may not know yet; it would refuse the
        // transaction.
        builder.nlocktime(LockTime::ZERO);
        let psbt = builder.finish().map_err(cannot)?;
        self.sign(psbt)
    }

    /// Spends exactly these coins to one output, less the fee.
    pub(super) fn sweep(
        &mut self,
        outputs: &[OutPoint],
        script: &Script,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        can_be_counted(Amount::ZERO, fee_rate)?;
        self.drain(outputs, script, |builder| _ = builder.fee_rate(fee_rate))
    }

    /// Spends exactly these coins to one output, less a fee that `fee` sets.
    pub(super) fn drain(
        &mut self,
        outputs: &[OutPoint],
        script: &Script,
        fee: impl FnOnce(&mut TxBuilder<'_, LargestFirstCoinSelection>),
    ) -> Result<Transaction, CannotFund> {
        let mut builder = self.bdk.build_tx().coin_selection(LargestFirstCoinSelection);
        builder.manually_selected_only().drain_to(script.into()).nlocktime(LockTime::ZERO);
        builder.add_utxos(outputs).map_err(|_| CannotFund::Wallet("an output is spent or gone".into()))?;
        fee(&mut builder);
        let psbt = builder.finish().map_err(cannot)?;
        self.sign(psbt)
    }

    fn sign(&self, mut psbt: Psbt) -> Result<Transaction, CannotFund> {
        let signed = self.bdk.sign(&mut psbt, SignOptions::default());
        if !signed.map_err(|error| CannotFund::Wallet(error.to_string()))? {
            return Err(CannotFund::Wallet("a coin could not be signed for".into()));
        }
        psbt.extract_tx().map_err(|error| CannotFund::Wallet(error.to_string()))
    }
}

/// Largest number of unconfirmed ancestors. Bitcoin Core accepts 25, from version 31 on 64.
pub(super) const MOST_UNCONFIRMED: usize = 20;

/// Checks that BDK's sums do not overflow at an absurd feerate, which a peer may have chosen.
pub(super) fn can_be_counted(amount: Amount, fee_rate: FeeRate) -> Result<(), CannotFund> {
    let most = fee_rate.checked_mul_by_weight(Weight::from_wu(MAX_STANDARD_TX_WEIGHT.into()));
    let most = most.and_then(|most| most.checked_add(amount)).filter(|most| *most <= Amount::MAX_MONEY);
    most.map(drop).ok_or(CannotFund::NotEnough { needed_sat: u64::MAX, available_sat: Amount::MAX_MONEY.to_sat() })
}

fn cannot(error: CreateTxError) -> CannotFund {
    match error {
        CreateTxError::CoinSelection(InsufficientFunds { needed, available }) => {
            CannotFund::NotEnough { needed_sat: needed.to_sat(), available_sat: available.to_sat() }
        }
        other => CannotFund::Wallet(other.to_string()),
    }
}
