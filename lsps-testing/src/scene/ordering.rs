//! A scene in which the wallet orders a channel of the LSP.

use std::time::Duration;

use bitcoin::{Address, Network, OutPoint};
use lsps_client::order::Polling;
use lsps_service::{AmountRule, OrderPolicy, StandardPolicy};
use lsps_transport_ldk::ports::OnchainWallet as _;
use lsps_types::Sat;
use lsps_types::lsps1::CreateOrder;

use super::{Error, SPARE_SAT, Scene, Script, open_channels};

/// Coins and channels that an order needs.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    /// Balance of the LSP in the channel.
    pub lsp: Sat,
    /// Initial balance of the wallet in the channel.
    pub client: Sat,
    /// Largest fee that the wallet pays.
    pub fee: Sat,
    /// Whether the wallet has a channel to the LSP already, over which it can pay.
    pub has_channel: bool,
}

impl Script {
    /// Settings in which the LSP sells channels and accepts on-chain payments with one confirmation, and the wallet
    /// asks about its orders often.
    #[must_use]
    pub fn of_orders() -> Self {
        let orders = OrderPolicy {
            onchain: true,
            confirmations: vec![AmountRule { up_to_sat: u64::MAX, confirmations: 1 }],
            ..OrderPolicy::default()
        };
        Self {
            payer_channels: vec![],
            policy: StandardPolicy { orders: Some(orders), ..StandardPolicy::default() },
            polling: Polling {
                first: BLOCK / 2,
                longest: BLOCK,
                slow: BLOCK,
                seen_within: BLOCK * 20,
                ..Polling::default()
            },
            ..Self::default()
        }
    }
}

impl Scene {
    /// Funds the LSP to open the channel, and the wallet to pay for it by each method, twice.
    ///
    /// # Errors
    ///
    /// The wallet's channel does not open.
    pub async fn stock_for_order(&self, stock: &Stock) -> Result<(), Error> {
        let (lsp, wallet) = (&self.lsp.node, &self.wallet.node);
        let price = stock.client.0.saturating_add(stock.fee.0);
        let capacity = stock.client.0.saturating_add(stock.lsp.0);
        self.chain.give(&lsp.wallet().script(), capacity.saturating_add(SPARE_SAT));
        self.chain.give(&wallet.wallet().script(), price.saturating_mul(2).saturating_add(SPARE_SAT));
        self.trio().are_current().await?;
        if stock.has_channel {
            let size = price.saturating_add(price / 20).saturating_add(SPARE_SAT / 2);
            open_channels(&self.chain, wallet, lsp, &[size]).await?;
        }
        Ok(())
    }

    /// An order of a channel for a month, to be used at once.
    ///
    /// # Panics
    ///
    /// Never: the wallet's script has an address.
    #[must_use]
    pub fn order(&self, lsp_balance_sat: Sat, client_balance_sat: Sat) -> CreateOrder {
        let refund = Address::from_script(&self.wallet.node.wallet().script(), Network::Regtest).expect("SegWit");
        CreateOrder {
            lsp_balance_sat,
            client_balance_sat,
            required_channel_confirmations: 0,
            funding_confirms_within_blocks: 6,
            channel_expiry_blocks: 4_320,
            token: None,
            refund_onchain_address: Some(refund.to_string().parse().expect("an address")),
            announce_channel: false,
        }
    }

    /// Reserves all coins of the LSP, so that an accepted order finds none. Release them to make them available again.
    pub fn lsp_spends_its_coins(&self) -> Vec<OutPoint> {
        let wallet = self.lsp.node.wallet();
        let coins = wallet.outpoints();
        wallet.lock(&coins);
        coins
    }

    /// Waits for a future, and mines transactions from the mempool meanwhile.
    ///
    /// # Errors
    ///
    /// The future takes longer than a minute.
    pub async fn while_blocks_come<T>(&self, over: impl Future<Output = T>, on_block: impl Fn()) -> Result<T, Error> {
        let blocks = async {
            loop {
                tokio::time::sleep(BLOCK).await;
                if !self.chain.mempool().is_empty() {
                    self.chain.mine(1);
                    on_block();
                }
            }
        };
        tokio::select! {
            outcome = over => Ok(outcome),
            () = blocks => unreachable!("blocks come for ever"),
            () = tokio::time::sleep(PATIENCE) => Err("it does not end".into()),
        }
    }
}

const BLOCK: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(60);
