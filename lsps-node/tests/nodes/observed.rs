//! The operator's view: the book, the counters, the log, and a tape that can be replayed.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lsps_service::BookTotals;
use lsps_testing::scene::{LspNode, Script};
use lsps_testing::tape::replay_file;
use lsps_transport_ldk::{LspsMessageHandler, Role};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::{AMOUNT, World, passes};

/// The test runs in one thread, so that all counts and log lines are its own.
#[tokio::test]
async fn book_counters_and_log_say_what_the_balances_say() {
    let recorder = DebuggingRecorder::new();
    let (counters, log) = (recorder.snapshotter(), Log::default());
    let _counting = metrics::set_default_local_recorder(&recorder);
    let for_log = log.clone();
    // With one subscriber only, `tracing` would regard a call site as of no interest for good if another thread reached
    // it first.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || for_log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let world = World::playing(Script::default()).await;
    world.pays();
    let account = world.is_settled().await;
    world.scene.chain.mine(5);
    let lsp = &world.scene.lsp.host;
    let mut totals = BookTotals::default();
    while totals.mining_sat == 0 && passes(50).await {
        totals = BookTotals::of(&lsp.book().await.unwrap());
    }
    assert_eq!((totals.asked.0, totals.earned.0, totals.lost.0), (account.promised, account.kept, 0));
    assert_eq!((totals.surplus.0, totals.mining_sat * 1_000), (account.routing, account.mining));

    let counted: Vec<(String, u64)> = counters.snapshot().into_vec().into_iter().filter_map(named).collect();
    let count = |name: &str| counted.iter().filter(|(other, _)| other == name).map(|(_, count)| count).sum::<u64>();
    let once =
        ["lsps_parts_held", "lsps_channels_asked", "lsps_channels_ready", "lsps_parts_forwarded", "lsps_parts_claimed"];
    assert_eq!(once.map(count), [1; 5], "{counted:?}");
    assert_eq!(count("lsps_fees_asked_msat"), account.promised);
    assert_eq!(count("lsps_fees_earned_msat"), account.kept);
    assert_eq!(count("lsps_surplus_msat"), account.routing);
    assert_eq!(count("lsps_mining_fees_sat") * 1_000, account.mining);

    let log = log.text();
    let said = |what: &str, field: String| log.lines().any(|line| line.contains(what) && line.contains(&field));
    let hash = world.jit.invoice.payment_hash().to_string();
    assert!(said("part held", format!("payment_hash={hash}")), "{log}");
    assert!(said("forwarding a part", format!("amount_msat={} fee_msat={}", AMOUNT.0 - account.kept, account.kept)));
    assert!(said("booked", "FeeEarned".into()) && said("funding confirmed", "attempt=1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tape_of_two_lives_plays_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tape");
    let mut world = World::playing(Script { lsp_tape: Some(file.clone()), ..Script::default() }).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.pays();
    world.is_settled().await;
    world.scene.lsp.node.kill();
    let replayed = replay_file(&file, &LspNode::promise_key()).unwrap();
    assert!(replayed.lives == 2 && replayed.turns > 20, "{replayed:?}");

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&AMOUNT.0.to_string(), &(AMOUNT.0 + 1).to_string())).unwrap();
    let departs = replay_file(&file, &LspNode::promise_key()).unwrap_err().to_string();
    assert!(departs.contains("of the tape says"), "{departs}");
}

/// L0-062, L0-064
#[test]
fn a_service_says_so_with_bit_729_and_a_client_does_not() {
    let anyone = PublicKey::from_slice(&[2; 33]).unwrap();
    for (role, byte) in [(Role::Service, 0b10), (Role::Client, 0)] {
        let messages = LspsMessageHandler::new(role);
        let (init, node) = (messages.provided_init_features(anyone), messages.provided_node_features());
        for flags in [init.le_flags(), node.le_flags()] {
            assert_eq!(flags.get(91).copied().unwrap_or_default(), byte, "{role:?}");
        }
    }
}

fn named(
    (key, _, _, value): (metrics_util::CompositeKey, Option<metrics::Unit>, Option<metrics::SharedString>, DebugValue),
) -> Option<(String, u64)> {
    if let DebugValue::Counter(count) = value { Some((key.key().name().to_owned(), count)) } else { None }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
