//! For notification services: is this post what the LSP signed, and is it new?

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::ops::Add;
use core::str;
use core::time::Duration;

use super::{MalformedBody, Notification, signed_text};
use crate::signature::{InvalidSignature, LnSignature, digest};
use crate::units::{DateTime, PeerId, Timestamp};

/// How old posts may be, and whether they may come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As the bLIP has it now: any timestamp, any number of times (reading R-28).
    Blip,
    /// As older text had it: ten minutes to either side, and once.
    Legacy,
}

/// Verifies posts. Bounded: remembers no more of each LSP than it was told to, so that no LSP uses up what the others need.
#[derive(Debug)]
pub struct Verifier {
    profile: Profile,
    capacity: usize,
    /// Signatures that were accepted, by LSP.
    seen: BTreeMap<PeerId, Seen>,
}

/// Signatures that were accepted from one LSP.
#[derive(Debug, Default)]
struct Seen {
    posts: BTreeSet<[u8; 32]>,
    /// The same in the order in which it is forgotten, and when.
    order: VecDeque<(Timestamp, [u8; 32])>,
}

/// Why a post is refused. It has no effect on later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The header is no datetime and nothing else.
    #[error("the timestamp is no datetime")]
    MalformedTimestamp,
    /// The header is no signature.
    #[error("{0}")]
    MalformedSignature(InvalidSignature),
    /// The body is no notification.
    #[error("{0}")]
    MalformedBody(MalformedBody),
    /// Not the LSP's signature over timestamp and body.
    #[error("the signature is not the provider's")]
    BadSignature,
    /// Too old, or of the future.
    #[error("the timestamp is too far from the present")]
    StaleTimestamp,
    /// It was accepted before.
    #[error("the notification was accepted before")]
    Replay,
    /// No more of this LSP can be remembered at the moment, so that a replay would not be noticed. Other LSPs are not
    /// affected.
    #[error("the provider sent too many notifications within twenty minutes")]
    Full,
}

impl Verifier {
    /// `capacity` bounds how many posts of each LSP are remembered, for twenty minutes each; only [`Profile::Legacy`]
    /// remembers any. The number of LSPs is the caller's: verify only posts in the name of LSPs that a user of the service
    /// named.
    #[must_use]
    pub fn new(profile: Profile, capacity: usize) -> Self {
        Self { profile, capacity, seen: BTreeMap::new() }
    }

    /// Verifies one post, by the bytes that came: both headers and the body. Spec: LSPS5 "Delivery".
    ///
    /// # Errors
    ///
    /// Why it must not be passed on.
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
        // What is no text is nothing that can have been signed.
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

    /// Remembers by what was signed: a signature has a second form.
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

/// To either side of the present.
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// A post of the near future stays acceptable for so long.
const MEMORY: Duration = Duration::from_secs(20 * 60);
