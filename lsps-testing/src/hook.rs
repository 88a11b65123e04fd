//! A webhook on this machine: it accepts posts over HTTPS, records them, and answers as told.

pub mod stage;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lsps_host::webhook::{Addresses, DeliveryConfig, Resolve};
use lsps_types::lsps5::{InvalidUrl, Notification, Profile, Refused, Signed, Verifier, WebhookUrl};
use lsps_types::{PeerId, Timestamp};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::https::Authority;

/// A webhook server. Dropping it stops the server.
pub struct Hook {
    port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
    serving: JoinHandle<()>,
}

/// A post as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Path and query, which identify the webhook.
    pub path: String,
    /// Header `x-lsps5-timestamp`.
    pub timestamp: String,
    /// Header `x-lsps5-signature`.
    pub signature: String,
    /// Bytes of the body.
    pub body: Vec<u8>,
}

impl Hook {
    /// Starts a server on a free port, with a certificate of this authority.
    ///
    /// # Errors
    ///
    /// There is no free port, or no certificate for it.
    pub async fn start(
        authority: &Authority,
        answers: impl Fn(&Post) -> StatusCode + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let tls = authority.acceptor(&[HOST])?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, posts) = (listener.local_addr()?.port(), Arc::new(Mutex::new(vec![])));
        let serving = tokio::spawn(accept(listener, tls, Arc::clone(&posts), Arc::new(answers)));
        Ok(Self { port, posts, serving })
    }

    /// Starts a server that answers every post with 200.
    ///
    /// # Errors
    ///
    /// Errors of [`start`](Self::start).
    pub async fn content(authority: &Authority) -> io::Result<Self> {
        Self::start(authority, |_| StatusCode::OK).await
    }

    /// Origin of the server.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("https://{HOST}:{}", self.port)
    }

    /// URL of the webhook with this path.
    ///
    /// # Errors
    ///
    /// The path is not valid.
    pub fn url(&self, path: &str) -> Result<WebhookUrl, InvalidUrl> {
        WebhookUrl::new(self.origin() + path)
    }

    /// The posts so far.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.posts).clone()
    }

    /// The notifications of this LSP so far, with their signatures verified.
    ///
    /// # Errors
    ///
    /// The reason for which a post is not authentic.
    pub fn notifications(&self, lsp: PeerId) -> Result<Vec<Notification>, Refused> {
        self.posts().iter().map(|post| post.verified(lsp)).collect()
    }
}

impl Post {
    /// The verified notification of this LSP, with any timestamp.
    ///
    /// # Errors
    ///
    /// The post is not the LSP's.
    pub fn verified(&self, lsp: PeerId) -> Result<Notification, Refused> {
        let any_time = Timestamp::from_unix_millis(0);
        Verifier::new(Profile::Blip, 0).verify(lsp, &self.timestamp, &self.signature, &self.body, any_time)
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        f.debug_struct("Post")
            .field("path", &self.path)
            .field("timestamp", &self.timestamp)
            .field("body", &body)
            .finish()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Settings with which an LSP reaches the server: names resolve to this machine, which may be contacted, and the
/// authority is trusted.
#[must_use]
pub fn reached_with(authority: &Authority) -> DeliveryConfig {
    let mut config = DeliveryConfig::default();
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

async fn accept<F>(listener: TcpListener, tls: TlsAcceptor, posts: Arc<Mutex<Vec<Post>>>, answers: Arc<F>)
where
    F: Fn(&Post) -> StatusCode + Send + Sync + 'static,
{
    // The connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, posts, answers) = (tls.clone(), Arc::clone(&posts), Arc::clone(&answers));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| respond(&posts, &*answers, request));
            let _it_hung_up = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    posts: &Mutex<Vec<Post>>,
    answers: impl Fn(&Post) -> StatusCode,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let post = Post {
        path: head.uri.path_and_query().map_or_else(String::new, |path| path.as_str().into()),
        timestamp: header(Signed::TIMESTAMP_HEADER),
        signature: header(Signed::SIGNATURE_HEADER),
        body: body.into(),
    };
    let mut response = Response::new(Empty::new());
    if head.method == Method::POST {
        *response.status_mut() = answers(&post);
        lock(posts).push(post);
    } else {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    Ok(response)
}

/// Locks the list, which is consistent even if a test panicked.
fn lock(posts: &Mutex<Vec<Post>>) -> MutexGuard<'_, Vec<Post>> {
    posts.lock().unwrap_or_else(PoisonError::into_inner)
}

const HOST: &str = "push.test";
/// Longest body, in bytes.
const LONGEST: usize = 4_096;
