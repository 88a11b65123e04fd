//! What hosts ask of on-chain wallets, and where they get the time.

use bitcoin::{FeeRate, OutPoint, ScriptBuf, Transaction, Txid};

use lsps_types::Timestamp;

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
pub trait OnchainPayer: Send + Sync {
    /// Builds and signs a transaction with exactly one output to `script`, of `amount_sat` satoshis, and reserves its
    /// inputs. It must not be broadcast yet.
    ///
    /// `key` names the order; asked twice for it, either transaction will do. With a fee rate above `at_once_above` the LSP
    /// opens before it is confirmed; `None`: it waits in any case.
    ///
    /// # Errors
    ///
    /// When the spendable coins do not suffice or cannot be signed for.
    fn sign(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
    ) -> Result<Transaction, CannotFund>;

    /// Broadcasts a transaction of [`sign`](Self::sign), which is on record now, and may so again after a restart: its inputs
    /// stay reserved.
    fn broadcast(&self, tx: &Transaction);

    /// A transaction of [`sign`](Self::sign) will never be broadcast: its inputs are free.
    fn forget(&self, tx: &Transaction);
}

/// Wall-clock time; tests bring their own.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The chain, as far as the LSP touches it.
pub trait ChainAccess: Send + Sync {
    /// Broadcasts a transaction. Called again until it is confirmed; what is already known is no error.
    fn broadcast(&self, tx: &Transaction);

    /// How many blocks deep it is; 0 while it is in none. Only asked of channels that LDK no longer knows; without an
    /// answer it is broadcast again with every block.
    fn confirmations(&self, txid: &Txid) -> u32 {
        let _ = txid;
        0
    }

    /// The feerate at which a funding transaction confirms soon.
    fn fee_rate(&self) -> FeeRate;
}
