//! Model of the LSPs, whose answers are honest or false as the script says.

use std::time::Duration;

use bitcoin::{Address as ChainAddress, Network as ChainNetwork, WitnessProgram, WitnessVersion};
use lsps_host::ports::to_lsps_outpoint;
use lsps_types::codes::GetOrderError;
use lsps_types::jsonrpc::{ErrorObject, Incoming, RequestId, encode_error, encode_reply};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps1::{
    self, Bolt11Payment, Bolt12Payment, Channel, Confirmation, CreateOrder, GetOrder, LightningState, OnchainPayment,
    OnchainState, Options, Order as Reply, OrderId, OrderState, Payment,
};
use lsps_types::lsps2::{self, Bought, Buy, Menu, OpeningFeeParams};
use lsps_types::{AnyRequest, DateTime, FeeRate, Msat, OutPoint, PaymentHash, PeerId, Ppm, Sat, Scid, Txid};

use super::invoice;
use super::model::{Model, preimage};
use super::node::{Stage, outpoint};
use super::script::{How, Lie};
use super::truth::Ordered;

impl Model {
    /// Messages with which an LSP answers a request.
    pub fn answer(&mut self, lsp: PeerId, question: &[u8], how: How) -> Vec<Vec<u8>> {
        let incoming = Incoming::decode(question).expect("the wallet asks well");
        let id = incoming.id().clone();
        let method = incoming.method().expect("the wallet knows what it asks");
        let asked = AnyRequest::decode(method, &incoming).expect("the wallet asks well");
        match how {
            How::Silence => return vec![],
            How::Garbage => return vec![b"{\"jsonrpc\":\"2.0\"".to_vec()],
            How::Error(what) => {
                let error = match what % 3 {
                    0 => ErrorObject::internal(),
                    1 => ErrorObject::client_rejected("no"),
                    _ => ErrorObject::of_method(GetOrderError::NotFound),
                };
                return vec![encode_error(&id, &error)];
            }
            How::Honest | How::WrongId | How::Twice | How::Lie(_) => {}
        }
        let id = if how == How::WrongId { RequestId::Text("nobody's".into()) } else { id };
        let lie = if let How::Lie(what) = how { Some(what) } else { None };
        let answer = self.reply(lsp, &id, &asked, lie);
        if how == How::Twice { vec![answer.clone(), answer] } else { vec![answer] }
    }

    fn reply(&mut self, lsp: PeerId, id: &RequestId, asked: &AnyRequest, lie: Option<u8>) -> Vec<u8> {
        match asked {
            AnyRequest::Lsps0ListProtocols(_) => {
                let protocols = if lie.is_some_and(|lie| lie < 64) { vec![] } else { vec![1, 2] };
                encode_reply::<ListProtocols>(id, &Protocols { protocols })
            }
            AnyRequest::Lsps2GetInfo(_) => encode_reply::<lsps2::GetInfo>(id, &self.menu(lsp, lie)),
            AnyRequest::Lsps2Buy(_) => encode_reply::<Buy>(id, &self.bought(lsp, lie)),
            AnyRequest::Lsps1GetInfo(_) => encode_reply::<lsps1::GetInfo>(id, &options()),
            AnyRequest::Lsps1CreateOrder(order) => encode_reply::<CreateOrder>(id, &self.makes(lsp, order, lie)),
            AnyRequest::Lsps1GetOrder(get) => self.tells(lsp, id, get, lie),
            _ => encode_error(id, &ErrorObject::method_not_found()),
        }
    }

    fn menu(&self, lsp: PeerId, lie: Option<u8>) -> Menu {
        let valid = |seconds| DateTime::from(self.now + Duration::from_secs(seconds));
        let dear = u64::from(lsp.0[1] % 4) * 10_000;
        let honest = OpeningFeeParams {
            min_fee_msat: Msat(600_000 + dear),
            proportional: Ppm(10_000),
            valid_until: valid(3_600),
            min_lifetime: 1_008,
            max_client_to_self_delay: 2_016,
            min_payment_size_msat: Msat(1_000),
            max_payment_size_msat: Msat(1_000_000_000_000),
            promise: serde_json::from_str("\"a promise\"").expect("short"),
        };
        let entry = match lie.map(|lie| lie % 6) {
            None => honest,
            Some(0) => OpeningFeeParams { min_fee_msat: Msat(1), proportional: Ppm(0), ..honest },
            Some(1) => OpeningFeeParams { min_fee_msat: Msat(u64::MAX), ..honest },
            Some(2) => OpeningFeeParams { valid_until: valid(8_000 * 365 * 86_400), ..honest },
            Some(3) => OpeningFeeParams { valid_until: valid(1), ..honest },
            Some(4) => OpeningFeeParams { max_client_to_self_delay: 1, ..honest },
            Some(_) => return Menu::default(),
        };
        Menu { opening_fee_params_menu: vec![entry] }
    }

