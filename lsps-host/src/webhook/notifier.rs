//! The notifications of an LSP: signed with its node's key, and posted.

use lsps_service::PostKey;
use lsps_types::lsps5::{Signed, signed_text};
use lsps_types::signature::{LnSignature, SignMessage};

use super::{CannotPost, Delivery, DeliveryConfig, Undelivered, WebhookCounts, Webhooks};
use crate::lsp::PostReporter;
use crate::ports::{Notifier, Post, PostResult};

/// Signs and posts the notifications of an LSP ([`LspParts::notifier`](crate::LspParts)).
pub struct WebhookNotifier {
    webhooks: Webhooks<PostReporter>,
    sign: Box<Sign>,
}

/// Signs a text; `None` if the signer is unavailable.
type Sign = dyn Fn(&str) -> Option<LnSignature> + Send + Sync;

impl WebhookNotifier {
    /// Starts posting, on the present tokio runtime, with signatures of `signer`.
    ///
    /// # Errors
    ///
    /// TLS or the resolver cannot be set up, or a limit is 0.
    pub fn new(config: DeliveryConfig, signer: impl SignMessage + Send + Sync + 'static) -> Result<Self, CannotPost> {
        let (webhooks, mut answers) = Webhooks::<PostReporter>::new(config)?;
        tokio::spawn(async move {
            while let Some(answer) = answers.recv().await {
                answer.id.report(result(answer.outcome));
            }
        });
        let sign = Box::new(move |text: &str| signer.sign_message(text.as_bytes()).ok());
        Ok(Self { webhooks, sign })
    }

    /// Counts of the deliveries so far.
    #[must_use]
    pub fn counts(&self) -> WebhookCounts {
        self.webhooks.counts()
    }
}

impl Notifier for WebhookNotifier {
    fn post(&self, post: Post, reporter: PostReporter) {
        let Post { key, url, body, timestamp, within, urgency, until: _ } = post;
        match (self.sign)(&signed_text(timestamp.as_str(), &body)) {
            Some(signature) => {
                let signed = Signed { body, timestamp, signature };
                self.webhooks.post(Delivery { id: reporter, client: key.client, urgency, url, signed, within });
            }
            None => reporter.report(PostResult::Unreached),
        }
    }

    fn withdraw(&self, key: PostKey) {
        self.webhooks.withdraw(key.client, |reporter| reporter.key() == key);
    }
}

/// The result for the service. A webhook that may not be contacted counts as refused, as another attempt would not
/// reach it either.
fn result(outcome: Result<(), Undelivered>) -> PostResult {
    match outcome {
        Ok(()) => PostResult::Delivered,
        Err(Undelivered::Status(_) | Undelivered::Url | Undelivered::Port(_) | Undelivered::Address(_)) => {
            PostResult::Refused
        }
        Err(
            Undelivered::QueueFull
            | Undelivered::Withdrawn
            | Undelivered::TooLate
            | Undelivered::Unresolved
            | Undelivered::Unreachable
            | Undelivered::Tls
            | Undelivered::Closed
            | Undelivered::TimedOut
            | Undelivered::GaveWay,
        ) => PostResult::Unreached,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use lsps_service::{Input, PostKey, Urgency};
    use lsps_types::lsps5::WebhookUrl;
    use lsps_types::{PeerId, Timestamp};

    use super::*;
    use crate::webhook::{Addresses, Resolve};

    #[tokio::test]
    async fn what_is_owed_no_more_is_not_posted_and_the_service_is_told() {
        let (notifier, asked) = notifier(DeliveryConfig::default());
        let mut hears = posts(&notifier, "https://push.example/", Duration::ZERO);
        assert_eq!(heard(&mut hears).await, Input::WebhookUnreached { key: KEY });
        assert_eq!((asked.load(Ordering::SeqCst), notifier.counts().failed), (0, 1));
    }

    #[tokio::test]
    async fn what_finds_no_place_is_told_at_once_and_what_has_one_stays() {
        let (notifier, _) = notifier(DeliveryConfig { most_pending: 1, ..DeliveryConfig::default() });
        let mut waits = posts(&notifier, "https://push.example/", A_MINUTE);
        let mut hears = posts(&notifier, "https://other.example/", A_MINUTE);
        assert_eq!(heard(&mut hears).await, Input::WebhookUnreached { key: KEY });
        assert_eq!((waits(), notifier.counts().pending), (None, 1));
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_posted_to_is_told_at_once() {
        let (notifier, asked) = notifier(DeliveryConfig::default());
        for url in ["https://push.example:25/", "https://127.0.0.1/"] {
            let mut hears = posts(&notifier, url, A_MINUTE);
            assert_eq!(heard(&mut hears).await, Input::WebhookFailed { key: KEY }, "{url}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    /// The service knows the deadline of the notification by itself.
    #[tokio::test]
    async fn what_is_under_way_when_it_shuts_down_ends_without_a_word() {
        let (notifier, asked) = notifier(DeliveryConfig::default());
        let mut hears = posts(&notifier, "https://push.example/", A_MINUTE);
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        drop(notifier);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hears(), None);
    }

    struct Signer;

    impl SignMessage for Signer {
        type Error = std::convert::Infallible;

        fn sign_message(&self, _: &[u8]) -> Result<LnSignature, Self::Error> {
            Ok(LnSignature::from_bytes([31; 65]).expect("of this form"))
        }
    }

    /// A notifier whose resolver never answers, and the number of the resolver's calls.
    fn notifier(config: DeliveryConfig) -> (WebhookNotifier, Arc<AtomicUsize>) {
        struct Nobody(Arc<AtomicUsize>);
        impl Resolve for Nobody {
            fn resolve(&self, _: &str) -> Addresses {
                self.0.fetch_add(1, Ordering::SeqCst);
                Box::pin(std::future::pending())
            }
        }
        let asked = Arc::<AtomicUsize>::default();
        let config = DeliveryConfig { resolver: Some(Arc::new(Nobody(Arc::clone(&asked)))), ..config };
        (WebhookNotifier::new(config, Signer).expect("it starts"), asked)
    }

    /// Posts to `url`; returns the inputs that report the result to the service.
    fn posts(notifier: &WebhookNotifier, url: &str, within: Duration) -> impl FnMut() -> Option<Input> + use<> {
        let at = Timestamp::from_unix_millis(1_767_268_800_007);
        let url = WebhookUrl::new(url.into()).expect("a URL");
        let (reporter, hears) = PostReporter::of(KEY);
        let (body, urgency) = ("{}".into(), Urgency::Normal);
        let post = Post { key: KEY, url, body, timestamp: at.into(), until: at + within, within, urgency };
        notifier.post(post, reporter);
        hears
    }

    async fn heard(hears: &mut impl FnMut() -> Option<Input>) -> Input {
        loop {
            if let Some(input) = hears() {
                return input;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    const KEY: PostKey = PostKey { client: PeerId([2; 33]), number: 7 };
    const A_MINUTE: Duration = Duration::from_secs(60);
}
