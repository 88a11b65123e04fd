//! A notification service for one phone, over HTTPS on this machine.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use lsps_host::ports::{Clock as _, SystemClock};
use lsps_types::PeerId;
use lsps_types::lsps5::{HookAddress, Notification, Profile, Verifier, WebhookUrl};
use tokio::sync::mpsc;

use crate::Error;
use crate::hook::{Hook, Post};
use crate::https::Authority;

/// Passes notifications with a valid signature of the phone's LSP on to the phone. Dropping it stops the server.
pub struct PushService {
    hook: Hook,
    phone: Arc<Mutex<Option<Phone>>>,
    passed_on: mpsc::UnboundedReceiver<Notification>,
}

/// A phone, with the LSP that may wake it.
struct Phone {
    lsp: PeerId,
    /// Path of the webhook, which contains a secret that only the LSP knows.
    path: String,
    verifier: Verifier,
}

impl PushService {
    /// Starts the service on a free port, with a certificate of this authority.
    ///
    /// # Errors
    ///
    /// There is no free port, or no certificate for it.
    pub async fn start(authority: &Authority) -> io::Result<Self> {
        let phone = Arc::new(Mutex::new(None));
        let (pass_on, passed_on) = mpsc::unbounded_channel();
        let p = Arc::clone(&phone);
        let hook = Hook::start(authority, move |post| respond(&p, &pass_on, post)).await?;
        Ok(Self { hook, phone, passed_on })
    }

    /// Enrols a phone with this secret, and returns the webhook URL for its LSP.
    ///
    /// # Errors
    ///
    /// The URL is not valid.
    pub fn enrol(&self, lsp: PeerId, secret: &[u8; 32]) -> Result<WebhookUrl, Error> {
        let origin = self.hook.origin();
        let url = HookAddress { service: &format!("{origin}/wake"), lsp, device: "phone", secret }.url()?;
        let path = url.as_str().trim_start_matches(&origin).into();
        let phone = Phone { lsp, path, verifier: Verifier::new(Profile::Legacy, REMEMBERED) };
        *self.phone.lock().unwrap_or_else(PoisonError::into_inner) = Some(phone);
        Ok(url)
    }

    /// The next verified notification.
    ///
    /// # Errors
    ///
    /// No notification arrives.
    pub async fn next(&mut self) -> Result<Notification, Error> {
        let next = tokio::time::timeout(PATIENCE, self.passed_on.recv()).await;
        next.ok().flatten().ok_or_else(|| "the LSP does not call".into())
    }

    /// Whether no further notification arrived.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.passed_on.is_empty()
    }
}

fn respond(
    phone: &Mutex<Option<Phone>>,
    pass_on: &mpsc::UnboundedSender<Notification>,
    Post { path, timestamp, signature, body }: &Post,
) -> StatusCode {
    let mut phone = phone.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Phone { lsp, verifier, .. }) = phone.as_mut().filter(|phone| phone.path == *path) else {
        return StatusCode::NOT_FOUND;
    };
    match verifier.verify(*lsp, timestamp, signature, body, SystemClock.now()) {
        Ok(notification) => {
            let _nobody_waits = pass_on.send(notification);
            StatusCode::OK
        }
        Err(_) => StatusCode::FORBIDDEN,
    }
}

/// Number of notifications whose replays are noticed.
const REMEMBERED: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);