    fn bought(&mut self, lsp: PeerId, lie: Option<u8>) -> Bought {
        let scid = Scid(self.draw() << 40);
        let (lsp_cltv_expiry_delta, client_trusts_lsp) = match lie.map(|lie| lie % 3) {
            None => (144, self.truth.trusted.contains(&lsp)),
            Some(0) => (u16::MAX, false),
            Some(1) => (144, true),
            Some(_) => {
                return Bought {
                    jit_channel_scid: Scid(7 << 40),
                    lsp_cltv_expiry_delta: 144,
                    client_trusts_lsp: false,
                };
            }
        };
        Bought { jit_channel_scid: scid, lsp_cltv_expiry_delta, client_trusts_lsp }
    }

    /// Makes an order. Most values of `lie` put a term in it that the wallet must not pay for.
    fn makes(&mut self, lsp: PeerId, ordered: &CreateOrder, lie: Option<u8>) -> Reply {
        let number = self.draw();
        let lie = lie.map(|lie| lie % 12);
        let mut hash = PaymentHash::of(&preimage(1_000_000 + number));
        if lie == Some(0) {
            // The invoice has the payment hash of another order or of a purchase.
            let other = self.truth.orders.last().and_then(|order| order.made.payment.bolt11.as_ref());
            let other = other.and_then(|way| invoice::read(&way.invoice)?.payment_hash);
            hash = other.or(self.truth.sold.first().map(|sold| sold.hash)).unwrap_or(hash);
        }
        let fee = Sat(if lie == Some(1) { 1_000_000 } else { 2_000 });
        let total = Sat(ordered.client_balance_sat.0 + fee.0 + u64::from(lie == Some(2)));
        let seconds = [3_600, 30 * 86_400, 130][usize::from(lie == Some(3)) + 2 * usize::from(lie == Some(4))];
        let expires = self.now + Duration::from_secs(seconds);
        let (payee, amount) =
            (if lie == Some(5) { crate::setup::peer(99) } else { lsp }, total.to_msat().expect("few"));
        let written = if lie == Some(6) { Msat(amount.0 * 10) } else { amount };
        let bill = invoice::write(written, hash, payee, expires);
        let script = WitnessProgram::new(WitnessVersion::V0, &number.to_be_bytes().repeat(3)[..20]).expect("20 bytes");
        let address = ChainAddress::from_witness_program(script, ChainNetwork::Regtest);
        let expires_at = DateTime::from(expires);
        let payment = Payment {
            bolt11: (lie != Some(7)).then(|| Bolt11Payment {
                state: LightningState::ExpectPayment,
                expires_at: expires_at.clone(),
                fee_total_sat: fee,
                order_total_sat: total,
                invoice: bill,
            }),
            bolt12: (!number.is_multiple_of(3)).then(|| Bolt12Payment {
                state: LightningState::ExpectPayment,
                expires_at: expires_at.clone(),
                fee_total_sat: fee,
                order_total_sat: total,
                offer: invoice::write(written, PaymentHash::of(&preimage(2_000_000 + number)), payee, expires),
            }),
            onchain: ordered.refund_onchain_address.as_ref().map(|refund| OnchainPayment {
                state: OnchainState::ExpectPayment,
                expires_at,
                fee_total_sat: fee,
                order_total_sat: total,
                address: address.to_string(),
                confirmation: Confirmation::AtOnce {
                    above: number.is_multiple_of(2).then_some(FeeRate(if lie == Some(8) { 5_000_000 } else { 2_500 })),
                },
                refund_onchain_address: Some(refund.as_str().into()),
            }),
            has_others: false,
        };
        let id = if lie == Some(9) { "the same for all".to_string() } else { format!("order {number}") };
        let made = Reply {
            order_id: OrderId::try_from(id).expect("short"),
            lsp_balance_sat: ordered.lsp_balance_sat,
            client_balance_sat: if lie == Some(10) { Sat(0) } else { ordered.client_balance_sat },
            required_channel_confirmations: ordered.required_channel_confirmations,
            funding_confirms_within_blocks: ordered.funding_confirms_within_blocks,
            channel_expiry_blocks: ordered.channel_expiry_blocks,
            token: ordered.token.clone().unwrap_or_default(),
            created_at: DateTime::from(self.now),
            announce_channel: ordered.announce_channel,
            order_state: if lie == Some(11) { OrderState::Failed } else { OrderState::Created },
            payment,
            channel: None,
        };
        let (told, ordered) = (made.clone(), ordered.clone());
        self.truth.orders.push(Ordered { lsp, ordered, made: made.clone(), told, script: address.script_pubkey() });
        made
    }

    fn tells(&mut self, lsp: PeerId, id: &RequestId, get: &GetOrder, lie: Option<u8>) -> Vec<u8> {
        let is_it = |order: &&Ordered| order.lsp == lsp && order.made.order_id.as_str() == get.order_id;
        let Some(order) = self.truth.orders.iter().find(is_it) else {
            return encode_error(id, &ErrorObject::of_method(GetOrderError::NotFound));
        };
        let mut told = order.told.clone();
        match lie.map(|lie| lie % 3) {
            Some(0) => told.lsp_balance_sat = Sat(1),
            Some(1) => told.order_id = OrderId::try_from("another".to_string()).expect("short"),
            Some(_) | None => {}
        }
        encode_reply::<GetOrder>(id, &told)
    }

