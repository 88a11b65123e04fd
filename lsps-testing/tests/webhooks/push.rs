//! A notification service that anybody can reach, and the notifications that it passes on.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lightning::sign::{KeysManager, NodeSigner as _, Recipient};
use lsps_host::ports::{Clock as _, SystemClock};
use lsps_testing::https::Authority;
use lsps_testing::push::PushService;
use lsps_types::lsps5::{Notification, Signed, signed_text};
use lsps_types::{DateTime, PeerId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// L5-067, L5-068, L5-077
#[tokio::test]
async fn only_what_its_lsp_posts_to_the_phones_secret_address_is_passed_on_and_that_once() {
    let (authority, lsp) = (Authority::new().unwrap(), Lsp::of(1));
    let mut push = PushService::start(&authority).await.unwrap();
    let url = push.enrol(lsp.id(), &[7; 32]).unwrap().as_str().to_owned();
    let asks = |method: &'static str, url: String, headers: String| {
        let authority = &authority;
        async move { status(authority, method, &url, &headers, &body()).await }
    };
    assert_eq!(asks("GET", url.clone(), lsp.signs()).await, 405);
    assert_eq!(asks("POST", url.replace("/wake", "/sleep"), lsp.signs()).await, 404, "nobody's secret");
    assert_eq!(asks("POST", url.clone(), Lsp::of(2).signs()).await, 403, "another LSP");
    assert_eq!(asks("POST", url.clone(), String::new()).await, 403);
    assert!(push.is_quiet());

    let headers = lsp.signs();
    assert_eq!(asks("POST", url.clone(), headers.clone()).await, 200);
    assert_eq!(asks("POST", url, headers).await, 403, "a replay");
    assert_eq!(push.next().await.unwrap(), Notification::PaymentIncoming);
    assert!(push.is_quiet());
}

fn body() -> String {
    Notification::PaymentIncoming.body().unwrap()
}

struct Lsp(KeysManager);

impl Lsp {
    fn of(seed: u8) -> Self {
        Self(KeysManager::new(&[seed; 32], 0, 0, true))
    }

    fn id(&self) -> PeerId {
        PeerId(self.0.get_node_id(Recipient::Node).unwrap().serialize())
    }

    /// Headers with the timestamp and its signature.
    fn signs(&self) -> String {
        let timestamp = DateTime::from(SystemClock.now());
        let signature = self.0.sign_message(signed_text(timestamp.as_str(), &body()).as_bytes()).unwrap();
        let (first, second) = (Signed::TIMESTAMP_HEADER, Signed::SIGNATURE_HEADER);
        format!("{first}: {}\r\n{second}: {signature}\r\n", timestamp.as_str())
    }
}

/// Sends this request, as anybody may, and returns the status of the response.
async fn status(authority: &Authority, method: &str, url: &str, headers: &str, body: &str) -> u16 {
    let rest = url.strip_prefix("https://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let (name, port) = host.split_once(':').unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.root()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let tls = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse().unwrap())).await.unwrap();
    let mut stream = tls.connect(name.to_owned().try_into().unwrap(), stream).await.unwrap();
    let length = body.len();
    let request =
        format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}
