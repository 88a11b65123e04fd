//! The on-chain wallet and the chain backend.

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Amount, FeeRate, OutPoint, ScriptBuf, Transaction, Txid};

use super::Made;

/// The on-chain wallet of an LSP: it pays for channels, and keeps the deposits of orders (LSPS1).
///
/// The host makes its calls from one task: none may block for longer than signing takes. A wallet that is reached over a
/// connection answers [`CannotFund::NotYet`] meanwhile. Every call may be made twice, as a process can die between an
/// answer and its use.
///
/// Reserved outputs are spent by [`refund`](Self::refund) and by nothing else. A wallet may forget its
/// reservations when it stops: the host calls [`lock`](Self::lock) at each start.
pub trait OnchainWallet: Send + Sync {
    /// Builds and signs a transaction with one output of `amount_sat` satoshis to `script`, and reserves its inputs.
    ///
    /// Safe twice: the same `key` gets the same transaction again for as long as its inputs are reserved. The wallet
    /// must not broadcast the transaction. Every input has to be SegWit.
    ///
    /// # Errors
    ///
    /// The spendable coins do not suffice, or cannot be signed for.
    fn fund(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund>;

    /// Reserves these outputs, so that the wallet spends them for nothing else. The host calls this at the start for
    /// the inputs of every funding transaction on record and for the reserved deposits of every order on record, and
    /// for a deposit of an order as soon as it is seen. Safe twice.
    fn lock(&self, inputs: &[OutPoint]);

    /// Releases these outputs: the wallet may spend them. The host calls this for the inputs of a funding transaction
    /// that it will never broadcast, for a deposit that paid for a channel or is too small to refund, and for deposits
    /// of a finished order that were never on record. Safe twice, and for outputs that are not reserved.
    fn release(&self, inputs: &[OutPoint]);

    /// On-chain fee, in satoshis, of a transaction built by [`fund`](Self::fund) or [`refund`](Self::refund).
    fn mining_fee_sat(&self, tx: &Transaction) -> u64;

    /// Raises the fee of a funding transaction or a refund that is stuck, for example by spending its change. The
    /// wallet must not replace the transaction itself: the channel is one of its outputs, and the host watches its
    /// txid. `false`: the fee cannot be raised.
    fn bump(&self, tx: &Transaction, fee_rate: FeeRate) -> bool {
        let (_, _) = (tx, fee_rate);
        false
    }

    /// Satoshis that [`fund`](Self::fund) could spend now.
    fn spendable_sat(&self) -> u64;

    /// A new address of the wallet, to which an order is paid (LSPS1). [`Made::Never`]: orders cannot be paid on-chain.
    fn address(&self) -> Made<Address> {
        Made::Never
    }

    /// Builds and signs a refund: a transaction that spends exactly these outputs, which were paid to addresses of
    /// [`address`](Self::address), whether they are reserved or not, to `script`, less the on-chain fee. The wallet
    /// must not broadcast it. The outputs stay reserved. A wallet that answers [`CannotFund::NotYet`] keeps the result for
    /// the same outputs, script and feerate.
    ///
    /// # Errors
    ///
    /// [`CannotFund::NotEnough`] if at most dust would be left at this feerate. After [`CannotFund::Wallet`] the host
    /// asks again with the next block.
    fn refund(&self, outputs: &[OutPoint], script: &ScriptBuf, fee_rate: FeeRate) -> Result<Transaction, CannotFund> {
        let (_, _, _) = (outputs, script, fee_rate);
        Err(CannotFund::Wallet("it gives no addresses out".into()))
    }
}

/// The reason for which no funding transaction or refund could be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotFund {
    /// The spendable coins do not cover amount and fee.
    #[error("{needed_sat} sat are needed and {available_sat} sat are spendable")]
    NotEnough {
        /// The amount and the fee.
        needed_sat: u64,
        /// The satoshis that could be spent.
        available_sat: u64,
    },
    /// The wallet failed for another reason; its error text.
    #[error("the wallet failed: {0}")]
    Wallet(String),
    /// The wallet is at it. The host makes the same call again until the answer is another; outputs that are reserved
    /// meanwhile stay reserved.
    #[error("the wallet has not finished")]
    NotYet,
}

