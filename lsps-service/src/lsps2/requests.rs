//! `lsps2.get_info` and `lsps2.buy`.

use alloc::{string::String, vec::Vec};

use lsps_types::codes::{BuyError, GetInfoError};
use lsps_types::jsonrpc::ErrorObject;
use lsps_types::lsps2::{Bought, Buy, GetInfo, Menu, NotPromised, Unpromised};
use lsps_types::{DateTime, PeerId, Scid, Timestamp};

use crate::limits::Limits;
use crate::lsps2::jit_channel::{JitChannel, Terms};
use crate::policy::{BuyRefusal, BuyRequest, MenuRefusal, MenuRequest, OfferTerms, Sale, Trust};
use crate::service::Service;
use crate::tape::Turn;

/// Token for which a promise was made, if the promise is valid.
pub(crate) type ForToken = Result<Option<String>, NotPromised>;

impl Service {
    /// The terms that the policy offers.
    pub(crate) fn menu_for(&self, client: PeerId, request: &GetInfo) -> Result<Vec<OfferTerms>, MenuRefusal> {
        let token = request.token.as_deref();
        let (history, token_uses) = (self.offers.index().history(client), self.token_uses(token));
        self.around
            .policy
            .menu(&MenuRequest { client, token, token_uses, history, now: self.around.now }, &self.around.facts)
    }

