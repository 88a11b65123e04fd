//! Choice among several LSPs.

use alloc::boxed::Box;

use lsps_types::PeerId;

use crate::jit_receive::Choice;

/// The best terms of one LSP within the wallet's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The LSP.
    pub lsp: PeerId,
    /// The terms, and their fee on the whole payment.
    pub choice: Choice,
    /// Number of recent times that the LSP offered terms and then did not sell on them; 0 is best.
    pub broken: u32,
}

/// Chooses the LSP to buy from. The offers are in the order in which the LSPs are configured.
pub trait Select: Send + Sync {
    /// Index of the offer to take; `None` takes none. `offers` is never empty.
    fn select(&self, offers: &[Offer]) -> Option<usize>;
}

/// Chooses the lowest fee among the offers that are valid as long as requested, from the LSPs with the fewest broken
/// offers; of equal ones the LSP configured first.
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
