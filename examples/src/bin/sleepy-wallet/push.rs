//! A notification service for one phone, over HTTPS on this machine.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lsps_examples::https::Authority;
use lsps_examples::scene::Error;
use lsps_transport_ldk::onchain::{Clock as _, SystemClock};
use lsps_transport_ldk::webhook::{Addresses, Resolve, WebhookConfig};
use lsps_types::PeerId;
use lsps_types::lsps5::{HookAddress, Notification, Profile, Signed, Verifier, WebhookUrl};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Passes on to its phone what the phone's LSP has signed. Dropping it ends it.
pub struct PushService {
    port: u16,
    phone: Arc<Mutex<Option<Phone>>>,
    passed_on: mpsc::UnboundedReceiver<Notification>,
    serving: JoinHandle<()>,
}

/// A phone that may be woken, and on whose word.
struct Phone {
    lsp: PeerId,
    /// Known to the phone's LSP alone: there is a secret in it.
    path: String,
    verifier: Verifier,
}

impl PushService {
    /// On a free port, with a certificate of this authority.
    pub async fn start(authority: &Authority) -> io::Result<Self> {
        let tls = authority.acceptor(&[HOST])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, phone) = (listener.local_addr()?.port(), Arc::new(Mutex::new(None)));
        let (pass_on, passed_on) = mpsc::unbounded_channel();
        let serving = tokio::spawn(accept(listener, tls, Arc::clone(&phone), pass_on));
        Ok(Self { port, phone, passed_on, serving })
    }

    /// A phone signs up, with a random secret. What its LSP is to post to.
    pub fn enrol(&self, lsp: PeerId, secret: &[u8; 32]) -> Result<WebhookUrl, Error> {
        let origin = format!("https://{HOST}:{}", self.port);
        let url = HookAddress { service: &format!("{origin}/wake"), lsp, device: "phone", secret }.url()?;
        let path = url.as_str().trim_start_matches(&origin).into();
        let phone = Phone { lsp, path, verifier: Verifier::new(Profile::Legacy, REMEMBERED) };
        *self.phone.lock().unwrap_or_else(PoisonError::into_inner) = Some(phone);
        Ok(url)
    }

    /// The next notification that was verified.
    pub async fn next(&mut self) -> Result<Notification, Error> {
        let next = tokio::time::timeout(PATIENCE, self.passed_on.recv()).await;
        next.ok().flatten().ok_or_else(|| "the LSP does not call".into())
    }

    /// Whether nothing more came.
    pub fn is_quiet(&self) -> bool {
        self.passed_on.is_empty()
    }
}

impl Drop for PushService {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// How an LSP reaches it: the name leads to this machine, which may be contacted, and the authority is trusted.
pub fn reached_with(authority: &Authority) -> WebhookConfig {
    let mut config = WebhookConfig::default();
    config.targets.exempt_networks = vec![IpAddr::from(Ipv4Addr::LOCALHOST).into()];
    config.extra_roots = vec![authority.root()];
    config.resolver = Some(Arc::new(ThisMachine));
    config
}

struct ThisMachine;

impl Resolve for ThisMachine {
    fn resolve(&self, _: &str) -> Addresses {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    phone: Arc<Mutex<Option<Phone>>>,
    pass_on: mpsc::UnboundedSender<Notification>,
) {
    // Its connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, phone, pass_on) = (tls.clone(), Arc::clone(&phone), pass_on.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| respond(&phone, &pass_on, request));
            let _it_hung_up = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    phone: &Mutex<Option<Phone>>,
    pass_on: &mpsc::UnboundedSender<Notification>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (timestamp, signature) = (header(Signed::TIMESTAMP_HEADER), header(Signed::SIGNATURE_HEADER));
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());

    let mut phone = phone.lock().unwrap_or_else(PoisonError::into_inner);
    let of_secret = phone.as_mut().filter(|phone| head.method == Method::POST && phone.path == path);
    let verified = of_secret.map(|phone| {
        let Phone { lsp, verifier, .. } = phone;
        verifier.verify(*lsp, timestamp, signature, &body, SystemClock.now())
    });
    let status = match verified {
        Some(Ok(notification)) => {
            let _nobody_waits = pass_on.send(notification);
            StatusCode::OK
        }
        Some(Err(_)) => StatusCode::FORBIDDEN,
        None => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}

const HOST: &str = "push.test";
/// Of a body, in bytes.
const LONGEST: usize = 4_096;
/// Notifications whose replays are noticed.
const REMEMBERED: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);
