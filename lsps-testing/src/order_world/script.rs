//! What can happen to orders, as data: random scripts, fuzzers' bytes and stories are the same thing.

/// One thing that happens. Numbers choose among what there is, so that most steps hit something.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client orders a channel; of a size that decides how many confirmations a payment on the chain needs (0, 1, 3).
    Order { client: u8, size: u8, refundable: bool },
    /// A payer sends a payment for the invoice of the order, or for its offer.
    Pay { order: u8, by_offer: bool, amount: Amount, expires_soon: bool },
    /// The same, with a custom TLV in its onion that nodes have to understand or fail.
    PayOdd { order: u8, by_offer: bool },
    /// Somebody sends a trifle with the hash of a held payment and a secret that is wrong; the node fails it and says so.
    WrongSecret { payment: u8 },
    /// A payment comes once more with the hash of an earlier one.
    PayAgain { payment: u8 },
    /// What carried a held payment to us is closed.
    PayerGone { payment: u8 },
    /// A transaction pays to the address of the order; a dear one pays its miners well.
    Deposit { order: u8, amount: Amount, is_dear: bool },
    /// Many transactions pay next to nothing to it.
    Dust { order: u8, count: u8 },
    /// Transactions cost so many times as much as they did at the least.
    Feerate { times: u16 },
    /// Another transaction spends what an unconfirmed deposit spends.
    Replace { deposit: u8 },
    /// That other one is replaced in its turn: the deposit is back.
    ComeBack { deposit: u8 },
    /// The block that a deposit is in is no longer in the chain.
    Reorg { deposit: u8 },
    /// Blocks; full ones leave the mempool as it is.
    Blocks { count: u8, are_full: bool },
    /// The watcher of the chain says nothing of deposits, or speaks again.
    Watch { works: bool },
    /// The watcher of the chain does not know what is in it, and says so; or it knows again.
    Behind { is_behind: bool },
    /// A client connects.
    Connect { client: u8 },
    /// It goes away.
    Disconnect { client: u8 },
    /// The client accepts an open.
    Accept { channel: u8 },
    /// It refuses.
    Reject { channel: u8 },
    /// It signs.
    Sign { channel: u8 },
    /// It sends `channel_ready`.
    Ready { channel: u8 },
    /// It closes the channel.
    Close { channel: u8 },
    /// Somebody pays the client over the channels that it has by now, and it claims that, or keeps it until all comes to rest.
    Ordinary { client: u8, keeps: bool },
    /// Somebody sends as much to a client through the LSP, with the hash of a payment for an order; the client keeps that.
    SameHash { client: u8, payment: u8 },
    /// A part of a held payment is gone, and nothing is told of that.
    PartGone { payment: u8 },
    /// The wallet has no coin for the next funding.
    NoCoins,
    /// The operator cancels the order.
    Cancel { order: u8 },
    /// The operator has it tried again.
    Retry { order: u8 },
    /// Time passes.
    Wait { seconds: u16 },
    /// The client is there, and whatever it and the node have to do for its channels is done.
    Proceed { client: u8 },
    /// The node saves itself.
    Save,
    /// The LSP's process dies after so many more writes and effects; the node saves itself at the last moment or not.
    Crash { after: u8, saved: bool },
    /// The store refuses to write, or works again.
    Store { works: bool },
    /// An event is told once more.
    Replay,
}

/// What is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// What was asked for.
    Exact,
    /// Half of it.
    Half,
    /// A unit less.
    Short,
    /// More.
    Over,
    /// Less than it costs to return.
    Dust,
}

impl Step {
    /// A step from four bytes, whatever they are.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 32, [a, b, c])
    }

    /// The same where everybody does what nobody can keep them from.
    #[must_use]
    pub fn hostile([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 42, [a, b, c])
    }

    fn of_kind(kind: u8, [a, b, c]: [u8; 3]) -> Self {
        let yes = c & 1 == 1;
        let amount = match b % 8 {
            0..=3 => Amount::Exact,
            4 => Amount::Half,
            5 => Amount::Short,
            6 => Amount::Over,
            _ => Amount::Dust,
        };
        match kind {
            0 | 1 => Self::Order { client: a % CLIENTS, size: b % 3, refundable: !c.is_multiple_of(4) },
            2 | 3 => Self::Pay { order: a, by_offer: yes, amount, expires_soon: c > 220 },
            4 if c < 96 => Self::PayAgain { payment: a },
            4 if c < 160 => Self::PayerGone { payment: a },
            4 => Self::Watch { works: c > 190 },
            5 | 6 => Self::Deposit { order: a, amount, is_dear: yes },
            7 if c < 96 => Self::Replace { deposit: a },
            7 if c < 160 => Self::ComeBack { deposit: a },
            7 => Self::Reorg { deposit: a },
            8 | 9 => Self::Blocks { count: [1, 1, 1, 2, 3, 6, 12, 150][usize::from(b % 8)], are_full: c > 200 },
            10..=13 => Self::Connect { client: a % CLIENTS },
            14 if c < 128 => Self::Disconnect { client: a % CLIENTS },
            14..=17 => Self::Accept { channel: a },
            18 if c < 64 => Self::Reject { channel: a },
            18..=20 => Self::Sign { channel: a },
            21 => Self::Ready { channel: a },
            22 if c < 64 => Self::Close { channel: a },
            22 if c < 96 => Self::NoCoins,
            22 if c < 160 => Self::Cancel { order: a },
            22 => Self::Retry { order: a },
            23 => Self::Wait { seconds: [1, 1, 30, 61, 91, 601, 3_601, 7_201][usize::from(c % 8)] },
            24..=27 => Self::Save,
            28 | 29 => Self::Crash { after: b % 12, saved: yes },
            30 => Self::Store { works: c > 60 },
            31 => Self::Replay,
            32 => Self::PayOdd { order: a, by_offer: yes },
            33 => Self::WrongSecret { payment: a },
            34 => Self::Dust { order: a, count: b % 24 },
            35 | 36 => Self::Feerate { times: [1, 1, 4, 20, 400][usize::from(b % 5)] },
            37 | 38 => Self::Ordinary { client: a % CLIENTS, keeps: yes },
            _ => Self::Proceed { client: a % CLIENTS },
        }
    }

    /// A script from bytes.
    #[must_use]
    pub fn script(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(4).map(|four| Self::from_bytes(four.try_into().expect("four"))).collect()
    }
}

/// Clients in a world.
pub const CLIENTS: u8 = 3;
