//! Steps of a world, as data. Random scripts, a fuzzer's bytes and stories all consist of them.

/// A step. Its numbers choose among the existing objects, so that most steps have an effect.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client buys, for a fixed size or none.
    Buy { client: u8, fixed: bool },
    /// A payer sends a part of this many tenths of the size, of payment `hash`, to the offer.
    Pay { offer: u8, hash: u8, tenths: u8, expires_soon: bool },
    /// A part arrives whose incoming amount is below the amount in its onion.
    PayShort { offer: u8, hash: u8 },
    /// A part of an odd amount arrives: dust, just the fee, a little more or less than the size.
    PayOdd { offer: u8, hash: u8, odd: u8 },
    /// The onion of an earlier part arrives again, in any state of that part; values besides the onion may differ.
    PayAgain { part: u8, changed: Changed },
    /// An ordinary payment to a client arrives: of some amount, or of the amount that the client received of a part;
    /// with the hash of that part or another one.
    PayOrdinary { client: u8, amount: u8, same_hash: bool },
    /// A client fails a payment. Its payer retries in two parts before the LSP has noticed, and the node reports the
    /// failure after or before that.
    Retry { payment: u8, told_late: bool },
    /// The channel over which a held part arrived is closed; the node keeps holding the part.
    PayerCloses { part: u8 },
    /// A part to an SCID arrives that nobody issued.
    PayNobody,
    /// A client connects; its channels are not usable yet.
    Connect { client: u8 },
    /// The channels of a client become usable.
    Usable { client: u8 },
    /// A client disconnects.
    Disconnect { client: u8 },
    /// A client accepts an open; with a delay above the promise if it is greedy.
    Accept { channel: u8, greedy: bool },
    /// A client refuses an open.
    Reject { channel: u8 },
    /// A client signs.
    Sign { channel: u8 },
    /// A client sends `channel_ready`.
    Ready { channel: u8 },
    /// A client closes a channel.
    Close { channel: u8 },
    /// A client claims all its parts of a payment, if they suffice.
    Claim { payment: u8, rounded: bool },
    /// A client claims one part of a payment, sufficient or not.
    ClaimOne { payment: u8, part: u8 },
    /// A client fails all parts of a payment.
    Fail { payment: u8 },
    /// A client fails one part.
    FailOne { payment: u8, part: u8 },
    /// Time passes.
    Wait { seconds: u16 },
    /// A block is mined; a full one leaves the mempool unchanged.
    Block { is_full: bool },
    /// Many blocks are mined at once.
    Burst { count: u8 },
    /// The last blocks are reorganised; others follow later.
    Reorg { depth: u8 },
    /// Unconfirmed transactions are dropped from the mempool.
    Evict,
    /// The feerate becomes this multiple of the least one.
    Feerate { times: u16 },
    /// The LSP's clock is set, forward or back.
    SetClock { seconds: u32, back: bool },
    /// The next call of this kind is refused.
    Refuse { call: Call },
    /// The node reports nothing until it is turned on again; the LSP goes on.
    Mute { on: bool },
    /// The node swaps its next two events.
    Swap,
    /// A client connects, and it and the node do everything that its channels need.
    Proceed { client: u8 },
    /// The node persists its state.
    Save,
    /// The LSP's process crashes after this number of writes and effects; the node persists its state right before or
    /// not.
    Crash { after: u8, saved: bool },
    /// The store fails to write, or works again.
    Store { works: bool },
    /// The host alone is restarted: the node, its peers and the wallet go on.
    Restart,
    /// The store does not return the record of this sale.
    Hide { sale: u8 },
    /// The store returns all records again.
    Show,
    /// Another process owns the records after this number of writes; `is_told` says whether this one knows before its
    /// next write.
    Fence { after: u8, is_told: bool },
    /// An event is repeated.
    Replay,
    /// The node refuses the next forward.
    RefuseForward,
    /// A client sets the webhook of an app; each app answers in its own way.
    SetWebhook { client: u8, app: u8, url: u8 },
    /// A client removes a webhook.
    RemoveWebhook { client: u8, app: u8 },
    /// The LSP wants to call a client.
    Call { client: u8, reason: u8 },
}

/// A call to the node or the chain that can be refused.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Open,
    Fund,
    Fail,
    /// The next three calls to fail an HTLC.
    FailThrice,
    Broadcast,
    Marker,
    /// The wallet builds a transaction without the requested output.
    Build,
}

/// Difference between an HTLC and an earlier one with the same onion.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// The incoming amount is below the one in the onion.
    LessIn,
    /// The incoming amount is lower, and so is the amount in the onion, as the node reports it.
    Less,
    More,
    Hash,
    Expiry,
    Scid,
}

impl Step {
    /// A step from any four bytes.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 36, 3, [a, b, c])
    }

    /// A step of a world in which peers do everything that nobody can prevent.
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
            35 => Self::Call { client: a % CLIENTS, reason: b % 4 },
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

/// Number of clients in a world.
pub const CLIENTS: u8 = 3;
/// Number of apps that a client may register.
pub const APPS: u8 = 3;
