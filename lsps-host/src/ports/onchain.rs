//! On-chain wallets, and the chain.

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Amount, FeeRate, OutPoint, ScriptBuf, Transaction, Txid};

/// The on-chain wallet that pays for channels.
///
/// Implementations must survive being asked twice: a process can die between an answer and its use.
pub trait OnchainWallet: Send + Sync {
    /// Builds and signs a transaction with one output of `amount_sat` satoshis to `script`, and reserves its inputs.
    ///
    /// Safe twice: the same `key` gets the same transaction again for as long as its inputs are reserved. It must not
    /// be broadcast. Every input has to be SegWit.
    ///
    /// # Errors
    ///
    /// When the spendable coins do not suffice or cannot be signed for.
    fn fund(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund>;

    /// Reserves these inputs; called at start for every funding transaction on record.
    fn lock(&self, inputs: &[OutPoint]);

    /// Gives these inputs back: the transaction spending them will never be broadcast by us.
    fn release(&self, inputs: &[OutPoint]);

    /// Satoshis that a transaction built by [`fund`](Self::fund) pays to the miners.
    fn mining_fee_sat(&self, tx: &Transaction) -> u64;

    /// Raises the fee of a transaction that is stuck, for example by spending its change. `false`: that is not possible.
    fn bump(&self, tx: &Transaction, fee_rate: FeeRate) -> bool {
        let (_, _) = (tx, fee_rate);
        false
    }

    /// Satoshis that [`fund`](Self::fund) could spend now.
    fn spendable_sat(&self) -> u64;

    /// An address of its own that nobody was given before, to be paid for an order (LSPS1). `None`: it gives none out, and
    /// orders cannot be paid on the chain.
    fn address(&self) -> Option<Address> {
        None
    }

    /// Builds and signs a transaction that spends exactly these outputs, paid to such addresses, whether they are reserved
    /// or not, to `script`, less the miners' fee. It must not be broadcast.
    ///
    /// # Errors
    ///
    /// [`CannotFund::NotEnough`] where nothing but dust would be left; anything else is tried again later.
    fn give_back(
        &self,
        outputs: &[OutPoint],
        script: &ScriptBuf,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let (_, _, _) = (outputs, script, fee_rate);
        Err(CannotFund::Wallet("it gives no addresses out".into()))
    }
}

/// Why no funding transaction could be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotFund {
    /// The spendable coins do not cover amount and fee.
    #[error("{needed_sat} sat are needed and {available_sat} sat are spendable")]
    NotEnough {
        /// Amount and fee.
        needed_sat: u64,
        /// What could be spent.
        available_sat: u64,
    },
    /// The wallet failed otherwise; its own words.
    #[error("the wallet failed: {0}")]
    Wallet(String),
}

/// The on-chain wallet that pays for ordered channels.
///
/// The LSP chooses amount, script and `at_once_above`; the wallet's own limits are in `max_fee_sat`, and no implementation
/// may pay more to the miners.
pub trait OnchainPayer: Send + Sync {
    /// Satoshis of mining fee that [`sign`](Self::sign) would pay for such a transaction now, as an estimate: ways to pay an
    /// order are compared with it. Nothing is reserved.
    ///
    /// # Errors
    ///
    /// When the spendable coins do not suffice.
    fn mining_fee_sat(
        &self,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
    ) -> Result<u64, CannotPay>;

    /// Builds and signs a transaction with exactly one output to `script`, of `amount_sat` satoshis, and reserves its
    /// inputs. It must not be broadcast yet, and must not cost more than `max_fee_sat` satoshis of mining fee.
    ///
    /// `key` names the order; asked twice for it, either transaction will do. With a feerate above `at_once_above` the LSP
    /// opens before it is confirmed; `None`: it waits in any case.
    ///
    /// # Errors
    ///
    /// When the spendable coins do not suffice or cannot be signed for, or the mining fee would be above `max_fee_sat`; then
    /// no input is reserved. The host asks again without `at_once_above`.
    fn sign(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
        max_fee_sat: u64,
    ) -> Result<Transaction, CannotPay>;

    /// Broadcasts a transaction of [`sign`](Self::sign), which is on record now, and may so again after a restart: its
    /// inputs stay reserved.
    fn broadcast(&self, tx: &Transaction);

    /// A transaction of [`sign`](Self::sign) is not to be broadcast now, and may be in some mempool, if not in this wallet's:
    /// its inputs stay reserved. Called after a start; safe twice.
    fn reserve(&self, tx: &Transaction);

    /// A transaction of [`sign`](Self::sign) will not be broadcast any more, and is in no mempool: its inputs are free, unless
    /// it was mined.
    fn forget(&self, tx: &Transaction);
}

