//! Many hooks: slow, dead and greedy ones do not delay the others.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lsps_host::webhook::{Answer, DeliveryConfig, Undelivered, Webhooks};
use lsps_testing::hook::stage::{AGES, Does, HERE, Names, Service, answer, config, delivery};
use lsps_testing::https::Authority;
use tokio::net::TcpListener;

/// The dead hooks are called first, take all connections, and would keep them for longer than the test takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_N08_of_1_000_hooks_the_100_that_are_dead_delay_nobody() {
    let authority = Authority::new().unwrap();
    let alive = Service::at(HERE, &authority, &["*.hooks.test"], |_| Does::answers(200)).await;
    let mute = Service::at(HERE, &authority, &["*.hooks.test"], |_| Does::Waits).await;
    let closed = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port();
    let names = Names::new(|host: &str, _| (!host.starts_with("nowhere")).then(|| vec![HERE.into()]));
    let config = DeliveryConfig {
        resolver: Some(names),
        most_at_once: 24,
        patience: Duration::from_secs(1),
        most_attempts: u32::MAX,
        ..config(&authority)
    };
    let (webhooks, mut answers) = Webhooks::new(config).unwrap();
    for id in 0..1_000 {
        let url = match id {
            0..50 => format!("https://mute{id}.hooks.test:{}/", mute.port),
            50..75 => format!("https://nowhere{id}.hooks.test:{}/", alive.port),
            75..100 => format!("https://closed{id}.hooks.test:{closed}/"),
            _ => format!("https://hook{id}.hooks.test:{}/{id}", alive.port),
        };
        webhooks.post(delivery(id, &url));
    }
    let mut delivered = BTreeSet::new();
    for _ in 100..1_000 {
        let Answer { id, outcome } = answer(&mut answers).await;
        assert!(outcome.is_ok() && delivered.insert(id), "{id}: {outcome:?}");
    }
    assert!(delivered.iter().copied().eq(100..1_000));
    let paths: BTreeSet<String> =
        alive.requests().iter().map(|request| request.head.split(' ').nth(1).unwrap().into()).collect();
    assert_eq!(paths.len(), 900);
    let counts = webhooks.counts();
    assert_eq!((counts.delivered, counts.failed, counts.pending), (900, 0, 100));
    assert!(counts.gave_way >= 75 - 24 && counts.under_way <= 24, "{counts:?}");
}

#[tokio::test]
async fn case_N08_a_host_that_never_answers_takes_its_own_places_only() {
    let authority = Authority::new().unwrap();
    let greedy = Service::at(HERE, &authority, &["greedy.test"], |_| Does::Waits).await;
    let other = Service::at(HERE, &authority, &["other.test"], |_| Does::answers(200)).await;
    let config = DeliveryConfig {
        most_pending: 8,
        most_pending_per_domain: 6,
        most_at_once: 4,
        most_at_once_per_domain: 3,
        patience: AGES,
        ..config(&authority)
    };
    let (webhooks, mut answers) = Webhooks::new(config).unwrap();
    let to = |host: &str, service: &Service| format!("https://{host}.test:{}/", service.port);
    for id in 0..7 {
        webhooks.post(delivery(id, &to("greedy", &greedy)));
    }
    assert_eq!(answer(&mut answers).await, Answer { id: 6, outcome: Err(Undelivered::QueueFull) });
    for id in 7..10 {
        webhooks.post(delivery(id, &to("other", &other)));
    }
    assert_eq!(answer(&mut answers).await, Answer { id: 9, outcome: Err(Undelivered::QueueFull) });
    let mut delivered = [answer(&mut answers).await, answer(&mut answers).await];
    delivered.sort_by_key(|answer| answer.id);
    assert_eq!(delivered, [7, 8].map(|id| Answer { id, outcome: Ok(()) }));
    assert_eq!((webhooks.counts().pending, webhooks.counts().under_way), (6, 3));
    assert!(greedy.connections() <= 3);
}

#[tokio::test]
async fn what_cannot_be_posted_to_is_answered_at_once() {
    let (webhooks, mut answers) = Webhooks::new(config(&Authority::new().unwrap())).unwrap();
    webhooks.post(delivery(1, "https://push.test:25/"));
    webhooks.post(delivery(2, "https://10.0.0.1/"));
    assert_eq!(answer(&mut answers).await, Answer { id: 1, outcome: Err(Undelivered::Port(25)) });
    let private: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(answer(&mut answers).await, Answer { id: 2, outcome: Err(Undelivered::Address(private)) });
}

#[tokio::test]
async fn a_limit_that_lets_nothing_through_is_refused() {
    let config = DeliveryConfig { most_at_once: 0, ..config(&Authority::new().unwrap()) };
    let refused = Webhooks::<u32>::new(config).err().expect("it is 0");
    assert_eq!(refused.to_string(), "`DeliveryConfig::most_at_once` is 0");
}

#[tokio::test]
async fn when_the_last_handle_goes_the_calls_end() {
    let authority = Authority::new().unwrap();
    let service =
        Service::at(HERE, &authority, &["push.test"], |_| Does::SaysOnAndOn("", "HTTP/1.1 100 Go on\r\n\r\n")).await;
    let (webhooks, mut answers) = Webhooks::new(config(&authority)).unwrap();
    webhooks.post(delivery(1, &format!("https://push.test:{}/", service.port)));
    let another = webhooks.clone();
    drop(webhooks);
    while service.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(another.counts().under_way, 1);
    drop(another);
    assert_eq!(answers.recv().await, None);
    service.hung_up().await;
}
