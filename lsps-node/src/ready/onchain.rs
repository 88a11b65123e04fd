//! Coins on the chain.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, FeeRate, Network, Txid};
use lsps_transport_ldk::ports::{Broadcast, CannotFund, ChainAccess as _, OnchainWallet as _};

use super::Node;
use super::history::{Payment, PaymentKind, PaymentStatus, now};

/// Reason for which coins are not sent. They stay in the wallet, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSend {
    /// The address is of another network.
    #[error("the address is not of {0}, the network of this node")]
    WrongNetwork(Network),
    /// An output of this amount would not be relayed.
    #[error("{amount_sat} sat are too little for an output on the chain: send at least {least_sat} sat")]
    TooSmall {
        /// Amount.
        amount_sat: u64,
        /// Least amount for this address.
        least_sat: u64,
    },
    /// The coins do not suffice beside what is kept for channels.
    #[error(
        "{spendable_sat} sat can be spent, asked for {amount_sat} sat and the mining fee; {reserve_sat} sat are kept to close channels"
    )]
    Reserved {
        /// Amount.
        amount_sat: u64,
        /// Satoshis that can be spent.
        spendable_sat: u64,
        /// Satoshis that are kept.
        reserve_sat: u64,
    },
    /// The wallet cannot build the transaction.
    #[error(transparent)]
    Wallet(#[from] CannotFund),
    /// The mempool refused the transaction.
    #[error("the transaction was refused by the chain: {0}")]
    Refused(String),
    /// The payment could not be put on record. It was not broadcast.
    #[error("the payment could not be stored: {0}")]
    NotStored(#[from] bitcoin::io::Error),
}

impl Node {
    /// A new address of the on-chain wallet.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub fn address(&self) -> bitcoin::io::Result<Address> {
        self.inner.ldk.wallet().fresh_address()
    }

    /// Sends coins to an address, at this feerate or the usual one, and returns the id of the transaction. Some satoshis are
    /// kept for each channel with anchors, to confirm its closing transaction.
    ///
    /// # Errors
    ///
    /// The coins do not suffice, or the address is of another network.
    pub fn send(
        &self,
        address: &Address<NetworkUnchecked>,
        amount_sat: u64,
        fee_rate: Option<FeeRate>,
    ) -> Result<Txid, CannotSend> {
        let network = self.inner.network;
        let script = match address.clone().require_network(network) {
            Ok(address) => address.script_pubkey(),
            Err(_) => return Err(CannotSend::WrongNetwork(network)),
        };
        let least_sat = script.minimal_non_dust().to_sat();
        if amount_sat < least_sat {
            return Err(CannotSend::TooSmall { amount_sat, least_sat });
        }
        let (wallet, broadcaster) = (self.inner.ldk.wallet(), self.inner.ldk.broadcaster());
        let reserve_sat = self.reserve_sat();
        let spendable_sat = wallet.spendable_sat().saturating_sub(reserve_sat);
        let reserved = CannotSend::Reserved { amount_sat, spendable_sat, reserve_sat };
        if amount_sat > spendable_sat {
            return Err(reserved);
        }
        let fee_rate = fee_rate.unwrap_or_else(|| broadcaster.fee_rate());
        let tx = wallet.pay(&script, amount_sat, fee_rate)?;
        let inputs: Vec<_> = tx.input.iter().map(|input| input.previous_output).collect();
        let fee_sat = wallet.mining_fee_sat(&tx);
        if amount_sat.saturating_add(fee_sat) > spendable_sat {
            wallet.release(&inputs);
            return Err(reserved);
        }
        let txid = tx.compute_txid();
        let payment = Payment {
            id: txid.to_string(),
            kind: PaymentKind::SentOnchain,
            status: PaymentStatus::Succeeded,
            amount_msat: Some(amount_sat.saturating_mul(1_000)),
            fee_msat: Some(fee_sat.saturating_mul(1_000)),
            description: address.clone().assume_checked().to_string(),
            created_at: now(),
            expires_at: None,
        };
        if let Err(why) = self.inner.state.history.put(payment.clone()) {
            wallet.release(&inputs);
            return Err(why.into());
        }
        if let Broadcast::Refused(why) = broadcaster.broadcast(&tx) {
            wallet.release(&inputs);
            self.inner.state.history.put(Payment { status: PaymentStatus::Failed, ..payment })?;
            return Err(CannotSend::Refused(why));
        }
        Ok(txid)
    }

    /// Satoshis that are kept to confirm the commitment transactions of channels with anchors.
    pub(super) fn reserve_sat(&self) -> u64 {
        let channels = self.inner.ldk.channel_manager().list_channels();
        let with_anchors = channels.iter().filter(|channel| {
            channel.channel_type.as_ref().is_some_and(|kind| kind.supports_anchors_zero_fee_htlc_tx())
        });
        u64::try_from(with_anchors.count()).unwrap_or(u64::MAX).saturating_mul(RESERVE_SAT).min(MOST_RESERVE_SAT)
    }
}

/// Kept for each channel with anchors.
const RESERVE_SAT: u64 = 10_000;
/// Kept at the most: many channels are not closed by force at once.
const MOST_RESERVE_SAT: u64 = 100_000;
