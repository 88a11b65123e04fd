//! Steps of a script: events around a wallet, as data.

pub use super::model::Call;

/// One thing that happens. Numbers choose among what there is, so that most steps hit something.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The user wants to be paid: a known amount, or any, or for a hash of the application's.
    Receive {
        amount: u8,
        kind: u8,
    },
    /// The user orders a channel of one LSP; the application or the wallet chooses how it is paid.
    Order {
        lsp: u8,
        size: u8,
        way: u8,
        refundable: bool,
    },
    /// The user calls a purchase off.
    Abandon {
        purchase: u8,
    },
    /// The user ends an order.
    EndOrder {
        order: u8,
    },
    /// The application waits no more for an answer of the wallet.
    DropTask {
        task: u8,
    },
    /// An LSP answers the oldest question, honestly or not.
    Answer {
        lsp: u8,
        how: How,
    },
    /// An LSP answers all questions honestly, does what it should for its orders, and forwards nothing.
    Proceed {
        lsp: u8,
    },
    /// An LSP sends something that nobody asked for.
    Babble {
        lsp: u8,
        what: u8,
    },
    Connect {
        lsp: u8,
    },
    Disconnect {
        lsp: u8,
    },
    /// An LSP asks to open a channel: for its order of that number, or as bought.
    Open {
        lsp: u8,
        like: Like,
    },
    /// An LSP does all for a channel that an honest one does: for a purchase, or for an order.
    Serve {
        purchase: u8,
    },
    Fulfil {
        order: u8,
    },
    /// A channel that was accepted is funded; the LSP publishes that or not.
    Fund {
        channel: u8,
        publish: bool,
    },
    /// A funding that was kept back is published.
    Publish {
        channel: u8,
    },
    /// The inputs of a funding that is not confirmed are spent otherwise, and the channel is closed.
    SpendTwice {
        channel: u8,
    },
    /// A channel can be used, if it may be.
    Ready {
        channel: u8,
    },
    Close {
        channel: u8,
    },
    /// An LSP forwards a payment for a purchase, whole or in two parts.
    Forward {
        purchase: u8,
        channel: u8,
        skim: Skim,
        amount: u8,
        parts: u8,
    },
    /// A payment for an invoice of the application's own.
    ForwardOther {
        channel: u8,
        skim: bool,
    },
    /// Parts that wait for others go back.
    PartsTimeOut,
    /// The application claims or fails what it may.
    AppDecides {
        payment: u8,
        claims: bool,
    },
    /// An LSP claims the payment of an order, or fails it.
    Settle {
        payment: u8,
    },
    Return {
        payment: u8,
    },
    /// The invoice of an offer comes, or is given up.
    SendInvoice {
        payment: u8,
        same_hash: bool,
    },
    OfferTimesOut {
        payment: u8,
    },
    /// The node forgets payments that ended and were told.
    ForgetPayments,
    /// The state that an LSP tells of an order from now on.
    Tell {
        order: u8,
        lie: Lie,
    },
    Block {
        count: u8,
    },
    Wait {
        seconds: u32,
    },
    /// Somebody sets the wallet's clock, forward or back.
    SetClock {
        seconds: u32,
        back: bool,
    },
    /// The usual feerate moves.
    Feerate {
        times: u8,
    },
    Save,
    Crash {
        after: u8,
        saved: bool,
    },
    Restart,
    Store {
        works: bool,
    },
    /// The store does not give back this record.
    Hide {
        record: u8,
    },
    Show,
    /// Another process has the records.
    Fence,
    /// The node tells an event once more.
    Replay,
    /// The node tells nothing until it speaks again.
    Mute {
        on: bool,
    },
    /// The next call of this kind is refused.
    Refuse {
        call: Call,
    },
}

/// The manner of an answer.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Honest,
    /// The error of a method, or another.
    Error(u8),
    /// No JSON-RPC at all.
    Garbage,
    /// The answer has the id of no question, or its own twice.
    WrongId,
    Twice,
    /// An odd value in it.
    Lie(u8),
    /// The question is dropped.
    Silence,
}

/// The channel that an LSP asks for.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    Bought,
    Order(u8),
    Announced,
    NoAlias,
    Small,
    /// The last request again, after a reconnect.
    Again,
}

/// Amount that an LSP keeps of a payment.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skim {
    Promised,
    Nothing,
    Less,
    OneMore,
    Much,
    /// The LSP keeps the promised fee and reports no skim.
    Unsaid,
    /// The LSP keeps nothing and reports the promised fee as skim.
    Boast,
}

/// Answer of an LSP about an order.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Truth,
    Created,
    Held,
    Paid,
    Failed,
    Refunded,
    /// Completed by the newest channel with this LSP, by none, by one that is not there, or for no time.
    Completed,
    CompletedByNone,
    CompletedByAir,
    ShortLease,
    OtherTotal,
    OtherInvoice,
    Late,
}

