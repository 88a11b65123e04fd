//! The fuzzer's functions, run on the payloads of the vectors and on damaged copies of them.
#![allow(non_snake_case)]

use lsps_client::jit_receive::State;
use lsps_testing::fuzzing;
use lsps_types::Msat;
use proptest::prelude::*;
use serde_json::Value;

/// Every payload, parameter object, result and body of the vectors, in an envelope where it needs one.
fn corpus() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut payloads = vec![];
    for file in ["lsps0_framing", "lsps1_messages", "lsps2_messages", "lsps5_messages", "lsps5_signatures"] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).expect("the vectors are there");
        let cases: Vec<Value> = serde_json::from_str(&text).expect("a JSON array");
        let spec = file.split('_').next().expect("a name");
        for input in cases.iter().map(|case| &case["input"]) {
            let kind = input["kind"].as_str().unwrap_or_default();
            let method = kind.strip_suffix("_request").map(|method| format!("{spec}.{method}"));
            payloads.extend(["payload_text", "body"].iter().filter_map(|name| Some(input[name].as_str()?.to_string())));
            let params = input["params_text"].as_str().map_or_else(|| input["params"].to_string(), String::from);
            payloads.extend(
                method.map(|method| format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}","params":{params}}}"#)),
            );
            let result = input["result_text"].as_str().map_or_else(|| input["result"].to_string(), String::from);
            payloads.push(format!(r#"{{"jsonrpc":"2.0","id":"a","result":{result}}}"#));
        }
    }
    payloads.into_iter().map(String::into_bytes).collect()
}

#[test]
fn the_vectors_are_a_corpus() {
    let corpus = corpus();
    assert!(corpus.len() > 500);
    corpus.iter().for_each(|payload| fuzzing::decode(payload));
    // This writes the corpus that a fuzzer starts from: `LSPS_CORPUS=fuzz/corpus/decode cargo test -p lsps-testing
    // --test fuzzing`.
    if let Some(folder) = std::env::var_os("LSPS_CORPUS") {
        std::fs::create_dir_all(&folder).expect("a folder");
        for (n, payload) in corpus.iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(format!("vector-{n}")), payload).expect("a file");
        }
    }
}

/// A fuzzer's script can get as far as a payment: connect, ask, hear, buy, hear, register, open, fund, be paid.
#[test]
fn a_script_of_a_wallet_gets_to_a_payment() {
    let asks = [0, 2, 5, 6, 3, 5, 6, 4, 1];
    let opens = [10, 2, 0, 11, 2, 13, 1 | 2 << 3, 0];
    let purchases = fuzzing::client_script(&[&asks[..], &opens].concat());
    let [purchase] = &purchases[..] else { panic!("{purchases:?}") };
    assert!(matches!(purchase.state(), State::Paid { skimmed: Msat(1_000_000), .. }), "{purchase:?}");
}

proptest! {
    #[test]
    fn any_script_of_a_wallet_replays_and_is_on_record(script in prop::collection::vec(any::<u8>(), 0..300)) {
        let _any = fuzzing::client_script(&script);
    }

    #[test]
    fn any_script_of_a_wallet_that_buys_replays_and_is_on_record(script in prop::collection::vec(any::<u8>(), 0..300)) {
        let _any = fuzzing::client_script(&[&[0, 2, 5, 6, 3, 5, 6, 4, 1, 10, 2, 0][..], &script].concat());
    }

    #[test]
    fn case_H05_damaged_vectors_are_read_or_refused(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), put in prop::collection::vec(any::<u8>(), 0..4),
        lost in 0..4usize,
    ) {
        let corpus = corpus_once();
        let mut payload = corpus[which.index(corpus.len())].clone();
        let at = at.index(payload.len() + 1);
        let end = payload.len().min(at + lost);
        payload.splice(at..end, put);
        fuzzing::decode(&payload);
    }

    #[test]
    fn any_numbers_make_a_fee_or_none(words in prop::collection::vec(any::<u64>(), 0..9)) {
        fuzzing::fee(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>());
    }
}

fn corpus_once() -> &'static [Vec<u8>] {
    static CORPUS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    CORPUS.get_or_init(corpus)
}
