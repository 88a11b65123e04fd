//! An LSP by hand, which keeps what it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::events::Event;
use lightning::ln::channelmanager::InterceptId;
use lightning::util::config::UserConfig;
use lsps_client::jit_receive::Fault;
use lsps_examples::node::{Node, Setup, within};
use lsps_examples::scene::{Script, WalletNode, Who, open_channels, shares, start_payer};
use lsps_examples::store::MemoryStore;
use lsps_examples::{Chain, scene};
use lsps_transport_ldk::onchain::{Clock, SystemClock};
use lsps_transport_ldk::wallet::WalletEvent;
use lsps_transport_ldk::{LspsMessageHandler, Msat, PeerEvent, Ppm, Role, preset_for_lsp};
use lsps_types::jsonrpc::{Incoming, encode_reply};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{Bought, Buy, GetInfo, Menu, OpeningFeeParams, Promise};
use lsps_types::{DateTime, Method, Scid};

use crate::{AMOUNT, FEE_LIMIT, HOUR};

const FEE: Msat = Msat(1_000_000);

#[tokio::test(flavor = "multi_thread")]
async fn case_W04_one_millisatoshi_above_the_promise_is_refused_and_the_payer_keeps_its_money() {
    let outcome = pay_through_an_lsp_that_keeps(Msat(FEE.0 + 1)).await;
    let why = Fault::SkimAbovePromise { skimmed: Msat(FEE.0 + 1), promised: FEE };
    assert_eq!(outcome.refused, Some(why));
    assert_eq!(outcome.paid, None);
    assert!(outcome.has_failed, "the payer has its money back");
    assert_eq!((outcome.wallet_msat, outcome.payer_lost_msat), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_promise_is_claimed() {
    let outcome = pay_through_an_lsp_that_keeps(FEE).await;
    assert_eq!((outcome.refused, outcome.has_failed), (None, false));
    assert_eq!(outcome.paid, Some(AMOUNT.0));
    assert_eq!((outcome.wallet_msat, outcome.payer_lost_msat), (AMOUNT.0 - FEE.0, AMOUNT.0));
}

struct Outcome {
    refused: Option<Fault>,
    paid: Option<u64>,
    has_failed: bool,
    wallet_msat: u64,
    payer_lost_msat: u64,
}

async fn pay_through_an_lsp_that_keeps(kept: Msat) -> Outcome {
    let (paid, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (p, f) = (Arc::clone(&paid), Arc::clone(&failed));
    let on_event: scene::OnEvent = Arc::new(move |who, event| match (who, event) {
        (Who::Payer, Event::PaymentSent { amount_msat, .. }) => {
            p.store(amount_msat.unwrap_or_default(), Ordering::SeqCst);
        }
        (Who::Payer, Event::PaymentFailed { .. }) => f.store(1, Ordering::SeqCst),
        _ => {}
    });
    let (chain, script) = (Chain::new(), Script { on_event, ..Script::default() });
    let payer = start_payer(&chain, &script).await.unwrap();
    let lsp = start_dishonest(&chain, kept).await;
    let wallet =
        WalletNode::start(&chain, &(Arc::new(MemoryStore::new()) as _), (lsp.node_id(), lsp.address()), &script)
            .await
            .unwrap();
    for coins in [payer.wallet(), lsp.wallet()] {
        chain.give(&coins.script(), 2_000_000);
    }
    assert!(payer.connect(lsp.node_id(), lsp.address()).await);
    assert!(wallet.node.connect(lsp.node_id(), lsp.address()).await);
    open_channels(&chain, &payer, &lsp, &[1_000_000]).await.unwrap();

    let mut events = wallet.host.events();
    let jit = wallet.host.receive_via_jit_channel(AMOUNT, "on trust", HOUR, FEE_LIMIT).await.unwrap();
    let [before, _] = shares(&lsp).unwrap();
    payer.pay(&jit.invoice, AMOUNT.0).unwrap();
    let over = || paid.load(Ordering::SeqCst) > 0 || failed.load(Ordering::SeqCst) > 0;
    assert!(within(over).await, "the payer hears how it ended");
    assert!(within(|| shares(&lsp).is_ok() && shares(&wallet.node).is_ok()).await, "nothing is under way any more");
    let ([after, _], [_, wallet_msat]) = (shares(&lsp).unwrap(), shares(&wallet.node).unwrap());
    let mut refused = None;
    while let Ok(event) = events.try_recv() {
        if let WalletEvent::Refused { why, .. } = event {
            refused = Some(why);
        }
    }
    let amount = paid.load(Ordering::SeqCst);
    Outcome {
        refused,
        paid: (amount > 0).then_some(amount),
        has_failed: failed.load(Ordering::SeqCst) > 0,
        wallet_msat,
        payer_lost_msat: before - after,
    }
}

/// Sells at `FEE`, opens when the payment comes, forwards all but `kept`.
async fn start_dishonest(chain: &Chain, kept: Msat) -> Arc<Node<LspsMessageHandler>> {
    let mut config = UserConfig::default();
    preset_for_lsp(&mut config);
    config.channel_handshake_config.negotiate_scid_privacy = true;
    let messages = LspsMessageHandler::new(Role::Service);
    let setup = Setup { name: "LSP", seed: [7; 32], store: Arc::new(MemoryStore::new()), config, chain: chain.clone() };
    let lsp = Node::build(setup, Arc::clone(&messages)).await.unwrap();
    let client = Arc::new(Mutex::new(None));
    answer(&lsp, messages, Arc::clone(&client));
    let (weak, held) = (Arc::downgrade(&lsp), Mutex::new(None::<(InterceptId, u64)>));
    lsp.run(move |event| {
        let Some(lsp) = weak.upgrade() else { return std::future::ready(Ok(())) };
        let manager = lsp.channel_manager();
        match &event {
            Event::HTLCIntercepted { intercept_id, expected_outbound_amount_msat, .. } => {
                *held.lock().unwrap() = Some((*intercept_id, *expected_outbound_amount_msat));
                let client = client.lock().unwrap().expect("somebody bought");
                manager.create_channel(client, 200_000, 0, JIT, None, None).expect("connected");
            }
            Event::ChannelReady { channel_id, counterparty_node_id, user_channel_id: JIT, .. } => {
                let (part, amount) = held.lock().unwrap().take().expect("the payment waits");
                let forwarded =
                    manager.forward_intercepted_htlc(part, channel_id, *counterparty_node_id, amount - kept.0);
                forwarded.expect("still held");
            }
            _ => lsp.chores(&event).expect("enough coins"),
        }
        std::future::ready(Ok(()))
    });
    lsp
}

fn answer(
    lsp: &Arc<Node<LspsMessageHandler>>,
    messages: Arc<LspsMessageHandler>,
    client: Arc<Mutex<Option<PublicKey>>>,
) {
    let (weak, now) = (Arc::downgrade(lsp), SystemClock.now());
    let terms = OpeningFeeParams {
        min_fee_msat: FEE,
        proportional: Ppm(0),
        valid_until: DateTime::from(now + Duration::from_secs(3_600)),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000),
        max_payment_size_msat: Msat(1_000_000_000),
        promise: Promise::received("trust-me").expect("short enough"),
    };
    tokio::spawn(async move {
        while let Some(lsp) = weak.upgrade() {
            for event in messages.take() {
                let PeerEvent::Message(peer, payload) = event else { continue };
                let request = Incoming::decode(&payload).expect("the wallet writes requests");
                let reply = match request.method() {
                    Some(Method::Lsps0ListProtocols) => {
                        encode_reply::<ListProtocols>(request.id(), &Protocols { protocols: vec![2] })
                    }
                    Some(Method::Lsps2GetInfo) => {
                        let menu = Menu { opening_fee_params_menu: vec![terms.clone()] };
                        encode_reply::<GetInfo>(request.id(), &menu)
                    }
                    Some(Method::Lsps2Buy) => {
                        *client.lock().unwrap() = Some(peer);
                        let jit_channel_scid = Scid(lsp.channel_manager().get_intercept_scid());
                        let bought = Bought { jit_channel_scid, lsp_cltv_expiry_delta: 144, client_trusts_lsp: false };
                        encode_reply::<Buy>(request.id(), &bought)
                    }
                    other => panic!("the wallet asks {other:?}"),
                };
                messages.send([(peer, reply)]);
            }
            lsp.peer_manager().process_events();
            drop(lsp);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// The key of the JIT channel.
const JIT: u128 = 77;
