//! Records of orders that an older version wrote.

use lsps_service::{OrderStage, Record};
use lsps_testing::{Act, Lsp, NOON, peer};

use super::{HEIGHT, selling};

/// One line for each state that a version wrote: a name, the record's name, its bytes in hex.
const V1: &str = include_str!("../../../records/orders-v1.tsv");
const V2: &str = include_str!("../../../records/orders-v2.tsv");

#[test]
fn case_H04_every_state_of_an_order_that_an_older_version_wrote_is_read_and_goes_on() {
    assert_eq!((V1.lines().count(), V2.lines().count()), (6, 6));
    let all = V1.lines().map(|line| (1, line)).chain(V2.lines().map(|line| (2, line)));
    for (version, line) in all {
        let [state, name, hex] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        assert_eq!(bytes[0], version, "{state}");
        let mut lsp = Lsp::at(NOON, selling());
        lsp.block(HEIGHT);
        lsp.connects(peer(1));
        lsp.finds(Record { name: name.into(), bytes });
        let (acts, known) = (lsp.acts(), lsp.service().known_orders().next().expect("it is read"));
        let is = |wanted: fn(&Act) -> bool| acts.iter().filter(|act| wanted(act)).count();
        let (opens, claims) = (is(|act| matches!(act, Act::Open { .. })), is(|act| matches!(act, Act::Claim(_))));
        let (broadcasts, refunds) =
            (is(|act| matches!(act, Act::Broadcast(_))), is(|act| matches!(act, Act::Refund { .. })));
        let wanted = match state {
            "opening" => (1, 0, 0, 0),
            "claiming" => (0, 1, 1, 0),
            "completed" => (0, 0, 1, 0),
            "open" | "funded" | "refunded" => (0, 0, 0, 0),
            other => panic!("{other}"),
        };
        assert_eq!((opens, claims, broadcasts, refunds), wanted, "{state}: {acts:?}");
        let (is_open, is_failed) = (known.stage == OrderStage::Open, matches!(known.stage, OrderStage::Failed { .. }));
        assert_eq!(is_open, ["open", "opening", "funded"].contains(&state), "{state}");
        assert_eq!(is_failed, state == "refunded", "{state}");
        assert_eq!(lsp.service().unconfirmed_refunds().count(), usize::from(is_failed), "{state}");
    }
}
