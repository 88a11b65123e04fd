//! Reactions to a node's own events, in any role: it funds channels, bumps fees, and sweeps spendable outputs.

use std::sync::Arc;

use bitcoin::secp256k1::Secp256k1;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::events::Event;
use lightning::events::bump_transaction::sync::{BumpTransactionEventHandlerSync, WalletSync};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::sign::{OutputSpender, SpendableOutputDescriptor};

use super::Node;
use super::broadcast::SOON;

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Handles an event that no other handler took.
    ///
    /// # Errors
    ///
    /// The wallet or LDK refuses; the error is a text.
    pub fn chores(&self, event: &Event) -> Result<(), String> {
        match event {
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let rate = self.chain.fee_rate_within(SOON);
                let tx = self.wallet.pay(output_script, *channel_value_satoshis, rate).map_err(|e| e.to_string())?;
                let funded =
                    self.manager.funding_transaction_generated(*temporary_channel_id, *counterparty_node_id, tx);
                funded.map_err(|e| format!("{e:?}"))
            }
            Event::BumpTransaction(bump) => {
                let coins = Arc::new(WalletSync::new(Arc::clone(&self.wallet), Arc::clone(&self.logger)));
                let (broadcaster, keys) = (Arc::clone(&self.broadcaster), Arc::clone(&self.keys));
                let logger = Arc::clone(&self.logger);
                BumpTransactionEventHandlerSync::new(broadcaster, coins, keys, logger).handle_event(bump);
                Ok(())
            }
            Event::SpendableOutputs { outputs, .. } => self.sweep(outputs),
            _ => Ok(()),
        }
    }

    /// Sweeps outputs to the wallet, except those that pay to it already.
    fn sweep(&self, outputs: &[SpendableOutputDescriptor]) -> Result<(), String> {
        let to_sweep = outputs.iter().filter(|o| !matches!(o, SpendableOutputDescriptor::StaticOutput { .. }));
        let to_sweep: Vec<_> = to_sweep.collect();
        if to_sweep.is_empty() {
            return Ok(());
        }
        let rate = self.chain.get_est_sat_per_1000_weight(ConfirmationTarget::OutputSpendingFee);
        let (home, secp) = (self.wallet.script(), Secp256k1::new());
        let tx = self.keys.spend_spendable_outputs(&to_sweep, vec![], home, rate, None, &secp);
        let tx = tx.map_err(|()| "what a closed channel left is not worth a transaction".to_owned())?;
        self.broadcaster.broadcast_transactions(&[&tx]);
        Ok(())
    }
}
