//! One attempt: resolve the host, check its addresses, connect to one of them, post, read the status.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Host;

use lsps_types::lsps5::Signed;

use super::resolve::SystemResolver;
use super::target::{PostRequest, Target};
use super::{CannotPost, DeliveryConfig, Resolve, Targets, Undelivered};

pub(super) struct HttpsSender {
    targets: Targets,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    connect_timeout: Duration,
    total_timeout: Duration,
}

impl HttpsSender {
    pub fn new(config: &DeliveryConfig) -> Result<Self, CannotPost> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for root in &config.extra_roots {
            roots.add(root.clone())?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let resolver = match &config.resolver {
            Some(resolver) => Arc::clone(resolver),
            None => Arc::new(SystemResolver::new()?),
        };
        let (connect_timeout, total_timeout) = (config.connect_timeout, config.total_timeout);
        let tls = TlsConnector::from(Arc::new(tls));
        Ok(Self { targets: config.targets.clone(), resolver, tls, connect_timeout, total_timeout })
    }

    pub async fn send(&self, request: &PostRequest) -> Result<(), Undelivered> {
        let attempt = async {
            let connecting = timeout(self.connect_timeout, self.connect(&request.target));
            let stream = connecting.await.map_err(|_| Undelivered::TimedOut)??;
            let stream = self.shake_hands(&request.target, stream).await?;
            match post(stream, request).await? {
                StatusCode::OK => Ok(()),
                other => Err(Undelivered::Status(other.as_u16())),
            }
        };
        timeout(self.total_timeout, attempt).await.unwrap_or(Err(Undelivered::TimedOut))
    }

    /// Connects to the addresses that were checked, so that a name that resolves otherwise a moment later gains
    /// nothing.
    async fn connect(&self, target: &Target) -> Result<TcpStream, Undelivered> {
        let addresses = self.addresses(target).await.map_err(|_| Undelivered::Unresolved)?;
        self.targets.check_addresses(target, &addresses)?;
        let tried = addresses.len().min(MOST_ADDRESSES);
        // Each address has its share of the time, so that one which does not answer does not hide the others.
        let share = self.connect_timeout / u32::try_from(tried).unwrap_or(u32::MAX);
        for address in addresses.into_iter().take(tried) {
            let connecting = TcpStream::connect(SocketAddr::new(address, target.port));
            if let Ok(Ok(stream)) = timeout(share, connecting).await {
                return Ok(stream);
            }
        }
        Err(Undelivered::Unreachable)
    }

    async fn addresses(&self, target: &Target) -> io::Result<Vec<IpAddr>> {
        match &target.host {
            Host::Domain(name) => self.resolver.resolve(name).await,
            Host::Ipv4(v4) => Ok(vec![IpAddr::V4(*v4)]),
            Host::Ipv6(v6) => Ok(vec![IpAddr::V6(*v6)]),
        }
    }

    async fn shake_hands(&self, target: &Target, stream: TcpStream) -> Result<TlsStream<TcpStream>, Undelivered> {
        let name = match &target.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| Undelivered::Url)?,
            Host::Ipv4(v4) => ServerName::from(IpAddr::V4(*v4)),
            Host::Ipv6(v6) => ServerName::from(IpAddr::V6(*v6)),
        };
        self.tls.connect(name, stream).await.map_err(|_| Undelivered::Tls)
    }
}

/// Posts, and reads only the status: the connection is dropped with the rest of the answer unread.
async fn post(stream: TlsStream<TcpStream>, request: &PostRequest) -> Result<StatusCode, Undelivered> {
    let request = http_request(request).ok_or(Undelivered::Url)?;
    let shaken = http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| Undelivered::Closed)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(|_| Undelivered::Closed)
}

/// Builds the request. Spec: LSPS5 "Webhook Call": `POST`, the two headers, the body as it was signed.
fn http_request(request: &PostRequest) -> Option<Request<Full<Bytes>>> {
    let (target, signed) = (&request.target, &request.signed);
    Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, concat!("lsps/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .header(Signed::TIMESTAMP_HEADER, signed.timestamp.as_str())
        .header(Signed::SIGNATURE_HEADER, signed.signature.to_string())
        .body(Full::from(signed.body.clone()))
        .ok()
}

/// Largest size of status line and headers, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// Largest number of addresses of a host that are tried.
const MOST_ADDRESSES: usize = 8;
