//! Posts LSPS5 notifications over HTTPS. Feature `webhook-http`.
//!
//! [`WebhookNotifier`] serves an LSP. The [`Webhooks`] below it accept any signed notification:
//!
//! ```no_run
//! # use lsps_host::webhook::{CannotPost, Delivery, DeliveryConfig, Webhooks};
//! # async fn example(delivery: Delivery<u64>) -> Result<(), CannotPost> {
//! let (webhooks, mut answers) = Webhooks::new(DeliveryConfig::default())?; // within a tokio runtime
//! webhooks.post(delivery); // does not wait
//! while let Some(answer) = answers.recv().await {
//!     println!("{}: {:?}", answer.id, answer.outcome); // one for each delivery
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Strangers choose the URLs. So only addresses of the public Internet are contacted; they are resolved again for each
//! attempt and connected to as they were checked ([`Targets`]). Nothing is sent before the host has shown its
//! certificate, redirects are not followed, no proxy is used, and only the status of the answer is read.
//!
//! Urgent notifications go first, and registrations, which strangers can cause without end, have a small share. Domains
//! take turns, and neither a domain nor a client has more than its share of queue and connections. When all connections
//! are in use and others wait, an attempt ends once it has used up its [`patience`](DeliveryConfig::patience): slow or
//! dead hooks delay the others by that at most.
//!
//! An attempt is repeated only if no HTTP status came back, with the same signature, after a pause that grows.

mod address;
mod dispatch;
mod https;
mod notifier;
mod queue;
mod report;
mod resolve;
mod target;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use lsps_service::Urgency;
use lsps_types::PeerId;
use lsps_types::lsps5::{Signed, WebhookUrl};

pub use ipnet::IpNet;
pub use notifier::WebhookNotifier;
pub use resolve::{Addresses, Resolve};
pub use target::Targets;
pub use tokio_rustls::rustls::pki_types::CertificateDer;

use dispatch::Shared;
use https::HttpsSender;
use target::PostRequest;

/// A queue of notifications, and the task that posts them. Clones share one queue; when the last is dropped, the
/// notifications that still wait are not posted.
pub struct Webhooks<Id> {
    running: Arc<Running<Id>>,
}

/// One notification for one webhook.
#[derive(Clone, Debug)]
pub struct Delivery<Id> {
    /// The id of the delivery, which the answer repeats.
    pub id: Id,
    /// The client that registered the webhook. No client has more than its share of the queue.
    pub client: PeerId,
    /// The urgency of the delivery: it goes before less urgent ones, which lose their places to it.
    pub urgency: Urgency,
    /// The URL of the webhook.
    pub url: WebhookUrl,
    /// The body and the two headers, sent exactly as they were signed.
    pub signed: Signed,
    /// The longest time from [`Webhooks::post`] to the start of the last attempt; after that the notification is
    /// worthless.
    pub within: Duration,
}

/// The result of a delivery; each delivery has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<Id> {
    /// The id of the delivery.
    pub id: Id,
    /// The outcome: success is `200 OK` and nothing else. Spec: LSPS5 "Webhook Call".
    pub outcome: Result<(), Undelivered>,
}

/// The reason for which a notification was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Too many notifications wait: in all, for this client, for this domain, or of this urgency.
    #[error("too many notifications wait")]
    QueueFull,
    /// [`Webhooks::withdraw`] took the notification back.
    #[error("it was withdrawn")]
    Withdrawn,
    /// The notification waited for longer than [`Delivery::within`] or [`DeliveryConfig::lifetime`].
    #[error("it waited for too long")]
    TooLate,
    /// The URL cannot be posted to.
    #[error("the URL cannot be used")]
    Url,
    /// The port is not among [`Targets::ports`].
    #[error("port {0} is not contacted")]
    Port(u16),
    /// The host has an address that must not be contacted.
    #[error("{0} is not contacted")]
    Address(IpAddr),
    /// The host answered, but not with 200.
    #[error("the answer was HTTP status {0}")]
    Status(u16),
    /// No name server knows an address of the host.
    #[error("the host has no address")]
    Unresolved,
    /// No address of the host accepted the connection.
    #[error("no connection")]
    Unreachable,
    /// The host's certificate is not trusted, or the host speaks no TLS.
    #[error("TLS failed")]
    Tls,
    /// The connection ended without a status, or the answer was not HTTP.
    #[error("closed without an HTTP status")]
    Closed,
    /// There was no connection within [`DeliveryConfig::connect_timeout`], or no status within
    /// [`DeliveryConfig::total_timeout`].
    #[error("no answer in time")]
    TimedOut,
    /// The attempt took longer than [`DeliveryConfig::patience`] while other deliveries waited.
    #[error("gave way to others")]
    GaveWay,
}

impl Undelivered {
    /// Whether another attempt could have another result: no HTTP status came back, and no rule forbids contacting the
    /// host.
    #[must_use]
    pub fn is_worth_another_attempt(self) -> bool {
        match self {
            Self::Unresolved | Self::Unreachable | Self::Tls | Self::Closed | Self::TimedOut | Self::GaveWay => true,
            Self::QueueFull
            | Self::Withdrawn
            | Self::TooLate
            | Self::Url
            | Self::Port(_)
            | Self::Address(_)
            | Self::Status(_) => false,
        }
    }
}

