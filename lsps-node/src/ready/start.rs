//! The start of a node.

use std::sync::Arc;

use lightning::ln::channelmanager::RecentPaymentDetails;
use lightning::util::config::UserConfig;
use lightning::util::persist::KVStoreSyncWrapper;
use lsps_transport_ldk::client::Unreadable;
use lsps_transport_ldk::service::StandardPolicy;
use lsps_transport_ldk::{
    Lsp, LspParts, LspsMessageHandler, PromiseKey, Role, Wallet, WalletParts, preset_for_lsp, preset_for_wallet,
};

use super::events::Reaction;
use super::history::History;
use super::lsps::Lsps;
use super::peers::Peers;
use super::queue::Queue;
use super::{Host, Inner, Ldk, Node, State};
use crate::builder::{Builder, Opened, StartError};
use crate::chain::since::since;
use crate::identity::{self, Identity};
use crate::node::Setup;
use crate::seed::Phrase;
use crate::wallet::Payer;

impl Node {
    pub(crate) async fn start(builder: Builder) -> Result<Self, StartError> {
        let chain = builder.chain.clone().ok_or(StartError::NoChain)?;
        let (source_is, asked) = (chain.network(), builder.network);
        if source_is != asked {
            return Err(StartError::WrongChain { source_is, asked });
        }
        let given = builder.lsps.into_iter().collect::<Result<Vec<_>, _>>()?;
        if builder.sells.is_some() && !given.is_empty() {
            return Err(StartError::SellsAndBuys);
        }
        let opened = builder.storage.open()?;
        let store = Arc::clone(&opened.store);
        let passphrase = builder.passphrase.as_deref();
        let identity = identity::find(&store, builder.network, builder.phrase, passphrase, builder.birthday)?;
        let Identity { phrase, origin, birthday } = identity;
        let chain = since(chain, birthday);
        let state = Arc::new(State {
            queue: Queue::load(&store)?,
            history: History::load(&store)?,
            accepts_channels: builder.accepts_channels || builder.sells.is_some(),
        });
        let lsps = Lsps::load(&store, given)?;

        let mut config = UserConfig::default();
        let role = if builder.sells.is_some() { Role::Service } else { Role::Client };
        match role {
            Role::Service => {
                preset_for_lsp(&mut config);
                // LDK accepts no channel with anchors by itself. Payers open channels to an LSP.
                config.manually_accept_inbound_channels = true;
            }
            Role::Client => preset_for_wallet(&mut config),
        }
        config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = builder.anchors;
        let messages = LspsMessageHandler::new(role);
        let setup = Setup { name: "node", seed: phrase.key("node"), store, config, chain };
        let handler = Arc::clone(&messages);
        let ldk = Ldk::assemble(setup, &phrase.coins(), |_| std::future::ready(Ok(handler))).await?;
        let (host, unreadable) = match builder.sells {
            Some(policy) => sell(&ldk, messages, &opened, &phrase, policy).await?,
            None => buy(&ldk, messages, &opened, &lsps).await?,
        };
        let under_way = ldk.channel_manager().list_recent_payments();
        state.history.forget_unsent(&under_way.iter().filter_map(payment_hash).collect::<Vec<_>>())?;
        let reaction = Reaction::new(&ldk, host.clone(), Arc::clone(&state));
        ldk.run(move |event| {
            let reaction = reaction.clone();
            async move { reaction.to(event).await }
        });
        let listens = match builder.listen {
            Some(address) => Some(ldk.listen(address).await.map_err(|why| StartError::Listen { address, why })?),
            None => None,
        };
        let peers = Peers::load(&ldk, &opened.store)?;
        lsps.addresses().into_iter().for_each(|address| peers.connects(address));
        let (network, fee_limit) = (builder.network, builder.fee_limit);
        let warnings = unreadable.iter().map(ToString::to_string).collect();
        let _lock = opened.lock;
        let inner =
            Inner { network, phrase, origin, ldk, host, peers, lsps, state, fee_limit, listens, warnings, _lock };
        Ok(Self { inner: Arc::new(inner) })
    }
}

async fn buy(
    ldk: &Arc<Ldk>,
    messages: Arc<LspsMessageHandler>,
    opened: &Opened,
    lsps: &Lsps,
) -> Result<(Host, Vec<Unreadable>), StartError> {
    let (manager, peers, keys) = (ldk.channel_manager().clone(), ldk.peer_manager().clone(), ldk.keys().clone());
    let store = Arc::new(KVStoreSyncWrapper(Arc::clone(&opened.store)));
    let mut parts = WalletParts::new(manager, peers, messages, store, keys, ldk.chain().network(), lsps.known());
    parts.batches.clone_from(&opened.batches);
    let (coins, broadcaster) = (Arc::clone(ldk.wallet()), Arc::clone(ldk.broadcaster()));
    parts.onchain = Some(Arc::new(Payer::new(coins, broadcaster)));
    parts.mempool = Some(Arc::clone(ldk.chain()) as Arc<_>);
    let (wallet, unreadable) = Wallet::start(parts).await?;
    Ok((Host::Wallet(Arc::new(wallet)), unreadable))
}

async fn sell(
    ldk: &Arc<Ldk>,
    messages: Arc<LspsMessageHandler>,
    opened: &Opened,
    phrase: &Phrase,
    policy: StandardPolicy,
) -> Result<(Host, Vec<Unreadable>), StartError> {
    let (manager, peers) = (ldk.channel_manager().clone(), ldk.peer_manager().clone());
    let store = Arc::new(KVStoreSyncWrapper(Arc::clone(&opened.store)));
    let key = PromiseKey::new(phrase.key("promises"));
    let (coins, chain) = (Arc::clone(ldk.wallet()) as Arc<_>, Arc::clone(ldk.broadcaster()) as Arc<_>);
    let mut parts = LspParts::new(manager, peers, messages, store, coins, chain, key);
    parts.batches.clone_from(&opened.batches);
    parts.deposits = Some(Arc::clone(ldk.wallet()) as Arc<_>);
    let (lsp, unreadable) = Lsp::start(parts, policy).await?;
    Ok((Host::Lsp(Arc::new(lsp)), unreadable))
}

/// Payment hash of a payment that LDK knows.
fn payment_hash(payment: &RecentPaymentDetails) -> Option<String> {
    match payment {
        RecentPaymentDetails::AwaitingInvoice { .. } => None,
        RecentPaymentDetails::Pending { payment_hash, .. } | RecentPaymentDetails::Abandoned { payment_hash, .. } => {
            Some(payment_hash.to_string())
        }
        RecentPaymentDetails::Fulfilled { payment_hash, .. } => payment_hash.map(|hash| hash.to_string()),
    }
}
