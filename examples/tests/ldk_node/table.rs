//! `docs/interop-ldk-node.md`: each flow, how it went, and the test that shows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use Outcome::{Cannot, Round, Works};

/// One line of the table.
struct Row {
    /// `wallet::` where ldk-node buys, `provider::` where it sells.
    test: &'static str,
    flow: &'static str,
    outcome: Outcome,
}

/// How it went.
enum Outcome {
    Works,
    /// It departs from the specification, and it works all the same.
    Round(&'static str),
    /// It does not work; nobody loses what they had.
    Cannot(&'static str),
}

const ROWS: &[Row] = &[
    Row { test: "wallet::a_fixed_amount_arrives_less_the_fee_that_was_agreed", flow: "fixed amount", outcome: Works },
    Row { test: "wallet::four_parts_arrive_over_one_channel", flow: "fixed amount in four parts", outcome: Works },
    Row {
        test: "wallet::an_amount_that_the_payer_chooses_goes_back",
        flow: "amount left to the payer",
        outcome: Cannot(
            "it holds the fee against the agreed share of what is left after the fee, so that any fee is too large; the fee \
             is to be judged on value plus extra fee (L2-137, L2-141). The payer has its money back, the channel stays",
        ),
    },
    Row {
        test: "wallet::where_the_client_trusts_the_lsp_the_funding_waits_for_the_claim",
        flow: "client trusts LSP",
        outcome: Works,
    },
    Row { test: "wallet::an_unknown_token_is_refused", flow: "unknown token", outcome: Works },
    Row {
        test: "wallet::a_wallet_that_restarts_before_the_payment_is_paid",
        flow: "wallet restarts before the payment",
        outcome: Works,
    },
    Row {
        test: "wallet::a_wallet_that_is_away_when_the_payment_comes_is_paid_when_it_is_back",
        flow: "wallet away when the payment comes, and back",
        outcome: Works,
    },
    Row {
        test: "wallet::one_that_trusts_its_lsp_with_the_closing_has_a_channel_with_anchors",
        flow: "our LSP offers anchors, the wallet has no coins and trusts it with the closing (`trusted_peers_no_reserve`)",
        outcome: Works,
    },
    Row {
        test: "wallet::one_without_coins_to_close_it_with_has_a_channel_without_anchors",
        flow: "our LSP offers anchors, the wallet has no coins and its settings are the default: it refuses, and is asked for a channel without them",
        outcome: Works,
    },
    Row {
        test: "provider::a_fixed_amount_arrives_over_a_channel_without_scid_alias",
        flow: "fixed amount",
        outcome: Round(
            "its channels are of a type without `option_scid_alias` (L2-113); its `valid_until` has nanoseconds (L0-103)",
        ),
    },
    Row { test: "provider::four_parts_arrive_over_one_channel", flow: "fixed amount in four parts", outcome: Works },
    Row {
        test: "provider::an_amount_that_the_payer_chooses_arrives",
        flow: "amount left to the payer",
        outcome: Works,
    },
    Row {
        test: "provider::one_that_asks_to_be_trusted_is_paid_if_we_trust_it",
        flow: "client trusts LSP",
        outcome: Works,
    },
    Row {
        test: "provider::one_that_asks_to_be_trusted_and_is_not_sells_nothing",
        flow: "client is to trust LSP, and does not",
        outcome: Works,
    },
    Row {
        test: "provider::one_that_is_trusted_with_four_parts_keeps_the_funding",
        flow: "client trusts LSP, four parts",
        outcome: Cannot(
            "the wallet is paid and has claimed, and the funding is still not broadcast (L2-124 lets it wait for the preimage \
             only). Our wallet trusts nobody unless told to",
        ),
    },
    Row {
        test: "provider::without_the_token_it_wants_it_refuses_with_the_code_for_that",
        flow: "token wanted and not given",
        outcome: Works,
    },
    Row { test: "provider::with_that_token_it_sells", flow: "token wanted and given", outcome: Works },
    Row {
        test: "provider::an_lsp_that_restarts_before_the_payment_delivers",
        flow: "LSP restarts before the payment",
        outcome: Works,
    },
    Row {
        test: "provider::a_payment_that_comes_while_the_wallet_is_away_hangs",
        flow: "wallet away when the payment comes, and back",
        outcome: Cannot(
            "it tries to open the channel once, and not when the wallet is back (L2-103). Only LDK's own limit ends the \
             payment, 39 blocks before its HTLC would; the payer has its money back",
        ),
    },
    Row {
        test: "provider::a_wallet_that_insists_on_scid_alias_refuses_the_channel",
        flow: "our wallet insists on `option_scid_alias` (`Config::require_scid_alias`)",
        outcome: Cannot(
            "the channel is refused with a word on why, and it does not fail the payment (L2-117); LDK does, as above",
        ),
    },
];

#[test]
fn the_table_is_of_today() {
    let named: BTreeSet<String> = ROWS.iter().map(|row| row.test.to_string()).collect();
    assert_eq!(named, tests(), "each flow has its row, and each row its test");
    let (path, text) = (root().join("docs/interop-ldk-node.md"), document());
    if std::env::var_os("LSPS_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the document can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/interop-ldk-node.md is stale: LSPS_BLESS=1 writes it");
}

fn document() -> String {
    let mut text = format!("{HEAD}\nldk-node {}.\n", version());
    for (role, title) in [("wallet", "ldk-node buys from our LSP"), ("provider", "Our wallet buys from ldk-node")] {
        write!(text, "\n## {title}\n\n| Flow | Outcome | Shown by |\n|---|---|---|\n").expect("a string");
        for row in ROWS.iter().filter(|row| row.test.starts_with(role)) {
            let outcome = match row.outcome {
                Works => "works".into(),
                Round(what) => format!("works round a departure: {what}"),
                Cannot(why) => format!("cannot: {why}"),
            };
            writeln!(text, "| {} | {outcome} | `{}` |", row.flow, row.test).expect("a string");
        }
    }
    text
}

/// The tests of the two modules, by their full names.
fn tests() -> BTreeSet<String> {
    let named = |module: &str, text: &str| {
        let marked = text.split("#[tokio::test").skip(1).filter_map(|rest| rest.split("async fn ").nth(1));
        let names = marked.filter_map(|rest| rest.split('(').next());
        names.map(|name| format!("{module}::{name}")).collect::<Vec<_>>()
    };
    let all = [named("wallet", include_str!("wallet.rs")), named("provider", include_str!("provider.rs"))];
    all.into_iter().flatten().collect()
}

/// The version that is tested, as the lock file has it.
fn version() -> String {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("it is committed");
    let after = lock.split("name = \"ldk-node\"\nversion = \"").nth(1).expect("it is a dependency");
    after.split('"').next().expect("a version is quoted").into()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

const HEAD: &str = "# ldk-node

How an ldk-node gets along with us, whole nodes on the embedded chain on both sides. The clauses are those of
[CONFORMANCE.md](../CONFORMANCE.md). Written by `LSPS_BLESS=1 cargo test -p lsps-examples --test ldk_node table`; a test fails
when it is stale, or when a flow has no row.
";
