//! A wallet that is killed while it is paid.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Lsp, Wallet, free_port, until};

#[test]
fn a_wallet_that_is_killed_while_it_is_paid_loses_neither_channel_nor_payment_in_sqlite() {
    sweep(&[]);
}

#[test]
fn a_wallet_that_is_killed_while_it_is_paid_loses_neither_channel_nor_payment_in_files() {
    sweep(&["--files"]);
}

fn sweep(storage: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let data = |name: &str| directory.path().join(name);
    let mut lsp = Lsp::start(&data("lsp"), [free_port(), free_port()]);
    let payer = Wallet::new(data("payer"), &lsp, &[]);
    let mut wallet = Wallet::new(data("wallet"), &lsp, storage);
    payer.opens(&mut lsp, 4_000_000);
    let mut channels = 0;
    for round in 0..kills() {
        let receiving = wallet.does(&["receive", "30000", "--no-wait"]);
        let invoice = receiving["invoice"].as_str().expect("an invoice");
        let mut paying = payer.begins(&["pay", invoice]);
        // Each round a little later: from the first message of the open to the claim.
        std::thread::sleep(Duration::from_millis(60 * round));
        wallet.kill();
        wallet.runs();
        let status = paying.wait().expect("it ends");
        let hash = payer.does(&["history"])[0]["id"].clone();
        let of = |history: &Value| {
            history.as_array().expect("a list").iter().find(|payment| payment["id"] == hash).expect("its payment")["status"].clone()
        };
        let sent = of(&payer.does(&["history"]));
        assert_eq!(status.success(), sent == "succeeded", "round {round}");
        if status.success() {
            until(|| of(&wallet.does(&["history"])) == "succeeded");
        } else {
            assert_eq!(
                of(&wallet.does(&["history"])),
                "pending",
                "round {round}: what the payer kept was not received"
            );
        }
        let now = wallet.does(&["channels"]).as_array().expect("a list").len();
        assert!(now >= channels, "round {round}: a channel is gone");
        channels = now;
    }
    let history = wallet.does(&["history"]);
    let received = history.as_array().expect("a list").iter().filter(|payment| payment["status"] == "succeeded");
    let received: u64 = received.filter_map(|payment| payment["amount_msat"].as_u64()).sum();
    let shown = wallet.does(&["balance"])["lightning_sat"].as_u64().expect("a number");
    let count = u64::try_from(channels).expect("few");
    assert!((received / 1_000 - count..=received / 1_000).contains(&shown), "{shown} sat, received {received} msat");
}

/// Number of kills: `LSPS_KILLS`, or a few.
fn kills() -> u64 {
    std::env::var("LSPS_KILLS").map_or(3, |kills| kills.parse().expect("LSPS_KILLS is a number"))
}
