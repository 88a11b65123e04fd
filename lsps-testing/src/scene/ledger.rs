//! Balances around an order of a channel, and the check that they add up.

use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use lsps_client::order::Lease;
use lsps_node::node::within;
use lsps_types::Sat;

use super::{Balance, Error, Scene, shares};

/// Balances of wallet and LSP at some height.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    /// Balance of the wallet.
    pub wallet: Balance,
    /// Balance of the LSP.
    pub lsp: Balance,
    height: u32,
}

impl Ledger {
    /// Reads the balances from the nodes and the chain.
    ///
    /// # Errors
    ///
    /// An HTLC is in flight, or two readings of a balance differ.
    pub fn read(scene: &Scene) -> Result<Self, Error> {
        let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
        let [from_wallet, at_lsp] = shares(lsp)?;
        let [from_lsp, at_wallet] = shares(wallet)?;
        Ok(Self {
            wallet: Balance { coins_sat: wallet.wallet().balance_sat(), channels_msat: from_wallet + at_wallet },
            lsp: Balance { coins_sat: lsp.wallet().balance_sat(), channels_msat: at_lsp + from_lsp },
            height: scene.chain.height(),
        })
    }

    /// Checks that the channel is open and paid for: the LSP gained its fee less the cost of the funding, and the rest
    /// of the difference are on-chain fees.
    ///
    /// # Errors
    ///
    /// The channel cannot be used within a minute, or a balance is wrong then.
    pub async fn check_done(&self, scene: &Scene, fee: Sat, lease: &Lease) -> Result<(), Error> {
        let mut txid = lease.funding.txid.0;
        txid.reverse();
        let funding = scene.chain.fee_sat(&Txid::from_byte_array(txid)).ok_or("the funding is not on the chain")?;
        let manager = scene.wallet.node.channel_manager();
        if !within(|| manager.list_usable_channels().iter().any(|channel| !channel.is_outbound)).await {
            return Err("the channel cannot be used".into());
        }
        self.check(scene, gain(fee.0) - gain(funding)).await
    }

    /// Checks that the balances are as before, less the on-chain fees of the payment and the refund.
    ///
    /// # Errors
    ///
    /// A balance is wrong after a minute.
    pub async fn check_refunded(&self, scene: &Scene) -> Result<(), Error> {
        self.check(scene, 0).await
    }

    async fn check(&self, scene: &Scene, lsp_gains_sat: i128) -> Result<(), Error> {
        if !within(|| Self::read(scene).is_ok_and(|after| self.differs(scene, &after, lsp_gains_sat).is_none())).await {
            let after = Self::read(scene)?;
            return Err(self.differs(scene, &after, lsp_gains_sat).unwrap_or_default().into());
        }
        Ok(())
    }

    fn differs(&self, scene: &Scene, after: &Self, lsp_gains_sat: i128) -> Option<String> {
        let miners = gain(self.mined_since(scene));
        let gained = |before: Balance, after: Balance| gain(after.total_msat()) - gain(before.total_msat());
        let (lsp, wallet) = (gained(self.lsp, after.lsp), gained(self.wallet, after.wallet));
        let has_to_be = |who: &str, is: i128, should: i128| {
            (is != should * 1_000).then(|| format!("the {who} gained {is} msat and should have {should} sat"))
        };
        let of_lsp = has_to_be("LSP", lsp, lsp_gains_sat);
        of_lsp.or_else(|| has_to_be("wallet", wallet, -lsp_gains_sat - miners))
    }

    /// On-chain fees of all transactions since this ledger was read, in satoshis.
    fn mined_since(&self, scene: &Scene) -> u64 {
        let blocks = (self.height + 1..=scene.chain.height()).filter_map(|height| scene.chain.block_at(height));
        let fees = blocks.flat_map(|block| block.txdata).filter(|tx| !tx.is_coinbase());
        fees.filter_map(|tx| scene.chain.fee_sat(&tx.compute_txid())).sum()
    }
}

fn gain(amount: u64) -> i128 {
    i128::from(amount)
}
