//! Orders of channels.

mod corners;
mod ended;
mod onchain;
mod opening;
mod paying;
mod policy;
mod records;
mod requests;

use std::num::NonZeroU16;
use std::time::Duration;

use lsps_service::{
    ChannelKey, Config, Deposit, FlowId, HeldPayment, Input, KnownOrder, Limits, MethodTerms, OrderConfig, OrderNumber,
    OrderTerms, PaidBy, PaymentId,
};
use lsps_testing::{Lsp, LspSetup, NOON, address_of, an_order, anything, call, peer};
use lsps_types::lsps1::{Confirmation, CreateOrder, GetOrder, Order};
use lsps_types::{BlockHeight, FeeRate, OutPoint, PaymentHash, Sat, Txid};

/// An LSP with an order of client 1, which is connected.
pub struct Shop {
    pub lsp: Lsp,
    pub order: Order,
    number: OrderNumber,
}

impl Shop {
    pub fn new() -> Self {
        Self::of(selling())
    }

    fn of(setup: LspSetup) -> Self {
        Self::with(setup, &order())
    }

    fn with(setup: LspSetup, order: &CreateOrder) -> Self {
        let mut lsp = Lsp::at(NOON, setup);
        lsp.block(HEIGHT);
        lsp.connects(peer(1));
        let order = call(&mut lsp, peer(1), order).expect("an order");
        let number = lsp.service().known_orders().next().expect("one").number;
        lsp.acts();
        Self { lsp, order, number }
    }

    fn hash(&self) -> PaymentHash {
        let invoice = &self.order.payment.bolt11.as_ref().expect("an invoice").invoice;
        invoice.strip_prefix("invoice ").and_then(|hash| hash.parse().ok()).expect("a hash")
    }

    /// The client pays the invoice.
    pub fn pays(&mut self) {
        self.pays_until(None);
    }

    fn pays_until(&mut self, claim_before: Option<u32>) {
        let claim_before = claim_before.map(BlockHeight);
        self.lsp.feed(Input::PaymentHeld(HeldPayment { claim_before, ..self.payment() }));
    }

    /// The payment of the invoice, as the node holds it.
    fn payment(&self) -> HeldPayment {
        HeldPayment {
            by: PaidBy::Invoice,
            payment_hash: self.hash(),
            id: Some(PaymentId([1; 32])),
            claimable: true,
            preimage: None,
            amount: OVER_LIGHTNING.to_msat().expect("few"),
            claim_before: None,
        }
    }

    /// Reports a transaction to the order's address: its number, amount and block, if any.
    fn deposit(&mut self, tx: u8, amount: Sat, confirmed_at: Option<u32>) {
        let address = address_of(self.number);
        let (outpoint, confirmed_at, fee_rate) = (coin(tx), confirmed_at.map(BlockHeight), Some(FeeRate(1_000)));
        self.lsp.feed(Input::Deposit(Deposit { address, outpoint, amount, confirmed_at, fee_rate }));
    }

    fn deposit_gone(&mut self, tx: u8) {
        self.lsp.feed(Input::DepositGone { address: address_of(self.number), outpoint: coin(tx) });
    }

    pub fn key(&self, attempt: u32) -> ChannelKey {
        ChannelKey { flow: FlowId::Order(self.number), attempt }
    }

    /// The order as the LSP reports it to its client.
    fn asked(&mut self) -> Order {
        let order_id = self.order.order_id.as_str().into();
        call(&mut self.lsp, peer(1), &GetOrder { order_id }).expect("its order")
    }

    fn known(&self) -> KnownOrder {
        self.lsp.service().known_order(self.number).expect("it is on record")
    }
}

/// The LSP takes orders of any channel, for a fee of 8 888 sat, over Lightning within one hour or on-chain within two,
/// with one confirmation.
pub fn selling() -> LspSetup {
    selling_with(Confirmation::After(NonZeroU16::MIN))
}

fn selling_with(confirmation: Confirmation) -> LspSetup {
    let way = |hours: u64| MethodTerms { fee: FEE, expires_at: NOON + Duration::from_secs(3_600 * hours) };
    let onchain = Some((way(2), confirmation));
    let terms = OrderTerms { bolt11: Some(way(1)), bolt12: Some(way(1)), onchain, remember_until: None };
    let limits = Limits { sales_to_strangers: usize::MAX, ..Limits::default() };
    LspSetup {
        orders: Some((anything(), terms)),
        config: Config { limits, ..Config::default() },
        ..LspSetup::default()
    }
}

fn with_orders(orders: OrderConfig) -> LspSetup {
    LspSetup { config: Config { orders, ..Config::default() }, ..selling() }
}

pub fn order() -> CreateOrder {
    let refund_onchain_address = Some(REFUND_TO.parse().expect("an address"));
    CreateOrder { client_balance_sat: Sat(100_000), channel_expiry_blocks: LEASE, refund_onchain_address, ..an_order() }
}

fn coin(tx: u8) -> OutPoint {
    OutPoint { txid: Txid([tx; 32]), index: 0 }
}

const HEIGHT: u32 = 800_000;
const LEASE: u32 = 144;
const FEE: Sat = Sat(8_888);
const OVER_LIGHTNING: Sat = Sat(108_888);
const TOTAL: Sat = OVER_LIGHTNING;
const REFUND_TO: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
