//! Records in the form in which `lightning-liquidity` 0.2.7 writes them, so that an LSP with many clients need not be
//! built by requests.
#![expect(clippy::drop_non_drop, reason = "in what LDK's macros expand to")]

use std::collections::BTreeMap;
use std::str::FromStr;

use lightning::ln::types::ChannelId;
use lightning::{impl_writeable_tlv_based, impl_writeable_tlv_based_enum};
use lightning_liquidity::lsps0::ser::LSPSDateTime;
use lightning_liquidity::lsps2::msgs::LSPS2OpeningFeeParams;
use lsps_types::Scid;

use crate::SIZE;

/// All state that `lightning-liquidity` keeps for one client.
pub struct PeerState {
    channels: BTreeMap<u64, Channel>,
    scid_by_user_channel_id: BTreeMap<u128, u64>,
    scid_by_channel_id: BTreeMap<ChannelId, u64>,
}

impl PeerState {
    /// The state of a client with an offer that waits for its payment.
    pub fn with_offer(scid: Scid) -> Self {
        let channel = Channel::of(scid, State::PendingInitialPayment { payment_queue: PaymentQueue {} });
        Self::from([(scid, channel)].into_iter())
    }

    /// The state of a client with channels that were paid for.
    pub fn with_channels(scids: impl Iterator<Item = Scid>) -> Self {
        Self::from(
            scids.map(|scid| (scid, Channel::of(scid, State::PaymentForwarded { channel_id: channel_id(scid) }))),
        )
    }

    fn from(channels: impl Iterator<Item = (Scid, Channel)>) -> Self {
        let channels: BTreeMap<_, _> = channels.map(|(scid, channel)| (scid.0, channel)).collect();
        Self {
            scid_by_user_channel_id: channels.keys().map(|scid| (u128::from(*scid), *scid)).collect(),
            scid_by_channel_id: channels
                .iter()
                .filter(|(_, channel)| matches!(channel.state, State::PaymentForwarded { .. }))
                .map(|(scid, _)| (channel_id(Scid(*scid)), *scid))
                .collect(),
            channels,
        }
    }
}

impl_writeable_tlv_based!(PeerState, {
    (0, channels, required),
    (2, scid_by_user_channel_id, required),
    (4, scid_by_channel_id, required),
});

struct Channel {
    state: State,
    user_channel_id: u128,
    opening_fee_params: LSPS2OpeningFeeParams,
    payment_size_msat: Option<u64>,
    trust_model: TrustModel,
}

impl Channel {
    fn of(scid: Scid, state: State) -> Self {
        Self {
            state,
            user_channel_id: u128::from(scid.0),
            opening_fee_params: LSPS2OpeningFeeParams {
                min_fee_msat: 1_000_000,
                proportional: 4_000,
                valid_until: LSPSDateTime::from_str(FAR_AWAY).expect("a datetime"),
                min_lifetime: 4_320,
                max_client_to_self_delay: 2_016,
                min_payment_size_msat: 1_000,
                max_payment_size_msat: 10_000_000_000,
                promise: "60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a".into(),
            },
            payment_size_msat: Some(SIZE.0),
            trust_model: TrustModel::LspTrustsClient,
        }
    }
}

impl_writeable_tlv_based!(Channel, {
    (0, state, required),
    (2, user_channel_id, required),
    (4, opening_fee_params, required),
    (6, payment_size_msat, option),
    (8, trust_model, required),
});

enum State {
    PendingInitialPayment { payment_queue: PaymentQueue },
    PaymentForwarded { channel_id: ChannelId },
}

impl_writeable_tlv_based_enum!(State,
    (0, PendingInitialPayment) => {
        (0, payment_queue, required),
    },
    (8, PaymentForwarded) => {
        (0, channel_id, required),
    },
);

/// A queue without payments.
struct PaymentQueue {}

impl_writeable_tlv_based!(PaymentQueue, {});

enum TrustModel {
    LspTrustsClient,
}

impl_writeable_tlv_based_enum!(TrustModel,
    (2, LspTrustsClient) => {},
);

fn channel_id(scid: Scid) -> ChannelId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&scid.0.to_be_bytes());
    ChannelId(id)
}

/// End of the terms made here. `lightning-liquidity` goes by the clock of the machine.
pub const FAR_AWAY: &str = "2100-01-01T00:00:00.000Z";
