//! Logs and metrics of an operator. They do not contain URLs, which are secrets of the clients.

use std::io::Write;
use std::sync::{Arc, Mutex};

use lsps_host::webhook::{DeliveryConfig, Webhooks};
use lsps_testing::hook::stage::{Does, HERE, Service, answer, config, delivery};
use lsps_testing::https::Authority;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

#[tokio::test]
async fn counters_and_log_say_what_became_of_deliveries_but_not_where_they_went() {
    let recorder = DebuggingRecorder::new();
    let (counters, log) = (recorder.snapshotter(), Log::default());
    let _counting = metrics::set_default_local_recorder(&recorder);
    // With one subscriber only, `tracing` would regard a call site as of no interest for good if another thread reached
    // it first.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let for_log = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || for_log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let authority = Authority::new().unwrap();
    let good = Service::at(HERE, &authority, &["good.test"], |_| Does::answers(200)).await;
    let bad = Service::at(HERE, &authority, &["bad.test"], |_| Does::answers(404)).await;
    let dead = Service::at(HERE, &authority, &["dead.test"], |_| Does::Closes).await;
    let (webhooks, mut answers) = Webhooks::new(DeliveryConfig { most_attempts: 3, ..config(&authority) }).unwrap();
    for (id, host, service) in [(1, "good", &good), (2, "bad", &bad), (3, "dead", &dead)] {
        webhooks.post(delivery(id, &format!("https://{host}.test:{}/s3cret?t0ken", service.port)));
        answer(&mut answers).await;
    }
    let counted: Vec<(String, u64)> = counters
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let why: String = key.key().labels().map(|label| format!(" {}", label.value())).collect();
            let DebugValue::Counter(count) = value else { return None };
            Some((format!("{}{why}", key.key().name()), count))
        })
        .collect();
    let count = |name: &str| counted.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count);
    assert_eq!(count("lsps_webhooks_delivered"), 1, "{counted:?}");
    assert_eq!(["status", "closed"].map(|why| count(&format!("lsps_webhooks_failed {why}"))), [1, 1]);
    assert_eq!(count("lsps_webhooks_retried"), 2);
    let counts = webhooks.counts();
    assert_eq!((counts.delivered, counts.failed, counts.retried, counts.pending), (1, 2, 2, 0));

    let log = log.text();
    let said = |fields: &[&str]| log.lines().any(|line| fields.iter().all(|field| line.contains(field)));
    assert!(said(&["notification delivered", "webhook=1"]), "{log}");
    assert!(said(&["notification not delivered", "webhook=2", r#"why="status""#, "404"]), "{log}");
    assert!(said(&["webhook not called", "host=dead.test", "attempt=3", r#"why="closed""#]), "{log}");
    assert!(!log.contains("s3cret") && !log.contains("t0ken"), "{log}");
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