impl Step {
    /// A step from four bytes, whatever they are.
    #[must_use]
    pub fn from_bytes([kind, a, b, c]: [u8; 4]) -> Self {
        let yes = c & 1 == 1;
        match kind % 80 {
            0..=3 => Self::Receive { amount: a, kind: b % 6 },
            4 | 5 => Self::Order { lsp: a, size: b, way: c % 5, refundable: c > 60 },
            6 if c < 64 => Self::Abandon { purchase: a },
            6 if c < 128 => Self::EndOrder { order: a },
            6 => Self::DropTask { task: a },
            7..=11 => Self::Answer { lsp: a, how: How::any(b, c) },
            12..=22 => Self::Proceed { lsp: a },
            23 => Self::Babble { lsp: a, what: c },
            24 | 25 => Self::Connect { lsp: a },
            26 => Self::Disconnect { lsp: a },
            27..=30 => Self::Open { lsp: a, like: Like::any(b, c) },
            31..=33 => Self::Fund { channel: a, publish: c > 40 },
            34 => Self::Publish { channel: a },
            35 if c < 60 => Self::SpendTwice { channel: a },
            35 if c < 120 => Self::Close { channel: a },
            35..=37 => Self::Ready { channel: a },
            38..=43 => Self::Forward { purchase: a, channel: b, skim: Skim::any(c), amount: b, parts: c % 3 },
            44 => Self::ForwardOther { channel: a, skim: c < 60 },
            45 if c < 60 => Self::PartsTimeOut,
            45 => Self::AppDecides { payment: a, claims: c > 80 },
            46 => Self::Settle { payment: a },
            47 => Self::Return { payment: a },
            48 => Self::SendInvoice { payment: a, same_hash: c < 40 },
            49 if c < 60 => Self::OfferTimesOut { payment: a },
            49 => Self::ForgetPayments,
            50 | 51 => Self::Tell { order: a, lie: Lie::any(b) },
            52 | 53 => Self::Block { count: [1, 1, 1, 2, 6, 20, 150, 1_u8][usize::from(c % 8)] },
            54 | 55 => {
                let waits = [1, 3, 11, 61, 121, 601, 3_601, 7 * 3_600, 86_400, 20 * 86_400];
                Self::Wait { seconds: waits[usize::from(c) % waits.len()] }
            }
            56 if c < 40 => Self::SetClock { seconds: [60, 3_600, 86_400][usize::from(b % 3)], back: yes },
            56 => Self::Feerate { times: c },
            57..=60 => Self::Save,
            61..=63 => Self::Crash { after: b % 9, saved: yes },
            64 => Self::Store { works: c > 100 },
            65 if c < 40 => Self::Fence,
            65 => Self::Restart,
            66 if c < 100 => Self::Hide { record: a },
            66 => Self::Show,
            67 => Self::Replay,
            68 => Self::Mute { on: c < 100 },
            69 => Self::Refuse { call: call(b) },
            70 => Self::Connect { lsp: a },
            71..=74 => Self::Serve { purchase: a },
            75 | 76 => Self::Fulfil { order: a },
            77 => Self::Forward { purchase: a, channel: b, skim: Skim::any(c), amount: 100, parts: 0 },
            _ => Self::Proceed { lsp: a },
        }
    }
}

fn call(number: u8) -> Call {
    [Call::Accept, Call::PayNow, Call::PayEver, Call::Sign, Call::Invoice, Call::Marker][usize::from(number % 6)]
}

impl How {
    fn any(number: u8, what: u8) -> Self {
        match number % 16 {
            0..=5 => Self::Honest,
            6 | 7 => Self::Error(what),
            8 => Self::Garbage,
            9 => Self::WrongId,
            10 => Self::Twice,
            11 => Self::Silence,
            _ => Self::Lie(what),
        }
    }
}

impl Like {
    fn any(number: u8, what: u8) -> Self {
        match number % 12 {
            0..=4 => Self::Bought,
            5..=7 => Self::Order(what),
            8 => Self::Announced,
            9 => Self::NoAlias,
            10 => Self::Small,
            _ => Self::Again,
        }
    }
}

impl Skim {
    fn any(number: u8) -> Self {
        use Skim as S;
        let all = [
            S::Promised,
            S::Promised,
            S::Promised,
            S::Promised,
            S::Nothing,
            S::Less,
            S::OneMore,
            S::Much,
            S::Unsaid,
            S::Boast,
        ];
        all[usize::from(number / 3) % all.len()]
    }
}

impl Lie {
    fn any(number: u8) -> Self {
        use Lie as L;
        let all = [
            L::Truth,
            L::Truth,
            L::Created,
            L::Held,
            L::Paid,
            L::Failed,
            L::Refunded,
            L::Completed,
            L::CompletedByNone,
            L::CompletedByAir,
            L::ShortLease,
            L::OtherTotal,
            L::OtherInvoice,
            L::Late,
        ];
        all[usize::from(number) % all.len()]
    }
}
