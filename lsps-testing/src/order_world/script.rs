//! Steps of a world with orders, as data. Random scripts, a fuzzer's bytes and stories all consist of them.

/// A step. Its numbers choose among the existing objects, so that most steps have an effect.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client orders a channel; its size decides the number of confirmations that an on-chain payment needs (0, 1,
    /// 3).
    Order { client: u8, size: u8, refundable: bool },
    /// A client orders a channel with a token that gives it away.
    Gift { client: u8 },
    /// A payer sends a payment for the invoice of the order, or for its offer.
    Pay { order: u8, by_offer: bool, amount: Amount, expires_soon: bool },
    /// A payer sends such a payment with a custom TLV in its onion that nodes have to understand or fail.
    PayOdd { order: u8, by_offer: bool },
    /// Somebody sends a tiny HTLC with the hash of a held payment and a wrong secret; the node fails it and reports
    /// that.
    WrongSecret { payment: u8 },
    /// A payment arrives with the hash of an earlier one.
    PayAgain { payment: u8 },
    /// The channel over which a held payment arrived is closed.
    PayerGone { payment: u8 },
    /// A transaction pays to the address of the order; `is_dear`: at a high feerate.
    Deposit { order: u8, amount: Amount, is_dear: bool },
    /// Many transactions pay tiny amounts to the address of the order.
    Dust { order: u8, count: u8 },
    /// The feerate becomes this multiple of the least one.
    Feerate { times: u16 },
    /// Another transaction double-spends an unconfirmed deposit.
    Replace { deposit: u8 },
    /// That transaction is replaced in turn: the deposit is back.
    ComeBack { deposit: u8 },
    /// The block of a deposit is reorganised.
    Reorg { deposit: u8 },
    /// Blocks are mined; full ones leave the mempool unchanged.
    Blocks { count: u8, are_full: bool },
    /// The watcher of the chain stops or resumes reporting deposits.
    Watch { works: bool },
    /// The watcher of the chain is behind and says so, or has caught up.
    Behind { is_behind: bool },
    /// A client connects.
    Connect { client: u8 },
    /// A client disconnects.
    Disconnect { client: u8 },
    /// A client accepts an open.
    Accept { channel: u8 },
    /// A client refuses an open.
    Reject { channel: u8 },
    /// A client signs.
    Sign { channel: u8 },
    /// A client sends `channel_ready`.
    Ready { channel: u8 },
    /// A client closes a channel.
    Close { channel: u8 },
    /// Somebody pays the client over its present channels; the client claims the payment, or keeps it until the world
    /// comes to rest.
    Ordinary { client: u8, keeps: bool },
    /// Somebody sends the same amount to a client through the LSP, with the hash of a payment for an order; the client
    /// keeps it.
    SameHash { client: u8, payment: u8 },
    /// A part of a held payment is gone without a report.
    PartGone { payment: u8 },
    /// The wallet has no coin for the next funding.
    NoCoins,
    /// The operator cancels an order.
    Cancel { order: u8 },
    /// The operator asks for an immediate retry of an order.
    Retry { order: u8 },
    /// Time passes.
    Wait { seconds: u16 },
    /// A client connects, and it and the node do everything that its channels need.
    Proceed { client: u8 },
    /// The node persists its state.
    Save,
    /// The LSP's process crashes after this number of writes and effects; the node persists its state right before or
    /// not.
    Crash { after: u8, saved: bool },
    /// The store fails to write, or works again.
    Store { works: bool },
    /// An event is repeated.
    Replay,
}

/// Amount of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// The requested amount.
    Exact,
    /// Half of the requested amount.
    Half,
    /// One unit less than the requested amount.
    Short,
    /// More than the requested amount.
    Over,
    /// Less than a refund would cost.
    Dust,
}

impl Step {
    /// A step from any four bytes.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        Self::of_kind(kind % 32, [a, b, c])
    }

    /// A step of a world in which peers do everything that nobody can prevent.
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
            1 if b >= 224 => Self::Gift { client: a % CLIENTS },
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

/// Number of clients in a world.
pub const CLIENTS: u8 = 3;
