//! A wallet's first payment.

use crate::harness::{Lsp, Wallet, free_port, until};

#[test]
fn a_wallet_is_paid_by_another_process_through_a_third_and_all_three_are_killed_in_between() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = |name: &str| directory.path().join(name);
    let ports = [free_port(), free_port()];
    let mut lsp = Lsp::start(&data("lsp"), ports);
    let mut payer = Wallet::new(data("payer"), &lsp, &[]);
    let mut wallet = Wallet::new(data("wallet"), &lsp, &[]);
    payer.opens(&mut lsp, 1_000_000);
    let receiving = wallet.does(&["receive", "60000", "--no-wait", "--description", "coffee"]);
    let invoice = receiving["invoice"].as_str().expect("an invoice").to_owned();
    assert!(receiving["fee_msat"].as_u64() > Some(0), "{receiving}");
    let refused = wallet.fails(&["lsps", "remove", lsp.node_id()]);
    assert!(refused.contains("invoice(s) can still be paid through"), "{refused}");

    lsp.kill();
    payer.kill();
    wallet.kill();
    let lsp = Lsp::start(&data("lsp"), ports);
    payer.runs();
    wallet.runs();

    let paid = payer.does(&["pay", &invoice]);
    assert_eq!(paid["status"], "succeeded", "{paid}");
    until(|| wallet.does(&["history"])[0]["status"] == "succeeded");
    let (history, channels) = (wallet.does(&["history"]), wallet.does(&["channels"]));
    assert_eq!((history[0]["description"].as_str(), channels.as_array().map(Vec::len)), (Some("coffee"), Some(1)));
    let (net, fee) = (history[0]["amount_msat"].as_u64(), history[0]["fee_msat"].as_u64());
    assert_eq!(net.zip(fee).map(|(net, fee)| net + fee), Some(60_000_000));
    assert_eq!(channels[0]["peer"].as_str(), Some(lsp.node_id()));

    // Without the daemon, a command runs a node of its own, with the same data.
    wallet.does(&["stop"]);
    wallet.ends();
    assert_eq!(wallet.does(&["history"]), history);
    let again = payer.fails(&["pay", &invoice]);
    assert!(again.contains("paid before"), "{again}");
}

#[test]
fn the_words_of_a_wallet_restore_its_coins_from_another_process_s_chain_and_its_network_is_checked() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = |name: &str| directory.path().join(name);
    let mut lsp = Lsp::start(&data("lsp"), [free_port(), free_port()]);
    let mut wallet = Wallet::new(data("wallet"), &lsp, &[]);
    let address = wallet.does(&["address"])["address"].as_str().expect("an address").to_owned();
    lsp.does(&format!("give {address} 70000"));
    let balance = |wallet: &Wallet| wallet.does(&["balance"])["onchain_sat"].as_u64();
    until(|| balance(&wallet) == Some(70_000));
    let words = wallet.does(&["backup-phrase"])["words"].as_str().expect("words").to_owned();
    let id = wallet.does(&["info"])["node_id"].clone();
    wallet.kill();

    lsp.does("mine 3");
    let restored = Wallet::restored(data("restored"), &lsp, &words);
    assert_eq!((balance(&restored), restored.does(&["info"])["node_id"].clone()), (Some(70_000), id));
    let refused = Wallet::none(data("signet")).fails(&["init", "--network", "signet", "--chain", &lsp.chain]);
    assert!(refused.contains("it is of another network"), "{refused}");
}
