//! The same stories over every chain source: the chain in the process, servers that speak the protocols over that chain, and
//! a real `bitcoind` that follows it, where the environment variable `BITCOIND` names one (`.ci/bitcoind` builds it).

mod backend;
mod cable;
mod daemon;
mod stories;

use backend::Kind;

macro_rules! over {
    ($($module:ident: $kind:expr;)*) => {$(
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_wallet_is_paid_by_a_jit_channel_in_both_trust_models() {
                stories::jit($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_order_is_paid_on_the_chain() {
                stories::order($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_jit_channel_outlives_a_reorganisation_of_three_blocks() {
                stories::reorganisation($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_wallet_that_was_away_for_300_blocks_catches_up() {
                stories::absence($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn nodes_go_on_without_their_source_and_catch_up_when_it_is_back() {
                stories::gone($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_source_of_another_network_is_refused() {
                stories::wrong_network($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_channel_with_anchors_that_is_closed_by_force_ends_in_both_wallets() {
                stories::force_close($kind).await;
            }
        }
    )*};
}

over! {
    embedded: Kind::Embedded;
    bitcoind_rpc: Kind::Rpc;
    bitcoind: Kind::Bitcoind;
    esplora: Kind::Esplora;
    electrum: Kind::Electrum;
}
