//! A node that is paid before it has a channel: LDK with this repository's wallet.

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::util::config::UserConfig;
use lightning::util::persist::KVStoreSyncWrapper;
use lsps_node::Chain;
use lsps_node::node::Node;
use lsps_node::store::{MemoryStore, Store};
use lsps_node::wallet::Payer;
use lsps_service::Trust;
use lsps_transport_ldk::{KnownLsp, LspsMessageHandler, Role, Wallet, WalletParts, preset_for_wallet};

use super::{Error, Script, Who, finish};

/// The wallet.
pub struct WalletNode {
    /// Node on LDK.
    pub node: Arc<Node<LspsMessageHandler>>,
    /// Host of the wallet.
    pub host: Arc<Wallet>,
}

impl WalletNode {
    /// Starts a wallet on a chain of its own, as a customer of the LSP `NODE-ID@HOST:PORT`, to which it connects by
    /// itself.
    ///
    /// # Errors
    ///
    /// The address is not valid, or the wallet cannot start.
    pub async fn alone(lsp: &str) -> Result<Self, Error> {
        let (id, address) = lsp.split_once('@').ok_or("an LSP is NODE-ID@HOST:PORT")?;
        let address = tokio::net::lookup_host(address).await?.next().ok_or("no such host")?;
        let (store, script): (Store, _) =
            (Arc::new(MemoryStore::new()), Script { wallet_connects: true, ..Script::default() });
        Self::start(&Chain::new(), &store, (id.parse()?, address), &script).await
    }

    /// Starts the wallet as a customer of this LSP, which it trusts if the script says so.
    ///
    /// # Errors
    ///
    /// The wallet cannot start.
    pub async fn start(
        chain: &Chain,
        store: &Store,
        (lsp, address): (PublicKey, SocketAddr),
        script: &Script,
    ) -> Result<Self, Error> {
        let lsp = KnownLsp { token: script.token.clone(), ..KnownLsp::new(lsp).at(address.to_string()) };
        let lsp = if script.trust == Trust::ClientTrustsLsp { lsp.trusted() } else { lsp };
        let mut config = UserConfig::default();
        preset_for_wallet(&mut config);
        config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = script.anchors;
        let messages = LspsMessageHandler::new(Role::Client);
        let on_message = Arc::clone(&script.on_message);
        messages.observe(move |message| on_message(message));
        let setup = script.setup(Who::Wallet, Arc::clone(store), config, chain);
        let node = Node::build(setup, Arc::clone(&messages)).await?;

        let mut parts = WalletParts::new(
            Arc::clone(node.channel_manager()),
            Arc::clone(node.peer_manager()),
            messages,
            Arc::new(KVStoreSyncWrapper(Arc::clone(store))),
            Arc::clone(node.keys()),
            Network::Regtest,
            [lsp],
        );
        let (coins, broadcaster) = (Arc::clone(node.wallet()), Arc::clone(node.broadcaster()));
        parts.onchain = Some(Arc::new(Payer::new(coins, broadcaster)));
        parts.clock = Arc::clone(&script.wallet_clock);
        parts.config.polling = script.polling;
        parts.rules.confirmations_to_wait = script.confirmations_to_wait;
        parts.lsps.extend(script.other_lsps.iter().cloned());
        if script.wallet_sees_mempool {
            parts.mempool = Some(Arc::clone(node.chain()) as Arc<_>);
        }
        if script.wallet_connects {
            parts.connect = Some((script.wallet_connector)(node.connector()));
        }
        let (host, unreadable) = Wallet::start(parts).await?;
        if let Some(record) = unreadable.first() {
            return Err(format!("the wallet cannot read a record: {record}").into());
        }
        let host = Arc::new(host);
        let (weak, wallet) = (Arc::downgrade(&node), Arc::clone(&host));
        let (on_event, on_left) = (Arc::clone(&script.on_event), Arc::clone(&script.on_left));
        node.run(move |event| {
            let (node, wallet) = (weak.upgrade(), Arc::clone(&wallet));
            let (on_event, on_left) = (Arc::clone(&on_event), Arc::clone(&on_left));
            async move {
                on_event(Who::Wallet, &event);
                if wallet.handle_event(&event).await? {
                    return Ok(());
                }
                on_left(Who::Wallet, &event);
                node.map_or(Ok(()), |node| finish(&node, &event))
            }
        });
        Ok(Self { node, host })
    }
}