    /// Sets the state that an LSP reports of an order from now on.
    pub fn tell(&mut self, of: usize, lie: Lie) {
        let order = &self.truth.orders[of];
        let mut told = order.made.clone();
        let newest = self.truth.funded.get(&order.lsp).and_then(|numbers| numbers.last());
        let funding = |number: u64| to_lsps_outpoint(outpoint(number)).expect("a small index");
        let day = Duration::from_secs(86_400);
        let channel = |funding_outpoint, days: u32| Channel {
            funded_at: DateTime::from(self.now),
            funding_outpoint,
            expires_at: DateTime::from(self.now + day * days),
        };
        let air = OutPoint { txid: Txid([7; 32]), index: 1 };
        match lie {
            Lie::Truth | Lie::Created => {}
            Lie::Held => states(&mut told, LightningState::Hold, OnchainState::Seen),
            Lie::Paid => states(&mut told, LightningState::Paid, OnchainState::Paid),
            Lie::Failed => told.order_state = OrderState::Failed,
            Lie::Refunded => {
                told.order_state = OrderState::Failed;
                states(&mut told, LightningState::Refunded, OnchainState::Refunded);
            }
            Lie::Completed | Lie::CompletedByNone | Lie::CompletedByAir | Lie::ShortLease => {
                states(&mut told, LightningState::Paid, OnchainState::Paid);
                told.order_state = OrderState::Completed;
                told.channel = match (lie, newest) {
                    (Lie::CompletedByNone, _) => None,
                    (Lie::CompletedByAir, _) | (_, None) => Some(channel(air, 60)),
                    (Lie::ShortLease, Some(number)) => Some(channel(funding(*number), 0)),
                    (_, Some(number)) => Some(channel(funding(*number), 60)),
                };
            }
            Lie::OtherTotal => {
                told.payment.bolt11.iter_mut().for_each(|way| way.order_total_sat = Sat(1));
                told.payment.onchain.iter_mut().for_each(|way| way.order_total_sat = Sat(1));
            }
            Lie::OtherInvoice => told.payment.bolt11.iter_mut().for_each(|way| way.invoice = "another".into()),
            Lie::Late => {
                let later = DateTime::from(self.now + day * 3_000);
                told.payment.bolt11.iter_mut().for_each(|way| way.expires_at = later.clone());
                told.payment.onchain.iter_mut().for_each(|way| way.expires_at = later.clone());
            }
        }
        self.truth.orders[of].told = told;
    }

    /// Sets the state that an honest LSP reports of an order: HOLD while a payment is pending, COMPLETED once a channel
    /// exists that no other order names.
    pub fn tell_truth(&mut self, of: usize) {
        let order = &self.truth.orders[of];
        let named = |number: &u64| {
            let funding = to_lsps_outpoint(outpoint(*number));
            self.truth.orders.iter().any(|it| it.told.channel.as_ref().map(|it| it.funding_outpoint) == funding)
        };
        let is_paid = self.out(of) > 0;
        let capacity = order.ordered.capacity();
        let fits = |number: &&u64| {
            self.truth.capacities.get(number).copied() == capacity
                && self.node.now.channels.get(number).is_some_and(|it| it.stage >= Stage::Funded)
        };
        let free = self
            .truth
            .funded
            .get(&order.lsp)
            .and_then(|all| all.iter().filter(fits).find(|number| !named(number)).copied());
        if order.told.order_state == OrderState::Completed && order.told.channel.is_some() {
            return;
        }
        match (is_paid, free) {
            (true, Some(number)) => {
                self.tell(of, Lie::Created);
                let funding_outpoint = to_lsps_outpoint(outpoint(number)).expect("a small index");
                let expires_at = DateTime::from(self.now + Duration::from_secs(60 * 86_400));
                let told = &mut self.truth.orders[of].told;
                let funded_at = DateTime::from(self.now);
                states(told, LightningState::Paid, OnchainState::Paid);
                told.order_state = OrderState::Completed;
                told.channel = Some(Channel { funded_at, funding_outpoint, expires_at });
            }
            (true, None) => self.tell(of, Lie::Held),
            (false, _) => self.tell(of, Lie::Created),
        }
    }
}

fn states(told: &mut Reply, lightning: LightningState, onchain: OnchainState) {
    told.payment.bolt11.iter_mut().for_each(|way| way.state = lightning);
    told.payment.bolt12.iter_mut().for_each(|way| way.state = lightning);
    told.payment.onchain.iter_mut().for_each(|way| way.state = onchain);
}

fn options() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 1,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 20_160,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(1_000_000),
        min_initial_lsp_balance_sat: Sat(1),
        max_initial_lsp_balance_sat: Sat(10_000_000),
        min_channel_balance_sat: Sat(1),
        max_channel_balance_sat: Sat(10_000_000),
    }
}
