//! Delivery of one notification to one service.

use lsps_host::webhook::{DeliveryConfig, Undelivered};
use lsps_testing::hook::stage::{AGES, Does, HERE, NOON, Names, SHORT, Service, config, lsp, post, signed};
use lsps_testing::https::Authority;
use lsps_types::lsps5::{Notification, Profile, Signed, Verifier};
use tokio::net::TcpSocket;

/// L5-056, L5-059, L5-060, L5-061, L5-062.
#[tokio::test]
async fn case_N02_case_N08_the_signed_bytes_are_posted_with_both_headers() {
    let (service, config) = service(|_| Does::answers(200)).await;
    let url = format!("https://push.test:{}/a%20b/../c?token=x&y", service.port);
    assert_eq!(post(config, &url).await, Ok(()));

    let [request] = &service.requests()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /c?token=x&y HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("host").unwrap(), format!("push.test:{}", service.port));
    let signed = signed();
    assert_eq!(request.body, signed.body.as_bytes());
    let timestamp = request.header(Signed::TIMESTAMP_HEADER).unwrap();
    let signature = request.header(Signed::SIGNATURE_HEADER).unwrap();
    assert_eq!((timestamp, signature), (signed.timestamp.as_str(), signed.signature.to_string().as_str()));
    let verified = Verifier::new(Profile::Blip, 0).verify(lsp(), timestamp, signature, &request.body, NOON);
    assert_eq!(verified, Ok(Notification::PaymentIncoming));
}

/// L5-062, L5-063, L5-064.
#[tokio::test]
async fn case_N08_a_redirect_is_not_followed() {
    let (elsewhere, _) = service(|_| Does::answers(200)).await;
    let location = format!("https://push.test:{}/", elsewhere.port);
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("HTTP/1.1 {status} There\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let (service, config) = service(move |_| Does::Says(redirect.clone())).await;
        assert_eq!(post(config, &url(&service)).await, Err(Undelivered::Status(status)));
        assert_eq!(service.connections(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// L5-063.
#[tokio::test]
async fn case_N08_a_hook_that_closes_midway_is_called_again_with_the_same_bytes() {
    let (service, config) = service(|number| match number {
        1 => Does::Closes,
        2 => Does::Says("HTTP/1.1 20".into()),
        _ => Does::answers(200),
    })
    .await;
    assert_eq!(post(config, &url(&service)).await, Ok(()));
    let requests = service.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.head == requests[0].head && request.body == requests[0].body));
}

#[tokio::test]
async fn case_N08_attempts_have_an_end() {
    let (service, config) = service(|_| Does::Closes).await;
    assert_eq!(post(DeliveryConfig { most_attempts: 3, ..config }, &url(&service)).await, Err(Undelivered::Closed));
    assert_eq!(service.requests().len(), 3);
}

/// L5-066.
#[tokio::test]
async fn case_N08_a_hook_that_never_answers_is_given_up() {
    let (service, config) = service(|_| Does::Waits).await;
    let config = DeliveryConfig { total_timeout: SHORT, most_attempts: 2, ..config };
    assert_eq!(post(config, &url(&service)).await, Err(Undelivered::TimedOut));
    assert_eq!(service.connections(), 2);
}

#[tokio::test]
async fn case_N08_a_host_that_does_not_take_the_connection_is_given_up() {
    let authority = Authority::new().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((HERE, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = vec![]; // until the next one does not get in
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let config = DeliveryConfig { connect_timeout: SHORT, most_attempts: 1, ..config(&authority) };
    let outcome = post(config, &format!("https://push.test:{}/", address.port())).await;
    assert!(matches!(outcome, Err(Undelivered::TimedOut | Undelivered::Unreachable)), "{outcome:?}");
}

#[tokio::test]
async fn case_N08_a_name_that_nobody_answers_for_is_given_up() {
    let (service, config) = service(|_| Does::answers(200)).await;
    let names = Names::new(|_: &str, _| None);
    let config = DeliveryConfig { resolver: Some(names.clone()), connect_timeout: SHORT, most_attempts: 2, ..config };
    assert_eq!(post(config, &url(&service)).await, Err(Undelivered::TimedOut));
    assert_eq!((names.asked(), service.connections()), (2, 0));
}

/// L5-062, L5-066.
#[tokio::test]
async fn case_N08_an_answer_without_end_is_not_read() {
    let does = Does::SaysOnAndOn("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "4\r\nbody\r\n");
    let (service, config) = service(move |_| does.clone()).await;
    assert_eq!(post(config, &url(&service)).await, Ok(()));
    tokio::time::timeout(AGES, service.hung_up()).await.expect("we hang up");
}

/// L5-062, L5-066.
#[tokio::test]
async fn case_N08_a_long_body_is_not_read() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n";
    let (service, config) = service(|_| Does::DolesOut(head.into(), 10_000_000)).await;
    assert_eq!(post(config, &url(&service)).await, Ok(()));
    tokio::time::timeout(AGES, service.hung_up()).await.expect("we hang up");
    assert!(service.doled_out() <= 64 * 1_024, "{}", service.doled_out());
}

/// L5-066.
#[tokio::test]
async fn case_N08_headers_without_end_are_not_read() {
    let does = Does::SaysOnAndOn("HTTP/1.1 200 OK\r\n", "x-more: and more\r\n");
    let (service, config) = service(move |_| does.clone()).await;
    let config = DeliveryConfig { most_attempts: 1, ..config };
    assert_eq!(post(config, &url(&service)).await, Err(Undelivered::Closed));
    tokio::time::timeout(AGES, service.hung_up()).await.expect("we hang up");
}

#[tokio::test]
async fn case_N08_nothing_is_posted_to_a_host_without_a_certificate_that_is_trusted() {
    let (ours, another) = (Authority::new().unwrap(), Authority::new().unwrap());
    for (authority, host) in [(&another, "push.test"), (&ours, "other.test")] {
        let service = Service::at(HERE, authority, &[host], |_| Does::answers(200)).await;
        let config = DeliveryConfig { most_attempts: 1, ..config(&ours) };
        assert_eq!(post(config, &url(&service)).await, Err(Undelivered::Tls));
        assert_eq!((service.connections(), service.requests().len()), (1, 0));
    }
}

/// A service for `push.test`, with a configuration that reaches it.
async fn service(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> (Service, DeliveryConfig) {
    let authority = Authority::new().unwrap();
    (Service::at(HERE, &authority, &["push.test"], does).await, config(&authority))
}

fn url(service: &Service) -> String {
    format!("https://push.test:{}/", service.port)
}
