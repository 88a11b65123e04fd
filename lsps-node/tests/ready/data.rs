//! Whose data a directory has.

use bitcoin::Network;
use lsps_node::builder::StartError;
use lsps_node::{Chain, Node, Origin, Phrase};

use crate::{Town, builder, memory, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_data_is_refused_and_the_first_goes_on() {
    let (chain, directory) = (Chain::new(), tempfile::tempdir().expect("a directory"));
    for files in [false, true] {
        let directory = directory.path().join(files.to_string());
        let build = || {
            let builder = builder(&chain);
            if files { builder.storage_in_files(&directory) } else { builder.storage(&directory) }
        };
        let first = start(build()).await;
        let refused = build().start().await.err().expect("it is in use").to_string();
        assert!(refused.contains(&directory.display().to_string()), "{refused}");
        let id = first.node_id();
        first.stop().await;
        assert_eq!(start(build()).await.node_id(), id, "the same node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phrase_opens_with_its_passphrase_only_and_the_refusal_hints_at_nothing() {
    let (chain, store) = (Chain::new(), memory());
    let node = start(builder(&chain).store(store.clone()).passphrase("correct horse")).await;
    let (id, words) = (node.node_id(), node.phrase().words());
    node.stop().await;
    let refusal =
        async |builder: lsps_node::builder::Builder| builder.start().await.err().expect("refused").to_string();
    let wrong = [
        refusal(builder(&chain).store(store.clone()).passphrase("correct horsf")).await,
        refusal(builder(&chain).store(store.clone()).passphrase("")).await,
    ];
    assert_eq!(wrong, ["the passphrase is wrong"; 2]);
    assert!(refusal(builder(&chain).store(store.clone())).await.contains("give its passphrase"));
    let stored = String::from_utf8_lossy(&store.read("node", "", "identity").expect("a record")).into_owned();
    let two = words.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert!(!stored.contains(&two), "{stored}");
    assert_eq!(start(builder(&chain).store(store).passphrase("correct horse")).await.node_id(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_network_or_node_and_a_chain_of_another_network_are_refused() {
    let (chain, store) = (Chain::new(), memory());
    start(builder(&chain).store(store.clone())).await.stop().await;
    let other = builder(&chain).store(store.clone()).phrase(Phrase::draw()).start().await;
    assert!(matches!(other, Err(StartError::AnotherNode)));
    let chain_is_other = Node::builder(Network::Signet).chain(chain.clone()).start().await;
    assert!(matches!(chain_is_other, Err(StartError::WrongChain { .. })));
    let text = chain_is_other.err().expect("refused").to_string();
    assert_eq!(
        text,
        "the chain source is on regtest, and the node is to be on signet: choose another source or network"
    );
    let record = String::from_utf8(store.read("node", "", "identity").expect("a record")).expect("text");
    store
        .write("node", "", "identity", record.replace("\"regtest\"", "\"signet\"").into_bytes())
        .expect("it is stored");
    let refused = builder(&chain).store(store).start().await.err().expect("refused").to_string();
    assert_eq!(refused, "the data are of a node on signet, and this one is to be on regtest: choose another directory");
    assert!(matches!(Node::builder(Network::Regtest).start().await, Err(StartError::NoChain)));
    let no_address = builder(&chain).lsp("nonsense").start().await.err().expect("refused").to_string();
    assert!(no_address.contains("\"nonsense\"") && no_address.contains("NODE-ID@HOST:PORT"), "{no_address}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_phrase_restores_the_coins_on_the_chain_and_not_the_channels() {
    let town = Town::new().await;
    let wallet = start(town.wallet()).await;
    for _ in 0..3 {
        town.chain.give(&wallet.address().expect("an address").script_pubkey(), 70_000);
    }
    town.pays(&wallet, 60_000).await;
    let (phrase, before) = (wallet.phrase().clone(), wallet.balances());
    assert_eq!((wallet.origin(), before.onchain_sat), (Origin::New, 210_000));
    let id = wallet.node_id();
    wallet.stop().await;

    let restored = start(town.wallet().phrase(phrase)).await;
    assert_eq!((restored.origin(), restored.node_id()), (Origin::FromPhrase, id));
    assert_eq!(restored.balances().onchain_sat, 210_000);
    assert!(restored.channels().is_empty(), "their state is lost");
}
