//! A notification service on a real socket with scripted behaviour, and names that resolve to it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::https::Authority;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lsps_host::webhook::{Addresses, Answer, Delivery, DeliveryConfig, Resolve, Undelivered, Webhooks};
use lsps_service::Urgency;
use lsps_types::lsps5::{Notification, Signed, WebhookUrl};
use lsps_types::signature::{LnSignature, SignMessage};
use lsps_types::{PeerId, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Reaction of a service to a request that it has read.
#[derive(Clone, Debug)]
pub enum Does {
    /// Writes these bytes and closes the connection.
    Says(String),
    /// Writes these bytes, then the others for as long as somebody reads them.
    SaysOnAndOn(&'static str, &'static str),
    /// Writes these bytes, then a body of this length in pieces, with time for the reader after each.
    DolesOut(String, usize),
    /// Writes nothing, and keeps the connection open.
    Waits,
    /// Closes the connection without an answer.
    Closes,
}

impl Does {
    /// Answers with this status and no body.
    #[must_use]
    pub fn answers(status: u16) -> Self {
        Self::Says(format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    /// First line and headers.
    pub head: String,
    /// Bytes of the body.
    pub body: Vec<u8>,
}

impl Request {
    /// Value of a header, whose name may be in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let line =
            self.head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| value)
    }
}

/// A notification service. Dropping it stops the server.
pub struct Service {
    /// Port on which it listens.
    pub port: u16,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    doled_out: AtomicUsize,
    hung_up: tokio::sync::Notify,
}

impl Service {
    /// Starts a service with a certificate for these hosts; `does` gets the number of the request.
    ///
    /// # Panics
    ///
    /// The port cannot be opened, or a host is not a name.
    pub async fn at(
        ip: Ipv4Addr,
        authority: &Authority,
        hosts: &[&str],
        does: impl Fn(usize) -> Does + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Seen::default()));
        let serving = tokio::spawn(accept(listener, authority.acceptor(hosts).unwrap(), Arc::clone(&seen), does));
        Self { port, seen, serving }
    }

    /// Number of TCP connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Requests so far.
    ///
    /// # Panics
    ///
    /// The service panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Number of body bytes that [`Does::DolesOut`] wrote before the other side closed: at least the bytes that it has
    /// read.
    #[must_use]
    pub fn doled_out(&self) -> usize {
        self.seen.doled_out.load(Ordering::SeqCst)
    }

    /// Waits until the other side of [`Does::SaysOnAndOn`] or [`Does::DolesOut`] has closed.
    pub async fn hung_up(&self) {
        self.seen.hung_up.notified().await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    seen: Arc<Seen>,
    does: impl Fn(usize) -> Does + Send + Sync + 'static,
) {
    let does = Arc::new(does);
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, seen, does) = (tls.clone(), Arc::clone(&seen), Arc::clone(&does));
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else { return };
            let Some(request) = read(&mut stream).await else { return };
            let number = {
                let mut requests = seen.requests.lock().unwrap();
                requests.push(request);
                requests.len()
            };
            act(does(number), stream, &seen).await;
        });
    }
}

