//! What can happen, as data: random scripts, fuzzers' bytes and stories are the same thing.

/// One thing that happens. Numbers choose among what there is, so that most steps hit something.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client buys; of a fixed size or none.
    Buy { client: u8, fixed: bool },
    /// A payer sends a part of this many tenths of the size, for payment `hash`, to the offer.
    Pay { offer: u8, hash: u8, tenths: u8, expires_soon: bool },
    /// A part brings less than its onion asks for.
    PayShort { offer: u8, hash: u8 },
    /// A part of an odd amount: dust, just the fee, a little more or less than the size.
    PayOdd { offer: u8, hash: u8, odd: u8 },
    /// The onion of an earlier part comes again, whatever became of that; what is beside the onion may differ.
    PayAgain { part: u8, changed: Changed },
    /// An ordinary payment to a client: of some amount, or of just what it was given of a part; with the hash of that part
    /// or another.
    PayOrdinary { client: u8, amount: u8, same_hash: bool },
    /// A client fails a payment; its payer tries again in two parts before the LSP has noticed, and the node tells of the
    /// failure after that or before.
    Retry { payment: u8, told_late: bool },
    /// The channel that a held part came over is closed; the node holds the part on.
    PayerCloses { part: u8 },
    /// A part to an SCID that nobody issued.
    PayNobody,
    /// A client connects; its channels work later.
    Connect { client: u8 },
    /// Its channels work.
    Usable { client: u8 },
    /// It goes away.
    Disconnect { client: u8 },
    /// The client accepts an open; with a delay beyond the promise if it is greedy.
    Accept { channel: u8, greedy: bool },
    /// It refuses.
    Reject { channel: u8 },
    /// It signs.
    Sign { channel: u8 },
    /// It sends `channel_ready`.
    Ready { channel: u8 },
    /// It closes the channel.
    Close { channel: u8 },
    /// It claims all it has of a payment, if that is enough.
    Claim { payment: u8, rounded: bool },
    /// The client claims one part of a payment, enough or not.
    ClaimOne { payment: u8, part: u8 },
    /// It fails all of it.
    Fail { payment: u8 },
    /// The client fails one part.
    FailOne { payment: u8, part: u8 },
    /// Time passes.
    Wait { seconds: u16 },
    /// A block; a full one leaves the mempool as it is.
    Block { is_full: bool },
    /// Many blocks at once.
    Burst { count: u8 },
    /// The last blocks are no longer in the chain; others come later.
    Reorg { depth: u8 },
    /// Transactions that wait for a block are forgotten.
    Evict,
    /// Transactions cost so many times as much as they did at the least.
    Feerate { times: u16 },
    /// Somebody sets the LSP's clock, forward or back.
    SetClock { seconds: u32, back: bool },
    /// The next call of this kind is refused.
    Refuse { call: Call },
    /// The node tells nothing until it speaks again; the LSP goes on.
    Mute { on: bool },
    /// The node tells the second of what it has to tell before the first.
    Swap,
    /// The client is there, and whatever it and the node have to do for its channels is done.
    Proceed { client: u8 },
    /// The node saves itself.
    Save,
    /// The LSP's process dies after so many more writes and effects; the node saves itself at the last moment or not.
    Crash { after: u8, saved: bool },
    /// The store refuses to write, or works again.
    Store { works: bool },
    /// The host alone is started again: the node, its peers and the wallet live on.
    Restart,
    /// The store does not give back the record of this sale of those that were made.
    Hide { sale: u8 },
    /// It gives back all of them.
    Show,
    /// The records are another process's after so many more writes; whether this one knows that before its next write.
    Fence { after: u8, is_told: bool },
    /// An event is told once more.
    Replay,
    /// The node refuses what it is asked to forward next.
    RefuseForward,
    /// A client sets the webhook of an app; each app's answers in its own way.
    SetWebhook { client: u8, app: u8, url: u8 },
    /// It removes it.
    RemoveWebhook { client: u8, app: u8 },
    /// The LSP wants a client to come.
    Call { client: u8, occasion: u8 },
}

/// A call to the node or the chain that can be refused.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Open,
    Fund,
    Fail,
    /// The next three.
    FailThrice,
    Broadcast,
    Marker,
    /// The wallet builds a transaction without the output that was asked for.
    Build,
}

/// The difference of an HTLC with the same onion from the one before.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// Less came in than the onion asks for.
    LessIn,
    /// And the node says that the onion asks for no more.
    Less,
    More,
    Hash,
    Expiry,
    Scid,
}