/// Why a payment for an ordered channel is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotPay {
    /// The miners would get more than the wallet allows.
    #[error(
        "the mining fee would be {fee_sat} sat, above the limit of {max_fee_sat} sat: raise the limit of the order"
    )]
    TooDear {
        /// The mining fee, in satoshis.
        fee_sat: u64,
        /// The most that it may be, in satoshis.
        max_fee_sat: u64,
    },
    /// The wallet cannot pay.
    #[error(transparent)]
    Fund(#[from] CannotFund),
}

/// The chain, as far as the LSP touches it.
pub trait ChainAccess: Send + Sync {
    /// Broadcasts a transaction, and says what became of that. Called again with every block until it is confirmed. Where
    /// several wait, those that others spend come first.
    fn broadcast(&self, tx: &Transaction) -> Broadcast;

    /// How many blocks deep it is; 0 while it is in none. Only asked of channels that LDK no longer knows; without an
    /// answer it is broadcast again with every block.
    fn confirmations(&self, txid: &Txid) -> u32 {
        let _ = txid;
        0
    }

    /// The feerate at which a funding transaction confirms soon.
    fn fee_rate(&self) -> FeeRate;

    /// The feerate that the node gives the commitment transactions of a channel that it opens now: what its `FeeEstimator`
    /// says for `NonAnchorChannelFee`. Channels are opened so large that the first payment fits beside such a fee.
    fn commitment_fee_rate(&self) -> FeeRate {
        self.fee_rate()
    }

    /// The feerate at which one confirms within so many blocks.
    fn fee_rate_within(&self, blocks: u32) -> FeeRate {
        let _ = blocks;
        self.fee_rate()
    }
}

/// The answer to a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// The mempool took it.
    Accepted,
    /// The transaction was in the mempool or in a block before.
    Known,
    /// The mempool does not take it; why, in the backend's words. For example an input is spent otherwise, too many
    /// unconfirmed transactions hang together, or its feerate is too low.
    Refused(String),
    /// The backend says nothing of it, as LDK's `BroadcasterInterface`.
    Unanswered,
}

/// What the chain says of outputs to addresses that orders are paid to. The wallet that made them knows, or an index of
/// scripts.
pub trait ChainWatch: Send + Sync {
    /// Outputs to this script matter from now on. Told again for all scripts at every start.
    fn watch(&self, script: &ScriptBuf);

    /// They do no longer.
    fn forget(&self, script: &ScriptBuf) {
        let _ = script;
    }

    /// Scripts with news since this was asked last: outputs that came, were mined, or went. Asked every second and more
    /// often; `None`: it does not know, so all are looked at.
    fn touched(&self) -> Option<Vec<ScriptBuf>> {
        None
    }

    /// All outputs to a script that are in the chain or on their way there, spent or not. One that is left out counts as
    /// gone until it is there again.
    fn outputs_to(&self, script: &ScriptBuf) -> Vec<SeenOutput>;
}

/// An output to an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenOutput {
    /// Which.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub amount: Amount,
    /// The height of the block it is in, if it is in one.
    pub height: Option<u32>,
    /// Of its transaction, while it is in no block, where that is known. Only with it can a payment count without
    /// confirmation.
    pub fee_rate: Option<FeeRate>,
}

/// The outpoint that LSPS1 names so.
#[must_use]
pub fn from_lsps_outpoint(outpoint: &lsps_types::OutPoint) -> OutPoint {
    let mut txid = outpoint.txid.0;
    txid.reverse();
    OutPoint { txid: Txid::from_byte_array(txid), vout: outpoint.index.into() }
}

/// The outpoint as LSPS1 names it. `None`: its index is larger than LSPS1 can say.
#[must_use]
pub fn to_lsps_outpoint(outpoint: OutPoint) -> Option<lsps_types::OutPoint> {
    let mut txid = outpoint.txid.to_byte_array();
    txid.reverse();
    Some(lsps_types::OutPoint { txid: lsps_types::Txid(txid), index: u16::try_from(outpoint.vout).ok()? })
}

/// Tells a wallet whether the funding of a channel was published, before it is confirmed.
///
/// A node that knows blocks only cannot tell; a full node's or an Esplora server's mempool can. What is seen there can
/// still be replaced or spent otherwise: only confirmations rule that out
/// (`Rules::confirmations_to_wait` of the client).
pub trait Mempool: Send + Sync {
    /// Whether this transaction is in the mempool or in a block. Asked again and again while a payment waits for it, from
    /// the wallet's one task: it must not block for long.
    fn has_seen(&self, txid: &Txid) -> bool;
}
