//! ldk-node as a wallet of our LSP, and as an LSP of our wallet. `docs/interop.md` lists the outcomes.

mod peer;
mod provider;
mod wallet;

use std::time::Duration;

use lsps_node::node::Node;
use lsps_node::node::logger::FailureCode;
use lsps_node::node::within;
use lsps_transport_ldk::Msat;

use lsps_testing::table::Table;

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

const TEMPORARY_NODE_FAILURE: FailureCode = FailureCode(0x2002);
const UNKNOWN_PAYMENT: FailureCode = FailureCode(0x400f);

/// Rows of `docs/interop.md` about ldk-node.
static LDK_NODE: Table = Table::new(
    "ldk_node",
    "ldk-node 0.7.1",
    &[
        (OUR_LSP, "fixed amount"),
        (OUR_LSP, "fixed amount in four parts"),
        (OUR_LSP, "amount left to the payer"),
        (OUR_LSP, "client trusts LSP"),
        (OUR_LSP, "unknown token"),
        (OUR_LSP, "wallet restarts before the payment"),
        (OUR_LSP, "wallet away when the payment comes, and back"),
        (
            OUR_LSP,
            "our LSP offers anchors, the wallet has no coins and trusts it with the closing (`trusted_peers_no_reserve`)",
        ),
        (
            OUR_LSP,
            "our LSP offers anchors, the wallet has no coins and its settings are the default: it refuses, and is asked for a channel without them",
        ),
        (OUR_WALLET, "fixed amount"),
        (OUR_WALLET, "fixed amount in four parts"),
        (OUR_WALLET, "amount left to the payer"),
        (OUR_WALLET, "client trusts LSP"),
        (OUR_WALLET, "client is to trust LSP, and does not"),
        (OUR_WALLET, "client trusts LSP, four parts"),
        (OUR_WALLET, "token wanted and not given"),
        (OUR_WALLET, "token wanted and given"),
        (OUR_WALLET, "LSP restarts before the payment"),
        (OUR_WALLET, "wallet away when the payment comes, and back"),
    ],
);
const OUR_LSP: &str = "its wallet, our LSP";
const OUR_WALLET: &str = "our wallet, its LSP";

/// Whether the condition becomes true within two seconds; used where it must not.
async fn soon(is_true: impl Fn() -> bool) -> bool {
    tokio::time::timeout(Duration::from_secs(2), within(is_true)).await.unwrap_or_default()
}

/// Failure codes of the payer's payments so far.
fn codes_at(payer: &Node) -> Vec<FailureCode> {
    payer.logger().failure_codes()
}