/// The settings of the delivery. The defaults suit an LSP on the Internet.
#[derive(Clone)]
pub struct DeliveryConfig {
    /// The hosts, ports and networks that may be contacted.
    pub targets: Targets,
    /// The certificate authorities that are trusted besides those of Mozilla, which are compiled in.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The resolver of host names. `None`: the name servers of the system, asked without blocking a thread.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Largest number of deliveries without a result.
    pub most_pending: usize,
    /// Largest number of deliveries without a result for one client.
    pub most_pending_per_client: usize,
    /// Largest number of deliveries without a result for one registrable domain (`example.co.uk` for
    /// `push.example.co.uk`), which has any number of host names, or for one address.
    pub most_pending_per_domain: usize,
    /// Largest number of concurrent attempts. Each uses a socket.
    pub most_at_once: usize,
    /// Largest number of concurrent attempts for one domain. No such limit holds for the addresses behind it: many
    /// domains share those of a content network.
    pub most_at_once_per_domain: usize,
    /// Time limit for resolving the host and connecting to it.
    pub connect_timeout: Duration,
    /// Time limit for an attempt, until its status arrives.
    pub total_timeout: Duration,
    /// Time that an attempt has in any case when all connections are in use and others wait. An attempt that gave way
    /// is repeated with twice the time.
    pub patience: Duration,
    /// Largest number of attempts for one delivery.
    pub most_attempts: u32,
    /// Pause before the second attempt; the pause before the third is four times as long, and so on. Up to half of a
    /// pause is random.
    pub first_pause: Duration,
    /// Longest time from [`Webhooks::post`] to the start of the last attempt, whatever a delivery says. Receivers may
    /// refuse signatures that are older than ten minutes.
    pub lifetime: Duration,
    /// Seed of the random part of the pauses, for tests.
    pub seed: Option<u64>,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            targets: Targets::default(),
            extra_roots: vec![],
            resolver: None,
            most_pending: 10_000,
            most_pending_per_client: 100,
            most_pending_per_domain: 2_500,
            most_at_once: 256,
            most_at_once_per_domain: 32,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(2),
            most_attempts: 4,
            first_pause: Duration::from_secs(1),
            lifetime: Duration::from_secs(10 * 60),
            seed: None,
        }
    }
}

impl DeliveryConfig {
    fn check(&self) -> Result<(), CannotPost> {
        let attempts = usize::try_from(self.most_attempts).unwrap_or(usize::MAX);
        let limits = [
            ("most_pending", self.most_pending),
            ("most_pending_per_client", self.most_pending_per_client),
            ("most_pending_per_domain", self.most_pending_per_domain),
            ("most_at_once", self.most_at_once),
            ("most_at_once_per_domain", self.most_at_once_per_domain),
            ("most_attempts", attempts),
        ];
        let zero = limits.into_iter().find(|(_, limit)| *limit == 0);
        zero.map_or(Ok(()), |(name, _)| Err(CannotPost::Zero(name)))
    }
}

/// The reason for which nothing can be posted.
#[derive(Debug, thiserror::Error)]
pub enum CannotPost {
    /// An extra root is not a certificate, or no provider of cryptography fits.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The system's name servers are not known.
    #[error("no resolver: {0}")]
    Resolver(String),
    /// A limit is 0, which lets nothing through.
    #[error("`DeliveryConfig::{0}` is 0")]
    Zero(&'static str),
}

/// Counts of finished and pending deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookCounts {
    /// Deliveries without a result, including those with an attempt in progress.
    pub pending: usize,
    /// Attempts in progress.
    pub under_way: usize,
    /// Deliveries that were answered with 200.
    pub delivered: u64,
    /// Deliveries that failed for good.
    pub failed: u64,
    /// Attempts that failed and are or were followed by another.
    pub retried: u64,
    /// Attempts that gave way to others.
    pub gave_way: u64,
}

impl<Id: fmt::Debug + Send + 'static> Webhooks<Id> {
    /// Starts posting, on the present tokio runtime. The answers wait until they are received.
    ///
    /// # Errors
    ///
    /// TLS or the resolver cannot be set up, or a limit is 0.
    pub fn new(config: DeliveryConfig) -> Result<(Self, mpsc::UnboundedReceiver<Answer<Id>>), CannotPost> {
        config.check()?;
        let sender = Arc::new(HttpsSender::new(&config)?);
        let send = move |request: Arc<PostRequest>| {
            let sender = Arc::clone(&sender);
            async move { sender.send(&request).await }
        };
        let (shared, answers) = Shared::new(config);
        let task = tokio::spawn(dispatch::run(Arc::clone(&shared), send)).abort_handle();
        Ok((Self { running: Arc::new(Running { shared, task }) }, answers))
    }

    /// Accepts a delivery without blocking. If there is no room for it, its answer says so.
    pub fn post(&self, delivery: Delivery<Id>) {
        self.running.shared.post(delivery);
    }

    /// Withdraws the deliveries of a client for whose ids `is_it` is true. A delivery that is being posted is not
    /// attempted again.
    pub fn withdraw(&self, client: PeerId, is_it: impl Fn(&Id) -> bool) {
        self.running.shared.withdraw(client, is_it);
    }

    /// The counts of the deliveries so far.
    #[must_use]
    pub fn counts(&self) -> WebhookCounts {
        self.running.shared.counts()
    }
}

impl<Id> Clone for Webhooks<Id> {
    fn clone(&self) -> Self {
        Self { running: Arc::clone(&self.running) }
    }
}

struct Running<Id> {
    shared: Arc<Shared<Id>>,
    task: AbortHandle,
}

impl<Id> Drop for Running<Id> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
