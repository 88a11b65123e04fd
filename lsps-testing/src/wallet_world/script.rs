//! Steps of a script as data: calls of the user, acts of LSPs and faults.

pub use super::model::Call;

/// A step of a script. Numbers select among the objects that exist (modulo their count), so that most steps have an
/// effect.
#[allow(missing_docs)] // the fields are what the sentence says
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The user buys a JIT channel for a payment of fixed amount, of any amount, or to a hash of the application's.
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
    /// The user abandons a purchase.
    Abandon {
        purchase: u8,
    },
    /// The user ends an order.
    EndOrder {
        order: u8,
    },
    /// The application cancels a call to the wallet.
    DropTask {
        task: u8,
    },
    /// An LSP answers its oldest request.
    Answer {
        lsp: u8,
        how: How,
    },
    /// An LSP connects, reports the true states of its orders and answers all requests honestly; it forwards nothing.
    Proceed {
        lsp: u8,
    },
    /// An LSP sends an unsolicited message.
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
    /// An LSP asks to open a channel.
    Open {
        lsp: u8,
        like: Like,
    },
    /// An LSP opens a channel for a purchase, and publishes its funding.
    Serve {
        purchase: u8,
    },
    /// An LSP opens a channel for an order, and publishes its funding.
    Fulfil {
        order: u8,
    },
    /// An accepted channel is funded; its LSP publishes the funding or not.
    Fund {
        channel: u8,
        publish: bool,
    },
    /// An LSP publishes a funding that it withheld.
    Publish {
        channel: u8,
    },
    /// An input of an unconfirmed funding is spent by another transaction, and the channel is closed.
    SpendTwice {
        channel: u8,
    },
    /// A funded channel becomes usable, if it has the confirmations that it needs.
    Ready {
        channel: u8,
    },
    Close {
        channel: u8,
    },
    /// An LSP forwards a payment for a purchase: whole, in two parts, or only the first half of it.
    Forward {
        purchase: u8,
        channel: u8,
        skim: Skim,
        amount: u8,
        parts: u8,
    },
    /// An LSP forwards a payment for an invoice of the application's own.
    ForwardOther {
        channel: u8,
        skim: bool,
    },
    /// The node fails parts that wait for others.
    PartsTimeOut,
    /// The application claims or fails a payment that was reported to it.
    AppDecides {
        payment: u8,
        claims: bool,
    },
    /// An LSP claims the payment of an order.
    Settle {
        payment: u8,
    },
    /// An LSP fails the payment of an order.
    Return {
        payment: u8,
    },
    /// The invoice for an offer arrives.
    SendInvoice {
        payment: u8,
        same_hash: bool,
    },
    /// The node gives up waiting for the invoice of an offer.
    OfferTimesOut {
        payment: u8,
    },
    /// The node forgets fulfilled payments whose end was handled.
    ForgetPayments,
    /// Sets the state that an LSP reports of an order from now on.
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
    /// The wallet's clock is set forward or back.
    SetClock {
        seconds: u32,
        back: bool,
    },
    /// The usual feerate changes to 1 to 100 sat/vB.
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
    /// Reads of a record fail, from a restart of the host until `Show`.
    Hide {
        record: u8,
    },
    Show,
    /// Another process takes over the records.
    Fence,
    /// The node reports its last event again.
    Replay,
    /// The node stops or resumes the report of events.
    Mute {
        on: bool,
    },
    /// The next port call of this kind is refused.
    Refuse {
        call: Call,
    },
}

/// Manner in which an LSP answers a request.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Honest,
    /// A JSON-RPC error: one of the method's own, or another.
    Error(u8),
    /// A text that is not JSON-RPC.
    Garbage,
    /// The answer has the id of no request.
    WrongId,
    Twice,
    /// The answer has a false value, selected by the number.
    Lie(u8),
    /// The request is not answered.
    Silence,
}

/// Properties of the channel that an LSP asks to open.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    Bought,
    Order(u8),
    Announced,
    NoAlias,
    Small,
    /// The LSP's last request, repeated.
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

/// State that an LSP reports of an order.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Truth,
    Created,
    Held,
    Paid,
    Failed,
    Refunded,
    /// COMPLETED with the newest channel of this LSP.
    Completed,
    /// COMPLETED without a channel.
    CompletedByNone,
    /// COMPLETED with a funding that does not exist.
    CompletedByAir,
    /// COMPLETED with a channel that expires at once.
    ShortLease,
    OtherTotal,
    OtherInvoice,
    Late,
}

impl Step {
    /// Maps any four bytes to a step.
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
