//! The README's twelve lines, with everybody else in the same process: an LSP, and a payer with a channel to it.

use std::error::Error;

use lsps_node::lsps_transport_ldk::service::StandardPolicy;
use lsps_node::node::within;
use lsps_node::{Chain, Msat, Network, Node};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chain = Chain::new();
    let (lsp, payer) = others(&chain).await?;

    let node = Node::builder(Network::Regtest)
        .chain(chain)
        .lsp(lsp.connection_string().ok_or("the LSP listens")?)
        .start()
        .await?;
    let receiving = node.receive(Msat::from_sat(50_000), "coffee").await?;
    println!("{}  fee {}", receiving.invoice, receiving.fee);
    payer.pay(&receiving.invoice, None)?; // elsewhere, by somebody else
    loop {
        let event = node.next_event().await;
        println!("{event:?}");
        node.acknowledge(&event)?;
        if matches!(event, lsps_node::ready::Event::Received { .. }) {
            break;
        }
    }

    for node in [node, payer, lsp] {
        node.stop().await;
    }
    Ok(())
}

/// An LSP with coins, and a payer with a channel to it.
async fn others(chain: &Chain) -> Result<(Node, Node), Box<dyn Error>> {
    let builder = || Node::builder(Network::Regtest).chain(chain.clone());
    let lsp = builder().listen(([127, 0, 0, 1], 0).into()).sell(StandardPolicy::default()).start().await?;
    let payer = builder().lsp(lsp.connection_string().ok_or("the LSP listens")?).start().await?;
    for node in [&lsp, &payer] {
        chain.give(&node.address()?.script_pubkey(), 2_000_000);
    }
    within(|| payer.peers().iter().any(|peer| peer.is_connected)).await;
    payer.open_channel(lsp.node_id(), 1_000_000)?;
    within(|| !chain.mempool().is_empty()).await;
    chain.mine(6);
    within(|| payer.can_send() > Msat::ZERO).await;
    Ok((lsp, payer))
}
