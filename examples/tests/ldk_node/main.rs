//! ldk-node, as a wallet of our LSP and as an LSP of our wallet. `docs/interop-ldk-node.md` lists what came of it.

mod peer;
mod provider;
mod table;
mod wallet;

use std::time::Duration;

use lsps_examples::Node;
use lsps_examples::node::logger::FailureCode;
use lsps_examples::node::within;
use lsps_transport_ldk::Msat;

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

const TEMPORARY_NODE_FAILURE: FailureCode = FailureCode(0x2002);
const UNKNOWN_PAYMENT: FailureCode = FailureCode(0x400f);

/// Whether it comes true within two seconds, where it must not.
async fn soon(is_true: impl Fn() -> bool) -> bool {
    tokio::time::timeout(Duration::from_secs(2), within(is_true)).await.unwrap_or_default()
}

/// The codes with which the payer's payments failed so far.
fn codes_at(payer: &Node) -> Vec<FailureCode> {
    payer.logger().failure_codes()
}