/// The on-chain wallet that pays for ordered channels.
///
/// The LSP chooses amount, script and `at_once_above`; the wallet's own limit is `max_fee_sat`, and no implementation
/// may pay a higher on-chain fee.
pub trait OnchainPayer: Send + Sync {
    /// Estimates the on-chain fee, in satoshis, that [`sign`](Self::sign) would pay for such a transaction now, to
    /// compare payment methods. No input is reserved.
    ///
    /// # Errors
    ///
    /// The spendable coins do not suffice.
    fn mining_fee_sat(
        &self,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
    ) -> Result<u64, CannotPay>;

    /// Builds and signs a transaction with exactly one output to `script`, of `amount_sat` satoshis, and reserves its
    /// inputs. The wallet must not broadcast the transaction yet, and must not pay an on-chain fee above `max_fee_sat`
    /// satoshis.
    ///
    /// `key` identifies the order. A transaction that was signed for it before and was neither broadcast nor forgotten is
    /// returned again, or its inputs are released: the host that asked for it may have ended before it was on record. With
    /// a feerate above
    /// `at_once_above` the LSP opens the channel before the payment is confirmed; `None`: the LSP waits in any case.
    ///
    /// # Errors
    ///
    /// The spendable coins do not suffice or cannot be signed for, or the on-chain fee would be above `max_fee_sat`. In
    /// that case no input is reserved, and the host calls again without `at_once_above`. After [`CannotFund::NotYet`] the
    /// host makes the same call again for as long as the payment is wanted; inputs that are reserved for a call that it
    /// does not make again for a minute are free.
    fn sign(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
        max_fee_sat: u64,
    ) -> Result<Transaction, CannotPay>;

    /// Broadcasts a transaction of [`sign`](Self::sign) that is on record. The host may repeat the call after a
    /// restart: the inputs stay reserved.
    fn broadcast(&self, tx: &Transaction);

    /// Keeps the inputs of a transaction of [`sign`](Self::sign) reserved. The transaction is not to be broadcast now,
    /// and may be in some mempool, if not in this wallet's. The host calls this after a start. Safe twice.
    fn reserve(&self, tx: &Transaction);

    /// Releases the inputs of a transaction of [`sign`](Self::sign), unless it was mined: it will not be broadcast any
    /// more, and is in no mempool.
    fn forget(&self, tx: &Transaction);
}

/// The reason for which a payment for an ordered channel is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotPay {
    /// The on-chain fee would be above the wallet's limit.
    #[error(
        "the mining fee would be {fee_sat} sat, above the limit of {max_fee_sat} sat: raise the limit of the order"
    )]
    TooDear {
        /// On-chain fee, in satoshis.
        fee_sat: u64,
        /// Limit of the on-chain fee, in satoshis.
        max_fee_sat: u64,
    },
    /// The wallet cannot pay.
    #[error(transparent)]
    Fund(#[from] CannotFund),
}

/// The chain backend of an LSP: broadcasts, confirmations and feerates.
///
/// The host makes its calls from one task; all of them must return at once. A backend that is reached over a connection
/// answers from a copy, and sends in the background.
pub trait ChainAccess: Send + Sync {
    /// Broadcasts a transaction, and returns the backend's answer. The host repeats the call with every block until the
    /// transaction is confirmed. If several funding transactions wait, parents come before the transactions that spend
    /// them.
    fn broadcast(&self, tx: &Transaction) -> Broadcast;

    /// Number of confirmations of a transaction; 0 if it is unconfirmed or the number is unknown. The host asks with
    /// every block for each funding transaction that has to confirm and for each refund, until it has six. If the
    /// answer for a funding transaction is 0, the host uses
    /// [`NodeChannel::confirmations`](super::NodeChannel::confirmations). For refunds there is no other source: a
    /// backend that always answers 0 leaves each refund unconfirmed on record, and has it broadcast with every block.
    fn confirmations(&self, txid: &Txid) -> u32 {
        let _ = txid;
        0
    }

