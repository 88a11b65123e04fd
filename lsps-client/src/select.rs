//! Choosing among several LSPs.

use alloc::boxed::Box;

use lsps_types::PeerId;

use crate::jit_receive::Choice;

/// The best terms of one LSP, within the wallet's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whose.
    pub lsp: PeerId,
    /// The terms, and their whole fee on the payment.
    pub choice: Choice,
    /// How often the LSP lately offered terms and then did not sell on them. Higher is worse; 0 is as it should be.
    pub broken: u32,
}

/// Decides from whom to buy. The offers come in the order in which the LSPs are configured, whenever they arrived.
pub trait Select: Send + Sync {
    /// The index of the offer to take; `None` takes none. At least one is there.
    fn select(&self, offers: &[Offer]) -> Option<usize>;
}

/// The cheapest whole fee of those that last as long as wanted, unless they broke their word more often than others; of
/// equal ones the LSP configured first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cheapest;

impl Select for Cheapest {
    fn select(&self, offers: &[Offer]) -> Option<usize> {
        let rank = |offer: &Offer| (offer.broken, !offer.choice.lasts, offer.choice.fee);
        offers.iter().enumerate().min_by_key(|(_, offer)| rank(offer)).map(|(index, _)| index)
    }
}

impl<S: Select + ?Sized> Select for Box<S> {
    fn select(&self, offers: &[Offer]) -> Option<usize> {
        (**self).select(offers)
    }
}