impl Step {
    /// A step from four bytes, whatever they are.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 36, 3, [a, b, c])
    }

    /// The same where everybody does what nobody can keep them from.
    #[must_use]
    pub fn hostile([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 58, 4, [a, b, c])
    }

    fn of_kind(kind: u8, hashes: u8, [a, b, c]: [u8; 3]) -> Self {
        let yes = c & 1 == 1;
        match kind {
            0 | 1 => Self::Buy { client: a % CLIENTS, fixed: !c.is_multiple_of(4) },
            2..=6 => Self::Pay {
                offer: a,
                hash: b % hashes,
                tenths: [10, 5, 5, 4, 6, 3, 10, 1][usize::from(c % 8)],
                expires_soon: c > 240,
            },
            7 => Self::PayShort { offer: a, hash: b % hashes },
            8 => Self::PayAgain { part: a, changed: Changed::Nothing },
            9 if c < 32 => Self::PayNobody,
            9..=11 => Self::Connect { client: a % CLIENTS },
            12 | 13 => Self::Usable { client: a % CLIENTS },
            14 => Self::Disconnect { client: a % CLIENTS },
            15 | 16 => Self::Accept { channel: a, greedy: c > 230 },
            17 if c < 64 => Self::Reject { channel: a },
            17 | 18 => Self::Sign { channel: a },
            19 | 20 => Self::Ready { channel: a },
            21 if c < 64 => Self::Close { channel: a },
            21 | 22 => Self::Claim { payment: a, rounded: c > 200 },
            23 => Self::Fail { payment: a },
            24 => Self::Wait { seconds: [1, 10, 45, 91, 151, 601, 1_800, 3_601][usize::from(c % 8)] },
            25 => Self::Block { is_full: c > 200 },
            26 | 27 => Self::Save,
            28 | 29 => Self::Crash { after: b % 12, saved: yes },
            30 => Self::Store { works: c > 80 },
            31 if c > 160 => Self::RefuseForward,
            31 => Self::Replay,
            32 | 33 => Self::SetWebhook { client: a % CLIENTS, app: b % APPS, url: c % 2 },
            34 => Self::RemoveWebhook { client: a % CLIENTS, app: b % APPS },
            35 => Self::Call { client: a % CLIENTS, occasion: b % 4 },
            36 => Self::PayAgain { part: a, changed: Changed::any(b) },
            37 => Self::PayOdd { offer: a, hash: b % hashes, odd: c },
            38 | 39 => Self::PayOrdinary { client: a % CLIENTS, amount: b, same_hash: yes },
            40 => Self::Retry { payment: a, told_late: yes },
            41 => Self::ClaimOne { payment: a, part: b },
            42 => Self::FailOne { payment: a, part: b },
            43 if c < 64 => Self::Burst { count: [2, 6, 12, 40, 150][usize::from(b % 5)] },
            43 if c < 128 => Self::Reorg { depth: b % 6 + 1 },
            43 => Self::Evict,
            44 | 45 => Self::Mute { on: c < 100 },
            46 => Self::Swap,
            47 => Self::Claim { payment: a, rounded: c > 200 },
            48..=51 => Self::Proceed { client: a % CLIENTS },
            52 => Self::Feerate { times: [1, 1, 2, 4, 20][usize::from(b % 5)] },
            53 => Self::SetClock { seconds: [60, 300, 3_601, 90_000][usize::from(b % 4)], back: yes },
            55 if c < 128 => Self::Hide { sale: a },
            55 => Self::Show,
            56 if c < 128 => Self::Fence { after: b % 8, is_told: yes },
            _ => Self::Refuse { call: Call::any(b) },
        }
    }

    /// A script from bytes.
    pub fn script(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(4).map(|four| Self::from_bytes(four.try_into().expect("four"))).collect()
    }
}

impl Call {
    fn any(number: u8) -> Self {
        [Self::Open, Self::Fund, Self::Fail, Self::Broadcast, Self::Marker][usize::from(number % 5)]
    }
}

impl Changed {
    fn any(number: u8) -> Self {
        use Changed as C;
        [C::Nothing, C::LessIn, C::Less, C::More, C::Hash, C::Expiry, C::Scid][usize::from(number % 7)]
    }
}

/// Clients in a world.
pub const CLIENTS: u8 = 3;
/// Apps that a client may register.
pub const APPS: u8 = 3;
