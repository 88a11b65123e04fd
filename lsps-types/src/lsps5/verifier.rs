//! Verification of posts at a notification service: signature, age, and replay.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::ops::Add;
use core::str;
use core::time::Duration;

use super::{MalformedBody, Notification, signed_text};
use crate::signature::{InvalidSignature, LnSignature, digest};
use crate::units::{DateTime, PeerId, Timestamp};

/// Rules for the age and the repetition of posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The rules of the current bLIP: any timestamp, any number of times (reading R-28).
    Blip,
    /// The rules of earlier text: within ten minutes of the present, and once.
    Legacy,
}

/// Verifier of posts, which remembers at most `capacity` posts of each LSP, so no LSP can use up memory that others
/// need.
#[derive(Debug)]
pub struct Verifier {
    profile: Profile,
    capacity: usize,
    /// Digests of accepted posts, by LSP.
    seen: BTreeMap<PeerId, Seen>,
}

/// Digests of accepted posts of one LSP.
#[derive(Debug, Default)]
struct Seen {
    posts: BTreeSet<[u8; 32]>,
    /// Digests of `posts` in the order in which they are dropped, each with the time when.
    order: VecDeque<(Timestamp, [u8; 32])>,
}

/// Reason to refuse a post. A refused post has no effect on later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The timestamp header is not a datetime.
    #[error("the timestamp is no datetime")]
    MalformedTimestamp,
    /// The signature header is not a signature.
    #[error("{0}")]
    MalformedSignature(InvalidSignature),
    /// The body is not a notification.
    #[error("{0}")]
    MalformedBody(MalformedBody),
    /// The signature over timestamp and body is not the LSP's.
    #[error("the signature is not the provider's")]
    BadSignature,
    /// The timestamp is too old or in the future.
    #[error("the timestamp is too far from the present")]
    StaleTimestamp,
    /// The post was accepted before.
    #[error("the notification was accepted before")]
    Replay,
    /// No more posts of this LSP can be remembered at the moment, so a replay would go unnoticed. Other LSPs are not
    /// affected.
    #[error("the provider sent too many notifications within twenty minutes")]
    Full,
}

impl Verifier {
    /// Creates a verifier that remembers at most `capacity` posts of each LSP, for twenty minutes each; only
    /// [`Profile::Legacy`] remembers any. The caller bounds the number of LSPs: verify only posts of LSPs that a user
    /// of the service named.
    #[must_use]
    pub fn new(profile: Profile, capacity: usize) -> Self {
        Self { profile, capacity, seen: BTreeMap::new() }
    }

    /// Verifies one post by the received bytes of both headers and of the body. Spec: LSPS5 "Delivery".
    ///
    /// # Errors
    ///
    /// The reason why the post must not be delivered.
    pub fn verify(
        &mut self,
        lsp: PeerId,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, Refused> {
        let instant = timestamp.parse::<DateTime>().map_err(|_| Refused::MalformedTimestamp)?.instant();
        let signature: LnSignature = signature.parse().map_err(Refused::MalformedSignature)?;
        // A body that is not UTF-8 cannot have been signed.
        let text = str::from_utf8(body).map_err(|_| Refused::MalformedBody(MalformedBody))?;
        let text = signed_text(timestamp, text);
        if signature.signer(text.as_bytes()) != Some(lsp) {
            return Err(Refused::BadSignature);
        }
        let notification = Notification::parse(body).map_err(Refused::MalformedBody)?;
        if self.profile == Profile::Legacy {
            self.is_fresh(lsp, digest(text.as_bytes()), instant, now)?;
        }
        Ok(notification)
    }

    /// Remembers the signed content, not the signature: an ECDSA signature has a second valid form.
    fn is_fresh(&mut self, lsp: PeerId, post: [u8; 32], instant: Timestamp, now: Timestamp) -> Result<(), Refused> {
        if instant.since(now) > WINDOW || now.since(instant) > WINDOW {
            return Err(Refused::StaleTimestamp);
        }
        self.seen.retain(|_, seen| {
            seen.forget(now);
            !seen.posts.is_empty()
        });
        let seen = self.seen.entry(lsp).or_default();
        if seen.posts.contains(&post) {
            return Err(Refused::Replay);
        }
        if seen.posts.len() >= self.capacity {
            return Err(Refused::Full);
        }
        seen.posts.insert(post);
        seen.order.push_back((now.add(MEMORY), post));
        Ok(())
    }
}

impl Seen {
    fn forget(&mut self, now: Timestamp) {
        while let Some((_, old)) = self.order.front().copied().filter(|(until, _)| *until < now) {
            self.order.pop_front();
            self.posts.remove(&old);
        }
    }
}

/// Largest distance of a timestamp from the present, to either side.
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// Time for which a post is remembered: one with a timestamp in the near future stays acceptable for so long.
const MEMORY: Duration = Duration::from_secs(20 * 60);
