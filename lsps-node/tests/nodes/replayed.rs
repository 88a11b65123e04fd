//! An upstream node that sends the same onion again, with less money.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lightning::events::Event;
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::util::config::UserConfig;
use lsps_node::Chain;
use lsps_node::node::pay::{hop, last_hop};
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::MemoryStore;
use lsps_testing::scene::{LspNode, Script, WalletNode, Who, finish, open_channels, shares, start_payer};

use crate::hold::{PREIMAGE, hash};
use crate::{AMOUNT, FEE_LIMIT, HOUR, UNKNOWN_NEXT_PEER};

/// Counts of the events so far.
#[derive(Default)]
struct Told {
    intercepted: AtomicUsize,
    failed: AtomicUsize,
    claimable: AtomicUsize,
    sent: AtomicUsize,
}

/// LDK derives the id of an intercepted HTLC from its onion. The id is free again once the HTLC was forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn case_X01_the_same_onion_again_with_one_satoshi_gets_nothing() {
    let told = Arc::new(Told::default());
    let (t, chain) = (Arc::clone(&told), Chain::new());
    let on_event: lsps_testing::scene::OnEvent = Arc::new(move |who, event| {
        let count = match (who, event) {
            (Who::Lsp, Event::HTLCIntercepted { .. }) => &t.intercepted,
            (Who::Payer, Event::PaymentFailed { .. }) => &t.failed,
            (Who::Wallet, Event::PaymentClaimable { .. }) => &t.claimable,
            (Who::Payer, Event::PaymentSent { .. }) => &t.sent,
            _ => return,
        };
        count.fetch_add(1, Ordering::SeqCst);
    });
    let count = |of: fn(&Told) -> &AtomicUsize| of(&told).load(Ordering::SeqCst);
    let script = Script { on_event, ..Script::default() };
    let payer = start_payer(&chain, &script).await.unwrap();
    let lsp = LspNode::start(&chain, &(Arc::new(MemoryStore::new()) as _), &script).await.unwrap();
    let at = (lsp.node.node_id(), lsp.node.address());
    let wallet = WalletNode::start(&chain, &(Arc::new(MemoryStore::new()) as _), at, &script).await.unwrap();
    let upstream = start_upstream(&chain, &lsp, [AMOUNT.0, 1_000].into()).await;
    for coins in [payer.wallet(), upstream.wallet(), lsp.node.wallet()] {
        chain.give(&coins.script(), 2_000_000);
    }
    assert!(payer.connect(upstream.node_id(), upstream.address()).await);
    assert!(upstream.connect(at.0, at.1).await && wallet.node.connect(at.0, at.1).await);
    open_channels(&chain, &payer, &upstream, &[1_000_000]).await.unwrap();
    open_channels(&chain, &upstream, &lsp.node, &[1_000_000]).await.unwrap();

    let hash = lsps_transport_ldk::PaymentHash(hash().0);
    let jit = wallet.host.receive_via_jit_channel_for_hash(hash, AMOUNT, "on hold", HOUR, FEE_LIMIT).await.unwrap();
    let invoice = &jit.invoice;
    let to_upstream = payer.channel_manager().list_usable_channels()[0].get_outbound_payment_scid().unwrap();
    let to_lsp = upstream.channel_manager().get_intercept_scid();
    let pays = || {
        payer.dice().settle([9; 32]);
        let last = last_hop(invoice, AMOUNT.0).unwrap();
        let hops = vec![hop(upstream.node_id(), to_upstream, 0, 144), hop(at.0, to_lsp, 0, 144), last];
        payer.pay_along(invoice, vec![hops]).unwrap();
    };
    pays();
    assert!(within(|| count(|told| &told.claimable) == 1).await, "the payment is with the wallet");
    pays();
    assert!(within(|| count(|told| &told.intercepted) == 2).await, "1 sat comes with the same onion");
    assert!(within(|| count(|told| &told.failed) == 1).await, "it goes back");
    // LDK as a wallet refuses more than the whole amount. A wallet that accepts more would claim both.
    assert_eq!(payer.logger().failure_codes(), [UNKNOWN_NEXT_PEER], "from the LSP, before it gets to the wallet");
    wallet.node.channel_manager().claim_funds(lightning::types::payment::PaymentPreimage(PREIMAGE));
    assert!(within(|| count(|told| &told.sent) == 1).await);
    assert!(within(|| shares(&lsp.node).is_ok() && shares(&wallet.node).is_ok()).await, "nothing is under way");
    let ([_, at_lsp], [_, at_wallet]) = (shares(&lsp.node).unwrap(), shares(&wallet.node).unwrap());
    assert_eq!((at_lsp, at_wallet), (AMOUNT.0, AMOUNT.0 - jit.fee.0), "what came in went on once, less the fee");
}

/// Forwards the payer's HTLCs to the LSP, the first HTLC with the first of these amounts, and so on.
async fn start_upstream(chain: &Chain, lsp: &LspNode, amounts: VecDeque<u64>) -> Arc<Node> {
    let config = UserConfig { accept_intercept_htlcs: true, ..UserConfig::default() };
    let store = Arc::new(MemoryStore::new());
    let setup = Setup { name: "upstream", seed: [66; 32], store, config, chain: Arc::new(chain.clone()) };
    let upstream = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await.unwrap();
    let (weak, lsp, amounts) = (Arc::downgrade(&upstream), lsp.node.node_id(), Mutex::new(amounts));
    upstream.run(move |event| {
        let Some(node) = weak.upgrade() else { return std::future::ready(Ok(())) };
        let manager = node.channel_manager();
        if let Event::HTLCIntercepted { intercept_id, .. } = event {
            let channel = manager.list_channels_with_counterparty(&lsp)[0].channel_id;
            let amount = amounts.lock().unwrap().pop_front().expect("no more than that is sent");
            manager.forward_intercepted_htlc(intercept_id, &channel, lsp, amount).expect("it holds it");
            return std::future::ready(Ok(()));
        }
        std::future::ready(finish(&node, &event))
    });
    upstream
}
