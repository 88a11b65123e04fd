//! A node that sells JIT channels: LDK with this repository's LSP.

use std::sync::Arc;
use std::time::Duration;

use lightning::events::ReplayEvent;
use lightning::util::config::UserConfig;
use lightning::util::persist::KVStoreSyncWrapper;
use lsps_node::Chain;
use lsps_node::node::Node;
use lsps_node::store::Store;
use lsps_service::StandardPolicy;
use lsps_transport_ldk::ports::OnchainWallet;
use lsps_transport_ldk::webhook_notifier;
use lsps_transport_ldk::{Lsp, LspParts, LspsMessageHandler, PromiseKey, Role, preset_for_lsp};

use super::{Error, Script, Who, finish};
use crate::tape::tape;

/// The LSP.
pub struct LspNode {
    /// Node on LDK.
    pub node: Arc<Node<LspsMessageHandler>>,
    /// Host of the LSP.
    pub host: Arc<Lsp>,
    /// Handler of the messages of the LSP's peers.
    pub messages: Arc<LspsMessageHandler>,
}

impl LspNode {
    /// Promise key of the LSP. A real LSP keeps it secret.
    #[must_use]
    pub fn promise_key() -> PromiseKey {
        PromiseKey::new(Who::Lsp.seed())
    }

    /// Starts the LSP.
    ///
    /// # Errors
    ///
    /// The LSP cannot start.
    pub async fn start(chain: &Chain, store: &Store, script: &Script) -> Result<Self, Error> {
        let mut config = UserConfig::default();
        preset_for_lsp(&mut config);
        config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = script.anchors;
        let messages = LspsMessageHandler::new(Role::Service);
        let on_request = Arc::clone(&script.on_request);
        messages.observe(move |message| on_request(message));
        let setup = script.setup(Who::Lsp, Arc::clone(store), config, chain);
        let node = Node::build(setup, Arc::clone(&messages)).await?;

        let coins: Arc<dyn OnchainWallet> = node.wallet().clone();
        let mut parts = LspParts::new(
            Arc::clone(node.channel_manager()),
            Arc::clone(node.peer_manager()),
            Arc::clone(&messages),
            Arc::new(KVStoreSyncWrapper(Arc::clone(store))),
            coins,
            node.broadcaster().clone(),
            Self::promise_key(),
        );
        parts.deposits = Some(Arc::clone(node.wallet()) as Arc<_>);
        parts.clock = Arc::clone(&script.clock);
        if let Some(config) = &script.webhooks {
            parts.config.webhooks.serve = true;
            parts.notifier = Some(Arc::new(webhook_notifier(config.clone(), node.keys().clone())?));
        }
        let policy = StandardPolicy { trust: script.trust, ..script.policy.clone() };
        if let Some(path) = &script.lsp_tape {
            parts.config.orders.network = Some(lsps_types::Network::Regtest); // a replay has no node to ask
            parts.tape = Some(Box::new(tape(path, &parts.config, &policy)?));
        }
        let (host, unreadable) = Lsp::start(parts, policy).await?;
        if let Some(record) = unreadable.first() {
            return Err(format!("the LSP cannot read a record: {record}").into());
        }
        let host = Arc::new(host);
        let (weak, lsp, on_event) = (Arc::downgrade(&node), Arc::clone(&host), Arc::clone(&script.on_event));
        let keeps_back = Arc::clone(&script.lsp_keeps_back);
        node.run(move |event| {
            let (node, lsp, on_event) = (weak.upgrade(), Arc::clone(&lsp), Arc::clone(&on_event));
            let is_kept_back = keeps_back(&event);
            async move {
                if is_kept_back {
                    // LDK repeats the event at once.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    return Err(ReplayEvent());
                }
                on_event(Who::Lsp, &event);
                if lsp.handle_event(&event).await? {
                    return Ok(());
                }
                node.map_or(Ok(()), |node| finish(&node, &event))
            }
        });
        Ok(Self { node, host, messages })
    }
}
