//! Display texts of orders.

use core::fmt;

use lsps_types::{DateTime, text::PeerText};

use super::{End, PaymentMethod, Trouble, Unpaid};

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { lease, .. } => write!(f, "the channel is funded by {}", lease.funding),
            Self::Refunded => f.write_str("the order failed, and the payment came back"),
            Self::Unpaid(why) => write!(f, "{why}"),
            Self::GivenUp => f.write_str("given up"),
        }
    }
}

impl fmt::Display for Unpaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "not paid in time",
            Self::NotSent => "the payment did not get there",
            Self::Closed => "the provider closed the order before it was paid",
            Self::Abandoned => "called off",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { .. } => f.write_str("the provider does not answer"),
            Self::Unreadable { .. } => f.write_str("the provider's answers cannot be read"),
            Self::NoChannel { funding: Some(funding) } => {
                write!(
                    f,
                    "the provider says that the channel is funded by {funding}, and the node knows no such channel"
                )
            }
            Self::NoChannel { funding: None } => {
                f.write_str("the provider says that the channel is open, and names none")
            }
            Self::ShortLease { until } => {
                write!(
                    f,
                    "the provider promises the channel until {} only, for less than was paid for",
                    DateTime::from(*until)
                )
            }
            Self::Kept => f.write_str("the provider took the payment, and there is no channel"),
            Self::Unconfirmed { funding } => {
                write!(f, "the channel is open, and {funding}, which funds it, is not confirmed or will never be")
            }
            Self::Forgotten => f.write_str("the provider does not know the order"),
            Self::Differs { field } => write!(f, "the provider tells of another order: `{}`", PeerText::from(&**field)),
        }
    }
}

impl fmt::Display for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bolt11 => "by invoice",
            Self::Bolt12 => "by offer",
            Self::Onchain => "on-chain",
            Self::Free => "with nothing, as it is free",
        })
    }
}
