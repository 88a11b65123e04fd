//! Asking several LSPs at once for a JIT channel.

use core::fmt;
use std::collections::BTreeMap;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use lsps_types::PeerId;
use lsps_types::codes::{BuyError, GetInfoError, NoError};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps2::GetInfo;

use super::{Failed, Session};
use crate::jit_receive::{CannotInvoice, NoOffer, ReceiveRequest, Rules, choose};
use crate::select::{Offer, Select};

/// An LSP to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The LSP.
    pub lsp: PeerId,
    /// Discount code or the like from the LSP.
    pub token: Option<String>,
    /// The wallet's rules for this LSP.
    pub rules: Rules,
    /// Whether the LSP is known to serve LSPS2; if not, it is asked first.
    pub serves_lsps2: bool,
    /// Number of recent times that the LSP offered terms and then did not sell on them; 0 is best.
    pub broken: u32,
}

/// Results of asking several LSPs.
#[derive(Debug, Default)]
pub struct Shopped {
    /// Best terms of each LSP that has any within the limits, in the order asked.
    pub offers: Vec<Offer>,
    /// Reasons of the others.
    pub failures: BTreeMap<PeerId, WhyNot>,
}

/// Reason for which an LSP makes no offer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WhyNot {
    /// The request for its protocols was not sent, not answered or refused.
    #[error("asking what it serves: {0}")]
    Protocols(#[source] Failed<NoError>),
    /// The LSP does not serve LSPS2.
    #[error("it does not serve LSPS2")]
    NotServed,
    /// The request for its terms was not sent, not answered or refused.
    #[error("asking for its terms: {0}")]
    GetInfo(#[source] Failed<GetInfoError>),
    /// None of its terms is within the limits.
    #[error(transparent)]
    NoOffer(#[from] NoOffer),
    /// The LSP offered terms, and then did not answer or refused to sell on them.
    #[error("buying the channel: {0}")]
    Buy(#[source] Failed<BuyError>),
    /// The LSP offered terms, but the channel that it sold on them is not acceptable.
    #[error(transparent)]
    Terms(#[from] CannotInvoice),
}

/// Error: no LSP sells a channel within the limits.
#[derive(Debug)]
pub struct NobodySells {
    /// Reason of each LSP that made no offer. LSPs whose offer `select` did not take are not in the map.
    pub failures: BTreeMap<PeerId, WhyNot>,
}

impl core::error::Error for NobodySells {}

impl fmt::Display for NobodySells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no provider makes an offer within the limits")?;
        for (n, why) in self.failures.values().enumerate() {
            write!(f, "{} {why}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Shopped {
    /// The offer to take, and the reasons of the LSPs without one.
    ///
    /// # Errors
    ///
    /// There is no offer, or `select` takes none.
    pub fn take(mut self, select: &dyn Select) -> Result<(Offer, BTreeMap<PeerId, WhyNot>), NobodySells> {
        match self.take_next(select) {
            Some(offer) => Ok((offer, self.failures)),
            None => Err(NobodySells { failures: self.failures }),
        }
    }

    /// Removes and returns the offer to try next. `None`: there is none, or `select` takes none.
    pub fn take_next(&mut self, select: &dyn Select) -> Option<Offer> {
        let index = if self.offers.is_empty() { None } else { select.select(&self.offers) };
        index.filter(|index| *index < self.offers.len()).map(|index| self.offers.remove(index))
    }
}

impl Session {
    /// Asks all LSPs at once, and waits for the slowest, though no longer than `patience` for each request.
    pub async fn shop(&self, asks: &[Ask], request: &ReceiveRequest, patience: Duration) -> Shopped {
        let answers = asks.iter().map(|ask| self.ask(ask, request, patience)).collect();
        let mut shopped = Shopped::default();
        for (ask, answer) in asks.iter().zip(self.all(answers).await) {
            match answer {
                Ok(offer) => shopped.offers.push(offer),
                Err(why) => drop(shopped.failures.insert(ask.lsp, why)),
            }
        }
        shopped
    }

    async fn ask(&self, ask: &Ask, request: &ReceiveRequest, patience: Duration) -> Result<Offer, WhyNot> {
        let lsp = self.lsp(ask.lsp);
        if !ask.serves_lsps2 {
            let served = lsp.call_within(&ListProtocols {}, patience).await.map_err(WhyNot::Protocols)?;
            if !served.protocols.contains(&LSPS2) {
                return Err(WhyNot::NotServed);
            }
        }
        let menu = lsp.call_within(&GetInfo { token: ask.token.clone() }, patience).await.map_err(WhyNot::GetInfo)?;
        let now = self.with(|_, now| now);
        Ok(Offer { lsp: ask.lsp, choice: choose(&menu, request, &ask.rules, now)?, broken: ask.broken })
    }
}

const LSPS2: u16 = 2;