    /// The feerate at which a funding transaction or a refund confirms soon.
    fn fee_rate(&self) -> FeeRate;

    /// The feerate of the commitment transactions of a channel without anchors that the node opens now. The capacity of
    /// channels has room for such a fee in addition to the first payment.
    fn commitment_fee_rate(&self) -> FeeRate {
        self.fee_rate()
    }

    /// The feerate at which a funding transaction confirms within this number of blocks.
    fn fee_rate_within(&self, blocks: u32) -> FeeRate {
        let _ = blocks;
        self.fee_rate()
    }
}

/// Answer to a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// The mempool accepted the transaction.
    Accepted,
    /// The transaction was in the mempool or in a block before.
    Known,
    /// The mempool does not accept the transaction; the reason in the backend's words. For example an input is spent
    /// already, there are too many unconfirmed ancestors, or the feerate is too low.
    Refused(String),
    /// The backend does not report whether the mempool took the transaction.
    Unanswered,
}

/// The deposits of orders: outputs to the addresses that orders are paid to. The wallet that created the addresses can
/// implement this, or an index of scripts.
///
/// The host makes its calls from one task; all of them must return at once.
pub trait ChainWatch: Send + Sync {
    /// Watches for outputs to this script from now on. The host repeats the call for the scripts of all open orders at
    /// every start.
    fn watch(&self, script: &ScriptBuf);

    /// Stops watching for outputs to this script.
    fn forget(&self, script: &ScriptBuf) {
        let _ = script;
    }

    /// The scripts whose outputs appeared, were mined, or disappeared since the last call. The host asks in every turn,
    /// every second and more often. `None`: the implementation does not know, and the host asks for the outputs of all
    /// scripts.
    fn touched(&self) -> Option<Vec<ScriptBuf>> {
        None
    }

    /// The outputs to a script that are in a block or in the mempool, spent or not. An output that is left out counts
    /// as gone until it is back. `None`: the backend does not know now, as it is unreachable or behind the node's best
    /// block; nothing changes then, and the host asks again within a second.
    fn outputs_to(&self, script: &ScriptBuf) -> Option<Vec<SeenOutput>>;
}

/// An output to an address of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenOutput {
    /// Outpoint.
    pub outpoint: OutPoint,
    /// Value.
    pub amount: Amount,
    /// Height of the block that contains the output; `None` if it is unconfirmed.
    pub height: Option<u32>,
    /// Feerate of the transaction while it is unconfirmed, if known. A payment counts without confirmation only if the
    /// feerate is known.
    pub fee_rate: Option<FeeRate>,
}

/// Converts an outpoint from its LSPS1 form.
#[must_use]
pub fn from_lsps_outpoint(outpoint: &lsps_types::OutPoint) -> OutPoint {
    let mut txid = outpoint.txid.0;
    txid.reverse();
    OutPoint { txid: Txid::from_byte_array(txid), vout: outpoint.index.into() }
}

/// Converts an outpoint to its LSPS1 form. `None`: the index is larger than LSPS1 can express.
#[must_use]
pub fn to_lsps_outpoint(outpoint: OutPoint) -> Option<lsps_types::OutPoint> {
    let mut txid = outpoint.txid.to_byte_array();
    txid.reverse();
    Some(lsps_types::OutPoint { txid: lsps_types::Txid(txid), index: u16::try_from(outpoint.vout).ok()? })
}

/// Shows a wallet whether the funding of a channel was published, before it is confirmed.
///
/// A node that knows only blocks cannot tell; the mempool of a full node or of an Esplora server can. A transaction
/// that is seen there can still be replaced or double-spent: only confirmations rule that out
/// (`Rules::confirmations_to_wait` of the client).
pub trait Mempool: Send + Sync {
    /// Whether this transaction is in the mempool or in a block. The wallet repeats the call from its one task while a
    /// payment waits for the transaction; the call must not block for long.
    fn has_seen(&self, txid: &Txid) -> bool;
}
