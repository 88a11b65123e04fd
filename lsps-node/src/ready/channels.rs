//! Channels and balances.

use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::Balance;
use lightning::ln::channel_state::ChannelDetails;
use lightning::util::errors::APIError;
use lsps_transport_ldk::ports::OnchainWallet as _;
use serde::Serialize;

use super::Node;

/// A channel of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Channel {
    /// Id, in hexadecimal.
    pub id: String,
    /// The other node.
    pub peer: String,
    /// Size, in satoshis.
    pub capacity_sat: u64,
    /// Balance that the node can send, in millisatoshis.
    pub outbound_msat: u64,
    /// Capacity that the node can receive, in millisatoshis.
    pub inbound_msat: u64,
    /// Whether it can be used now.
    pub is_usable: bool,
    /// Whether its funding is done, so that it can be used when the peer is connected.
    pub is_ready: bool,
    /// Whether this node opened it.
    pub is_ours: bool,
    /// Confirmations of its funding transaction.
    pub confirmations: u32,
    /// Outpoint of its funding.
    pub funding: Option<String>,
}

/// Balances of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Balances {
    /// Coins on the chain, in satoshis.
    pub onchain_sat: u64,
    /// Those that can be spent now: not reserved, and not kept to close channels.
    pub onchain_spendable_sat: u64,
    /// Balance in channels, in satoshis, without their reserves and fees.
    pub lightning_sat: u64,
    /// Largest payment that can be sent now, in millisatoshis.
    pub can_send_msat: u64,
    /// Largest payment that the channels can take now, in millisatoshis.
    pub can_receive_msat: u64,
    /// On its way from closed channels to the on-chain wallet, in satoshis.
    pub closing_sat: u64,
}

/// Reason for which a channel is not opened or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOpen {
    /// The peer is not connected.
    #[error("the peer {0} is not connected: connect to it first")]
    NotConnected(PublicKey),
    /// The coins do not suffice.
    #[error("{spendable_sat} sat can be spent, asked for a channel of {amount_sat} sat and its mining fee")]
    TooLittle {
        /// Size of the channel.
        amount_sat: u64,
        /// Satoshis that can be spent.
        spendable_sat: u64,
    },
    /// There is no such channel.
    #[error("there is no channel {0}: `channels` lists them")]
    NoChannel(String),
    /// LDK refuses; its text.
    #[error("the node refuses: {0}")]
    Refused(String),
}

impl Node {
    /// The channels.
    #[must_use]
    pub fn channels(&self) -> Vec<Channel> {
        self.inner.ldk.channel_manager().list_channels().iter().map(shown).collect()
    }

    /// The balances.
    #[must_use]
    pub fn balances(&self) -> Balances {
        let (ldk, wallet) = (&self.inner.ldk, self.inner.ldk.wallet());
        let open: Vec<_> = ldk.channel_manager().list_channels();
        let claimable = ldk.chain_monitor().get_claimable_balances(&[]);
        let closing = ldk.chain_monitor().get_claimable_balances(&open.iter().collect::<Vec<_>>());
        let in_channels = claimable.iter().filter(|balance| matches!(balance, Balance::ClaimableOnChannelClose { .. }));
        let sum = |balances: &mut dyn Iterator<Item = u64>| balances.fold(0u64, u64::saturating_add);
        Balances {
            onchain_sat: wallet.balance_sat(),
            onchain_spendable_sat: wallet.spendable_sat().saturating_sub(self.reserve_sat()),
            lightning_sat: sum(&mut in_channels.map(Balance::claimable_amount_satoshis)),
            can_send_msat: self.can_send().0,
            can_receive_msat: self.can_receive().0,
            closing_sat: sum(&mut closing.iter().map(Balance::claimable_amount_satoshis)),
        }
    }

    /// Opens a channel of this size to a connected peer. An event tells when it can be used.
    ///
    /// # Errors
    ///
    /// The peer is not connected, or the coins do not suffice.
    pub fn open_channel(&self, peer: PublicKey, amount_sat: u64) -> Result<(), CannotOpen> {
        let ldk = &self.inner.ldk;
        if ldk.peer_manager().peer_by_node_id(&peer).is_none() {
            return Err(CannotOpen::NotConnected(peer));
        }
        let spendable_sat = ldk.wallet().spendable_sat().saturating_sub(self.reserve_sat());
        if amount_sat >= spendable_sat {
            return Err(CannotOpen::TooLittle { amount_sat, spendable_sat });
        }
        let opened = ldk.channel_manager().create_channel(peer, amount_sat, 0, 0, None, None);
        opened.map(drop).map_err(|why| CannotOpen::Refused(text(why)))
    }

    /// Closes a channel, with its peer; or alone, which publishes its latest state and takes longer and costs more.
    ///
    /// # Errors
    ///
    /// There is no such channel, or its peer is needed and away.
    pub fn close_channel(&self, id: &str, alone: bool) -> Result<(), CannotOpen> {
        let manager = self.inner.ldk.channel_manager();
        let channels = manager.list_channels();
        let channel = channels.iter().find(|channel| channel.channel_id.to_string() == id);
        let channel = channel.ok_or_else(|| CannotOpen::NoChannel(id.into()))?;
        let (id, peer) = (&channel.channel_id, &channel.counterparty.node_id);
        let closed = if alone {
            manager.force_close_broadcasting_latest_txn(id, peer, "its owner closes it".into())
        } else {
            manager.close_channel(id, peer)
        };
        closed.map_err(|why| CannotOpen::Refused(text(why)))
    }
}

fn shown(channel: &ChannelDetails) -> Channel {
    Channel {
        id: channel.channel_id.to_string(),
        peer: channel.counterparty.node_id.to_string(),
        capacity_sat: channel.channel_value_satoshis,
        outbound_msat: channel.outbound_capacity_msat,
        inbound_msat: channel.inbound_capacity_msat,
        is_usable: channel.is_usable,
        is_ready: channel.is_channel_ready,
        is_ours: channel.is_outbound,
        confirmations: channel.confirmations.unwrap_or(0),
        funding: channel.funding_txo.map(|outpoint| format!("{}:{}", outpoint.txid, outpoint.index)),
    }
}

fn text(why: APIError) -> String {
    match why {
        APIError::APIMisuseError { err } | APIError::ChannelUnavailable { err } => err,
        other => format!("{other:?}"),
    }
}
