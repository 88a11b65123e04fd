//! A save contains manager and monitors of the same instant.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use lightning::util::persist::{
    CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE,
};
use lightning::util::ser::Writeable as _;
use lsps_node::node::pay::hop;
use lsps_node::node::save::Step;
use lsps_node::node::within;
use lsps_testing::scene::{Scene, Script};

use crate::{AMOUNT, PLAIN, buy};

/// Progress of the save.
#[derive(Default)]
struct Save {
    has_begun: bool,
    /// Whether the other channel's monitor changed meanwhile.
    is_overtaken: bool,
    /// Whether the stored monitor of the other channel, when all was written, is the one that the manager knows.
    is_whole: Option<bool>,
}

/// The LSP's node took a monitor to save it. Before the manager is serialized, an HTLC comes over another channel. It
/// is in the manager that is written, and therefore has to be in the written monitor of that channel, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_X20_what_comes_while_a_node_saves_is_saved_with_it() {
    let scene = Scene::set(Script { payer_channels: vec![100_000; 2], ..Script::default() }).await.expect("they start");
    let jit = buy(&scene, PLAIN).await.expect("the LSP sells");
    let (lsp, payer) = (Arc::clone(&scene.lsp.node), Arc::clone(&scene.payer));
    // Parts use the channels in this order.
    let channels = payer.channel_manager().list_usable_channels();
    let [first, other] = [&channels[0], &channels[1]].map(|channel| channel.channel_id);
    let scid = channels[1].get_outbound_payment_scid().expect("it is in use");
    let to = lsp.node_id();
    let save = Arc::new((Mutex::new(Save::default()), Condvar::new()));
    let (of, node) = (Arc::clone(&save), Arc::downgrade(&lsp));
    lsp.saves().watch(Box::new(move |step| {
        let (save, changed) = &*of;
        let mut at = save.lock().expect("nobody panics here");
        match step {
            Step::Taken(channels) if !at.has_begun && channels.contains(&first) => {
                at.has_begun = true;
                // Nobody waits for this payment; it only has to arrive.
                let (payer, path) = (Arc::clone(&payer), vec![hop(to, scid, 5_000_000, 100)]);
                let onion = RecipientOnionFields::spontaneous_empty();
                // A separate thread sends, because a thread has to run the tasks that it wakes.
                let pays = move || payer.pay_hash_along(PaymentHash([7; 32]), onion, vec![path]);
                let sent = std::thread::spawn(pays).join().expect("it does not panic");
                sent.expect("the other channel is free");
                drop(changed.wait_timeout_while(at, BOUND, |save| !save.is_overtaken).expect("nobody panics here"));
            }
            Step::Queueing(channel) if at.has_begun && channel == other => {
                at.is_overtaken = true;
                changed.notify_all();
            }
            Step::Written if at.is_overtaken && at.is_whole.is_none() => {
                at.is_whole = node.upgrade().map(|node| is_stored(&node, other));
            }
            Step::Taken(_) | Step::Queueing(_) | Step::Written => {}
        }
    }));
    scene.payer.pay_in_parts(&jit.invoice, &[AMOUNT.0]).expect("channels to the LSP");
    assert!(within(|| save.0.lock().expect("nobody panics").is_whole.is_some()).await, "both were saved");
    assert!(save.0.lock().expect("nobody panics").is_overtaken, "it came between the two steps");
    assert_eq!(save.0.lock().expect("nobody panics").is_whole, Some(true), "with what came meanwhile");
    let is_paid = || scene.seen.facts().sent.is_some() && scene.seen.facts().received.is_some();
    assert!(within(is_paid).await, "and the payment arrives");
}

/// Whether the stored monitor equals the monitor in memory, which does not change before it learns that it is stored.
fn is_stored(node: &lsps_node::node::Node<lsps_transport_ldk::LspsMessageHandler>, channel: ChannelId) -> bool {
    let Ok(monitor) = node.chain_monitor().get_monitor(channel) else { return false };
    let (primary, secondary) =
        (CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE);
    let stored = node.store().read(primary, secondary, &monitor.persistence_key().to_string());
    stored.is_ok_and(|bytes| bytes == monitor.encode())
}

/// Upper bound for each wait.
const BOUND: Duration = Duration::from_secs(10);
