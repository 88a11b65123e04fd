//! A webhook on this machine: takes posts over HTTPS, keeps them, and answers as it is told.

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

/// Takes posts. Dropping it ends it.
pub struct Hook {
    port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
    serving: JoinHandle<()>,
}

/// What came, as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Path and query: whose webhook it is.
    pub path: String,
    /// Header `x-lsps5-timestamp`.
    pub timestamp: String,
    /// Header `x-lsps5-signature`.
    pub signature: String,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Hook {
    /// On a free port, with a certificate of this authority.
    ///
    /// # Errors
    ///
    /// When there is no port or no certificate for it.
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

    /// One that is content with everything.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn content(authority: &Authority) -> io::Result<Self> {
        Self::start(authority, |_| StatusCode::OK).await
    }

    /// Where it takes posts.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("https://{HOST}:{}", self.port)
    }

    /// The webhook with this path.
    ///
    /// # Errors
    ///
    /// When it is no path.
    pub fn url(&self, path: &str) -> Result<WebhookUrl, InvalidUrl> {
        WebhookUrl::new(self.origin() + path)
    }

    /// What came so far.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.posts).clone()
    }

    /// What this LSP called for so far, by its signature.
    ///
    /// # Errors
    ///
    /// Why a post is none of its.
    pub fn notifications(&self, lsp: PeerId) -> Result<Vec<Notification>, Refused> {
        self.posts().iter().map(|post| post.verified(lsp)).collect()
    }
}

impl Post {
    /// What the LSP says, whenever it said it.
    ///
    /// # Errors
    ///
    /// When it is not the LSP that says it.
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

/// How an LSP reaches it: names lead to this machine, which may be contacted, and the authority is trusted.
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
    // Its connections end with the server.
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

/// A list of what came is as good as it was, wherever a test ended.
fn lock(posts: &Mutex<Vec<Post>>) -> MutexGuard<'_, Vec<Post>> {
    posts.lock().unwrap_or_else(PoisonError::into_inner)
}

const HOST: &str = "push.test";
/// Of a body, in bytes.
const LONGEST: usize = 4_096;