    /// Answers a request for a menu. Spec: LSPS2 §1.
    pub(crate) fn get_info(
        &self,
        client: PeerId,
        request: &GetInfo,
        verdict: Result<Vec<OfferTerms>, MenuRefusal>,
    ) -> Result<Menu, ErrorObject> {
        let token = request.token.as_deref();
        let offers = verdict.map_err(|refusal| match refusal {
            MenuRefusal::Token => ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken),
            MenuRefusal::Client(why) => ErrorObject::client_rejected(&why),
            MenuRefusal::Later => ErrorObject::internal(),
        })?;
        let turn = self.turn_of_offer(client);
        let promise = |mut terms: OfferTerms| {
            terms.valid_until = turn.map_or(terms.valid_until, |turn| turn.min(terms.valid_until));
            self.promises.issue(unpromised(terms), client, token)
        };
        let entries = offers.into_iter().map(promise).collect::<Result<_, _>>();
        // A token that leaves no room for a promise was never given out.
        entries.map(Menu::rising).map_err(|_| ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken))
    }

    /// The token that these terms were promised for, if they were promised.
    pub(crate) fn promised(&self, client: PeerId, request: &Buy) -> ForToken {
        self.promises.verify(&request.opening_fee_params, client)
    }

    /// The policy's decision on a buy.
    pub(crate) fn verdict_on(&self, client: PeerId, request: &Buy, promised: &ForToken) -> Result<Sale, BuyRefusal> {
        let token = promised.as_ref().ok().and_then(Option::as_deref);
        let (history, token_uses) = (self.offers.index().history(client), self.token_uses(token));
        let payment_size = request.payment_size_msat;
        let ask = BuyRequest { client, token, token_uses, payment_size, history, now: self.around.now };
        self.around.policy.may_buy(&ask, &self.around.facts)
    }

    /// Checks of a buy that need no policy: promise, time and amounts.
    pub(crate) fn may_be_asked(&self, request: &Buy, promised: ForToken) -> Result<Option<String>, ErrorObject> {
        let token = promised.map_err(|_| ErrorObject::of_method(BuyError::InvalidOpeningFeeParams))?;
        request.fits_its_terms(self.around.now).map_err(ErrorObject::of_method)?;
        Ok(token)
    }

    /// Answers a buy. Spec: LSPS2 §2. The checks come in this order: client, promise and time, amounts, liquidity.
    pub(crate) fn buy(
        &mut self,
        client: PeerId,
        request: &Buy,
        promised: ForToken,
        verdict: Result<Sale, BuyRefusal>,
    ) -> Result<Bought, ErrorObject> {
        if let Err(BuyRefusal::Client(why)) = &verdict {
            return Err(ErrorObject::client_rejected(why));
        }
        if verdict == Err(BuyRefusal::Token) {
            return Err(ErrorObject::of_method(BuyError::InvalidOpeningFeeParams));
        }
        let token = self.may_be_asked(request, promised)?;
        let sale = verdict.map_err(|_| ErrorObject::of_method(BuyError::PaymentSizeTooLarge))?;
        if !self.makes_room_for_offer(client) {
            return Err(ErrorObject::client_rejected("too many offers are not paid for yet"));
        }
        if self.turn_of_offer(client).is_some_and(|turn| request.opening_fee_params.valid_until.instant() > turn) {
            // The terms were promised before strangers used half of their share. Terms that are promised now are valid
            // for minutes.
            return Err(ErrorObject::of_method(BuyError::InvalidOpeningFeeParams));
        }
        if sale.trust == Trust::ClientTrustsLsp && self.owes_for_a_channel(client) {
            return Err(ErrorObject::client_rejected("the fee of a channel that you used is not paid yet"));
        }
        self.may_be_sold_to(client)?;
        let scid = self.unused_scid().ok_or_else(ErrorObject::internal)?;
        let client_trusts_lsp = sale.trust == Trust::ClientTrustsLsp;
        self.insert(JitChannel::new(scid, client, token, self.terms(request, sale)));
        Ok(Bought {
            jit_channel_scid: scid,
            lsp_cltv_expiry_delta: self.around.config.cltv_expiry_delta,
            client_trusts_lsp,
        })
    }

    /// Makes room for an offer. Node ids cost nothing, so strangers leave room for clients that have a channel or
    /// bought one. Unpaid offers that are over are removed first.
    fn makes_room_for_offer(&mut self, client: PeerId) -> bool {
        let limits = &self.around.config.limits;
        let most = if self.is_known(client) { limits.offers } else { Limits::of_strangers(limits.offers) };
        let per_client = limits.offers_per_client;
        while self.unpaid_offers() >= most {
            let Some(over) = self.offers.index().first_to_give_way(self.around.now) else { return false };
            self.forget_offer(over);
        }
        self.offers.index().history(client).unpaid < per_client
    }

    fn unpaid_offers(&self) -> usize {
        self.offers.len().saturating_sub(self.offers.index().paid())
    }

    /// End of an offer that is sold to this client now, if it is a stranger and strangers use half of their share.
    fn turn_of_offer(&self, client: PeerId) -> Option<Timestamp> {
        let limits = &self.around.config.limits;
        let is_crowded = !self.is_known(client) && self.unpaid_offers() >= Limits::crowd(limits.offers);
        is_crowded.then(|| self.around.now + limits.turn_of_offer())
    }

    /// Whether a channel on trust was published for this client before its fee was paid. A node forwards over any
    /// channel of the client, so a payment of an accomplice can cause that: once, until the offer is removed.
    pub(super) fn owes_for_a_channel(&self, client: PeerId) -> bool {
        let mut unpaid = self.offers.index().unpaid_of(client).filter_map(|id| self.offers.get(&id));
        unpaid.any(|offer| offer.was_used && offer.terms.client_trusts_lsp)
    }

    fn terms(&self, request: &Buy, sale: Sale) -> Terms {
        let params = &request.opening_fee_params;
        Terms {
            payment_size: request.payment_size_msat,
            fee: params.fee_terms(),
            valid_until: params.valid_until.instant(),
            max_client_to_self_delay: params.max_client_to_self_delay,
            min_lifetime: params.min_lifetime,
            client_trusts_lsp: sale.trust == Trust::ClientTrustsLsp,
            htlc_minimum: self.around.config.htlc_minimum,
            remember_until: sale.remember_until,
        }
    }

    /// Draws SCIDs until one is new, as sources do not remember which they gave.
    fn unused_scid(&mut self) -> Option<Scid> {
        for _ in 0..self.around.config.limits.scid_draws {
            let scid = self.scids.draw();
            self.on_tape(|| Turn::Drew(scid));
            if !self.offers.contains_key(&scid) {
                return Some(scid);
            }
        }
        None
    }
}

fn unpromised(terms: OfferTerms) -> Unpromised {
    Unpromised {
        min_fee_msat: terms.min_fee,
        proportional: terms.proportional,
        valid_until: DateTime::from(terms.valid_until),
        min_lifetime: terms.min_lifetime.0,
        max_client_to_self_delay: terms.max_client_to_self_delay.0,
        min_payment_size_msat: terms.min_payment_size,
        max_payment_size_msat: terms.max_payment_size,
    }
}
