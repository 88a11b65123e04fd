//! Effects of one payment on all balances, and the check that they add up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lightning::events::Event;
use lsps_node::node::within;

use super::{Balances, Error, Handler, Scene, Trio, Who};

/// Facts of a payment that the nodes reported.
#[derive(Default)]
pub struct Seen {
    facts: Mutex<Facts>,
}

/// Content of [`Seen`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Amount that the payer paid in all, and the routing fee in it; in millisatoshis.
    pub sent: Option<(u64, u64)>,
    /// Whether the payment failed.
    pub has_failed: bool,
    /// Amount that reached the wallet, and the fee that was kept on the way; in millisatoshis.
    pub received: Option<(u64, u64)>,
    /// Number of parts that the LSP intercepted.
    pub intercepted: usize,
    /// Number of transactions in the mempool when the wallet was asked to claim.
    pub unconfirmed_at_claim: Option<usize>,
}

impl Seen {
    /// The facts so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        *self.lock()
    }

    /// Clears the facts, before another payment.
    pub fn forget(&self) {
        *self.lock() = Facts::default();
    }

    pub(super) fn note(&self, who: Who, event: &Event, in_mempool: impl Fn() -> usize) {
        let mut facts = self.lock();
        match (who, event) {
            (Who::Payer, Event::PaymentSent { amount_msat, fee_paid_msat, .. }) => {
                let routing = fee_paid_msat.unwrap_or_default();
                facts.sent = Some((amount_msat.unwrap_or_default() + routing, routing));
            }
            (Who::Payer, Event::PaymentFailed { .. }) => facts.has_failed = true,
            (Who::Lsp, Event::HTLCIntercepted { .. }) => facts.intercepted += 1,
            (Who::Wallet, Event::PaymentClaimable { .. }) => facts.unconfirmed_at_claim = Some(in_mempool()),
            (Who::Wallet, Event::PaymentClaimed { amount_msat, htlcs, .. }) => {
                let kept = htlcs.iter().map(|htlc| htlc.counterparty_skimmed_fee_msat).sum();
                facts.received = Some((*amount_msat, kept));
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        // Each number is set at once.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A completed payment; amounts in millisatoshis.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Balances before the payment.
    pub before: Balances,
    /// Balances after it, with the funding of the wallet's channel confirmed.
    pub after: Balances,
    /// Amount that the payer paid, without routing fees.
    pub paid: u64,
    /// Routing fee.
    pub routing: u64,
    /// Amount that the wallet received.
    pub received: u64,
    /// Fee that the LSP kept, as announced in the parts.
    pub kept: u64,
    /// Fee that the LSP had promised.
    pub promised: u64,
    /// On-chain fee that the LSP paid for the funding.
    pub mining: u64,
}

impl Scene {
    /// See [`Trio::settle`].
    ///
    /// # Errors
    ///
    /// The payment fails, does not end within a minute, or a balance is wrong.
    pub async fn settle(&self, before: Balances, promised: u64) -> Result<Account, Error> {
        let settled = self.trio().settle(before, promised).await;
        settled.map_err(|why| format!("{why}; what the wallet bought: {:?}", self.wallet.host.purchases()).into())
    }

    /// See [`Trio::mining_msat`].
    #[must_use]
    pub fn mining_msat(&self) -> u64 {
        self.trio().mining_msat()
    }
}

impl<L: Handler, W: Handler> Trio<'_, L, W> {
    /// Waits for the end of the payment, confirms the funding of the wallet's channel, and checks all balances.
    ///
    /// # Errors
    ///
    /// The payment fails, does not end within a minute, or a balance is wrong.
    pub async fn settle(&self, before: Balances, promised: u64) -> Result<Account, Error> {
        let facts = || self.seen.facts();
        let over = within(|| facts().has_failed || (facts().sent.is_some() && facts().received.is_some())).await;
        if facts().has_failed {
            return Err(format!("the payment failed: {:?}", self.payer.logger().failure_codes()).into());
        }
        let (Facts { sent: Some((total, routing)), received: Some((received, kept)), .. }, true) = (facts(), over)
        else {
            return Err("the payment does not end".into());
        };
        let fundings = || self.wallet.channel_manager().list_channels().into_iter().filter_map(|c| c.funding_txo);
        if !within(|| fundings().all(|funding| self.chain.transaction(&funding.txid).is_some())).await {
            return Err("the funding of the wallet's channel is not broadcast".into());
        }
        let mining = self.mining_msat();
        self.chain.mine(1);
        self.are_current().await?;
        if !within(|| self.balances().is_ok()).await {
            return Err(format!("the nodes do not come to rest: {:?}", self.balances().err()).into());
        }
        let (after, paid) = (self.balances()?, total - routing);
        let account = Account { before, after, paid, routing, received, kept, promised, mining };
        account.check()?;
        Ok(account)
    }

    /// On-chain fees of the fundings of the wallet's channels, in millisatoshis.
    #[must_use]
    pub fn mining_msat(&self) -> u64 {
        let channels = self.wallet.channel_manager().list_channels();
        let fundings = channels.into_iter().filter_map(|channel| channel.funding_txo);
        fundings.filter_map(|funding| self.chain.fee_sat(&funding.txid)).sum::<u64>() * 1_000
    }
}

impl Account {
    /// Checks that the events of the nodes, their balances and the promise agree to the millisatoshi.
    fn check(&self) -> Result<(), String> {
        let Self { before, after, paid, routing, received, kept, promised, mining } = *self;
        let gained = |before: u64, after: u64| i128::from(after) - i128::from(before);
        let has_to_be = |what: &str, is: i128, should: i128| {
            if is == should { Ok(()) } else { Err(format!("{what} is {is} msat and should be {should} msat")) }
        };
        let sum = i128::from;
        let payer = gained(before.payer.total_msat(), after.payer.total_msat());
        let wallet = gained(before.wallet.total_msat(), after.wallet.total_msat());
        let lsp = gained(before.lsp.total_msat(), after.lsp.total_msat());
        has_to_be("what the LSP kept", sum(kept), sum(promised))?;
        has_to_be("what was paid", sum(paid), sum(received) + sum(kept))?;
        has_to_be("the payer's gain", payer, -sum(paid) - sum(routing))?;
        has_to_be("the wallet's gain", wallet, sum(received))?;
        has_to_be("the LSP's gain", lsp, sum(kept) + sum(routing) - sum(mining))
    }
}
