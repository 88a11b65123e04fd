//! `lsps2.get_info` and `lsps2.buy`.

use lsps_types::codes::{BuyError, GetInfoError};
use lsps_types::jsonrpc::ErrorObject;
use lsps_types::lsps2::{Bought, Buy, GetInfo, Menu, Unpromised};
use lsps_types::{DateTime, PeerId, Scid};

use crate::lsps2::jit_channel::{JitChannel, Terms};
use crate::policy::{BuyRefusal, BuyRequest, MenuRefusal, MenuRequest, OfferTerms, Trust};
use crate::service::Service;

impl Service {
    /// Spec: LSPS2 §1.
    pub(crate) fn get_info(&self, client: PeerId, request: &GetInfo) -> Result<Menu, ErrorObject> {
        let token = request.token.as_deref();
        let ask = MenuRequest { client, token, now: self.now };
        let offers = self.policy.menu(&ask, &self.facts).map_err(|refusal| match refusal {
            MenuRefusal::Token => ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken),
            MenuRefusal::Client(why) => ErrorObject::client_rejected(&why),
        })?;
        let promise = |terms| self.promises.issue(unpromised(terms), client, token);
        let entries = offers.into_iter().map(promise).collect::<Result<_, _>>();
        // A token that leaves no room for a promise is one we never gave out.
        entries.map(Menu::rising).map_err(|_| ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken))
    }

    /// Spec: LSPS2 §2. Checked in this order: client, promise and time, amounts, liquidity.
    pub(crate) fn buy(&mut self, client: PeerId, request: &Buy) -> Result<Bought, ErrorObject> {
        let params = &request.opening_fee_params;
        let verified = self.promises.verify(params, client);
        let live_offers = self.index.of_client(client).count();
        let too_many =
            live_offers >= self.config.limits.offers_per_client || self.offers.len() >= self.config.limits.offers;
        let ask = BuyRequest {
            client,
            token: verified.as_ref().ok().and_then(Option::as_deref),
            payment_size: request.payment_size_msat,
            live_offers,
            now: self.now,
        };
        let verdict = self.policy.may_buy(&ask, &self.facts);
        if let Err(BuyRefusal::Client(why)) = &verdict {
            return Err(ErrorObject::client_rejected(why));
        }
        if verified.is_err() || params.valid_until.instant() < self.now || verdict == Err(BuyRefusal::Token) {
            return Err(ErrorObject::of_method(BuyError::InvalidOpeningFeeParams));
        }
        if let Some(size) = request.payment_size_msat {
            params.fee_terms().fee_on(size).map_err(ErrorObject::of_method)?;
        }
        let trust = verdict.map_err(|_| ErrorObject::of_method(BuyError::PaymentSizeTooLarge))?;
        if too_many {
            return Err(ErrorObject::client_rejected("too many offers are open"));
        }
        let scid = self.unused_scid().ok_or_else(ErrorObject::internal)?;
        let client_trusts_lsp = trust == Trust::ClientTrustsLsp;
        self.insert(JitChannel::new(scid, client, self.terms(request, client_trusts_lsp)));
        Ok(Bought { jit_channel_scid: scid, lsp_cltv_expiry_delta: self.config.cltv_expiry_delta, client_trusts_lsp })
    }

    fn terms(&self, request: &Buy, client_trusts_lsp: bool) -> Terms {
        let params = &request.opening_fee_params;
        Terms {
            payment_size: request.payment_size_msat,
            fee: params.fee_terms(),
            valid_until: params.valid_until.instant(),
            max_client_to_self_delay: params.max_client_to_self_delay,
            min_lifetime: params.min_lifetime,
            client_trusts_lsp,
            htlc_minimum: self.config.htlc_minimum,
        }
    }

    /// Sources of SCIDs do not remember what they gave, so it is drawn until one is new.
    fn unused_scid(&mut self) -> Option<Scid> {
        let draws = self.config.limits.scid_draws;
        (0..draws).map(|_| self.scids.draw()).find(|scid| !self.offers.contains_key(scid))
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
