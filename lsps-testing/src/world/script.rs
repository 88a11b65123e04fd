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
    /// The onion of an earlier part comes again.
    PayAgain { part: u8 },
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
    /// It fails all of it.
    Fail { payment: u8 },
    /// Time passes.
    Wait { seconds: u16 },
    /// A block; a full one leaves the mempool as it is.
    Block { is_full: bool },
    /// The node saves itself.
    Save,
    /// The LSP's process dies after so many more writes and effects; the node saves itself at the last moment or not.
    Crash { after: u8, saved: bool },
    /// The store refuses to write, or works again.
    Store { works: bool },
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

impl Step {
    /// A step from four bytes, whatever they are.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        let yes = c & 1 == 1;
        match kind % 36 {
            0 | 1 => Self::Buy { client: a % CLIENTS, fixed: !c.is_multiple_of(4) },
            2..=6 => Self::Pay {
                offer: a,
                hash: b % 3,
                tenths: [10, 5, 5, 4, 6, 3, 10, 1][usize::from(c % 8)],
                expires_soon: c > 240,
            },
            7 => Self::PayShort { offer: a, hash: b % 3 },
            8 => Self::PayAgain { part: a },
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
            _ => Self::Call { client: a % CLIENTS, occasion: b % 4 },
        }
    }

    /// A script from bytes.
    pub fn script(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(4).map(|four| Self::from_bytes(four.try_into().expect("four"))).collect()
    }
}

/// Clients in a world.
pub const CLIENTS: u8 = 3;
/// Apps that a client may register.
pub const APPS: u8 = 3;