async fn act(does: Does, mut stream: TlsStream<TcpStream>, seen: &Seen) {
    match does {
        Does::Says(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Does::SaysOnAndOn(first, again) => {
            let _ = stream.write_all(first.as_bytes()).await;
            while stream.write_all(again.as_bytes()).await.is_ok() {}
            seen.hung_up.notify_one();
        }
        Does::DolesOut(first, length) => {
            let _ = stream.write_all(first.as_bytes()).await;
            dole_out(length, &mut stream, &seen.doled_out).await;
            seen.hung_up.notify_one();
        }
        Does::Waits => {
            let _ = stream.read(&mut [0]).await;
        }
        Does::Closes => {}
    }
}

/// Writes so slowly that bytes which are not read are not written either, in spite of the network's buffers.
async fn dole_out(length: usize, stream: &mut TlsStream<TcpStream>, written: &AtomicUsize) {
    for start in (0..length).step_by(PIECE) {
        let piece = PIECE.min(length - start);
        if stream.write_all(&vec![b'x'; piece]).await.is_err() {
            return;
        }
        written.fetch_add(piece, Ordering::SeqCst);
        if tokio::time::timeout(SHORT, stream.read(&mut [0])).await.is_ok() {
            return; // it has nothing more to say, so it hung up
        }
    }
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Request> {
    let mut bytes = vec![];
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let request = Request { head: String::from_utf8(bytes[..end].into()).unwrap(), body: bytes[end + 4..].into() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        if request.body.len() >= length {
            return Some(request);
        }
    }
}

/// A resolver that a test controls, by the name and the number of earlier queries.
pub struct Names<F> {
    leads: F,
    asked: AtomicUsize,
}

impl<F> Names<F> {
    /// Creates a resolver of `leads`; a name for which it returns `None` is never resolved.
    pub fn new(leads: F) -> Arc<Self> {
        Arc::new(Self { leads, asked: AtomicUsize::new(0) })
    }

    /// Number of queries so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl<F: Fn(&str, usize) -> Option<Vec<IpAddr>> + Send + Sync> Resolve for Names<F> {
    fn resolve(&self, host: &str) -> Addresses {
        match (self.leads)(host, self.asked.fetch_add(1, Ordering::SeqCst)) {
            Some(addresses) => Box::pin(async { Ok(addresses) }),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// Settings in which every name resolves to [`HERE`], which may be contacted, the authority is trusted, pauses are
/// short, and attempts have no effective time limit.
///
/// # Panics
///
/// Never: the network can be parsed.
#[must_use]
pub fn config(authority: &Authority) -> DeliveryConfig {
    let mut config = DeliveryConfig::default();
    config.targets.exempt_networks = vec!["127.0.0.1/32".parse().unwrap()];
    config.extra_roots = vec![authority.root()];
    config.resolver = Some(Names::new(|_: &str, _| Some(vec![HERE.into()])));
    config.first_pause = Duration::from_millis(1);
    (config.connect_timeout, config.total_timeout, config.lifetime) = (AGES, AGES, AGES);
    config
}

/// Posts one notification, and waits for its result.
///
/// # Errors
///
/// The reason for which it was not delivered.
///
/// # Panics
///
/// The configuration is refused.
pub async fn post(config: DeliveryConfig, url: &str) -> Result<(), Undelivered> {
    let (webhooks, mut answers) = Webhooks::new(config).unwrap();
    webhooks.post(delivery(1, url));
    answer(&mut answers).await.outcome
}

/// A notification to this URL, for a client of its own.
///
/// # Panics
///
/// `url` is not a URL.
#[must_use]
pub fn delivery(id: u32, url: &str) -> Delivery<u32> {
    // Each delivery has its own client, as a client has only its share of the queue.
    let mut client = PeerId([2; 33]);
    client.0[1..5].copy_from_slice(&id.to_be_bytes());
    let url = WebhookUrl::new(url.into()).unwrap();
    Delivery { id, client, urgency: Urgency::Normal, url, signed: signed(), within: AGES }
}

/// The next answer of the queue.
///
/// # Panics
///
/// No answer arrives.
pub async fn answer(answers: &mut UnboundedReceiver<Answer<u32>>) -> Answer<u32> {
    tokio::time::timeout(AGES, answers.recv()).await.expect("an answer").expect("the queue is there")
}

/// A notification of an incoming payment, signed by [`lsp`] at [`NOON`].
///
/// # Panics
///
/// Never: the notification has a body.
#[must_use]
pub fn signed() -> Signed {
    let Ok(signed) = Signed::new(Notification::PaymentIncoming.body().unwrap(), NOON, &Key);
    signed
}

/// Node id of the LSP that signs.
#[must_use]
pub fn lsp() -> PeerId {
    PeerId(PublicKey::from_secret_key(&Secp256k1::new(), &key()).serialize())
}

struct Key;

impl SignMessage for Key {
    type Error = Infallible;

    fn sign_message(&self, message: &[u8]) -> Result<LnSignature, Infallible> {
        Ok(LnSignature::sign(message, &key()))
    }
}

fn key() -> SecretKey {
    SecretKey::from_slice(&[7; 32]).unwrap()
}

/// Time at which notifications are signed.
pub const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_007);
/// Address of the services.
pub const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Address that may not be contacted.
pub const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A time limit that no test reaches.
pub const AGES: Duration = Duration::from_secs(120);
/// Size of a piece of a body, in bytes.
const PIECE: usize = 1_024;
/// Time limit for an answer that never arrives.
pub const SHORT: Duration = Duration::from_millis(200);
