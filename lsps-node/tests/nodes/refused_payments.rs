//! HTLCs that others send with the payment hash of an order, and payments with TLVs that the LSP does not understand.

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::types::payment::{PaymentHash, PaymentSecret};
use lightning_invoice::Bolt11Invoice;
use lsps_client::order::{PaymentInstructions, PaymentMethod, Quote};
use lsps_node::node::within;
use lsps_service::{OrderStage, PaymentMethod as PaidBy};
use lsps_testing::scene::Script;

use crate::order_world::{Cast, World, wallet_leaves_when_it_has_paid};

/// LDK holds such a payment like any other, and refuses to claim it when the channel is open.
#[tokio::test(flavor = "multi_thread")]
async fn case_X02_a_payment_with_an_even_tlv_goes_back_before_a_channel_is_opened() {
    let world = World::new().await;
    let invoice = world.ordered().await;
    let even = vec![(1 << 20, vec![7])];
    let onion = onion(&invoice).with_custom_tlvs(even).expect("LDK lets it out");
    pays(&world, &invoice, onion);
    let has_failed = || world.told.lock().unwrap().contains(&"failed");
    assert!(within(has_failed).await, "the payer has it back: {:?}", world.told.lock().unwrap());
    let order = world.order().await;
    assert_eq!((order.stage, order.attempts, world.leased()), (OrderStage::Open, 0, 0), "nothing was opened for it");

    let odd = vec![((1 << 20) + 1, vec![7])];
    pays(&world, &invoice, self::onion(&invoice).with_custom_tlvs(odd).expect("LDK lets it out"));
    // The wallet abandoned its order and refuses the channel, so the test ends here.
    let is_opened = world.lsp_has(|order| order.attempts == 1);
    assert!(is_opened.await, "the order can still be paid, and what an odd TLV says is nobody's business");
}

/// Every node on the route knows the payment hash. LDK tells the LSP only that an HTLC with this hash failed.
#[tokio::test(flavor = "multi_thread")]
async fn case_X05_a_strangers_htlc_with_the_hash_of_a_held_payment_does_not_end_its_order() {
    for knows_secret in [false, true] {
        let cast = Arc::new(Cast::default());
        let on = Arc::clone(&cast);
        let on_event: lsps_testing::scene::OnEvent =
            Arc::new(move |who, event| wallet_leaves_when_it_has_paid(&on, who, event));
        let script = Script { on_event, payer_channels: vec![200_000], ..Script::of_orders() };
        let world = World::playing(script, cast).await;
        let mut invoice = None;
        let choose = |quote: &Quote| {
            let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Bolt11)?;
            let PaymentInstructions::Invoice { invoice: text, .. } = &way.instructions else { return None };
            invoice = text.parse::<Bolt11Invoice>().ok();
            Some(PaymentMethod::Bolt11)
        };
        let handle = world.orders_choosing(world.wish(), choose).await;
        assert!(within(|| world.told.lock().unwrap().contains(&"held")).await, "it waits for its client");
        let invoice = invoice.expect("it was offered");
        let (onion, amount) = if knows_secret {
            (onion(&invoice), invoice.amount_milli_satoshis().expect("an amount"))
        } else {
            (RecipientOnionFields::secret_only(PaymentSecret([9; 32])), 1_000)
        };
        let lsp = world.scene.lsp.node.node_id();
        world.scene.payer.pay_peer(lsp, hash(&invoice), onion, amount, final_cltv(&invoice)).expect("a channel");
        let logger = world.scene.payer.logger();
        assert!(within(|| logger.failure_codes().len() == 1).await, "the stranger has its HTLC back");
        assert!(crate::passes(1_000).await);
        assert_eq!(world.order().await.stage, OrderStage::Open, "which is not what waits for the client");
        world.scene.connect().await.expect("the wallet is back");
        world.is_done(&handle, PaidBy::Bolt11).await;
    }
}

fn pays(world: &World, invoice: &Bolt11Invoice, onion: RecipientOnionFields) {
    let amount = invoice.amount_milli_satoshis().expect("an amount");
    let lsp = world.scene.lsp.node.node_id();
    world.scene.wallet.node.pay_peer(lsp, hash(invoice), onion, amount, final_cltv(invoice)).expect("a channel");
}

fn onion(invoice: &Bolt11Invoice) -> RecipientOnionFields {
    RecipientOnionFields::secret_only(*invoice.payment_secret())
}

fn hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash(invoice.payment_hash().to_byte_array())
}

fn final_cltv(invoice: &Bolt11Invoice) -> u32 {
    u32::try_from(invoice.min_final_cltv_expiry_delta()).expect("few blocks")
}
