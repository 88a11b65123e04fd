//! Tapes of a wallet, serialized as text, replay to the same records, messages and effects.

use lsps_client::{Turn, replay};
use lsps_testing::wallet_world::{Step, WalletWorld};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_a_wallet_replays_from_its_tape(kind in 0..8u64, steps in vec(any::<[u8; 4]>(), 0..100)) {
        let steps: Vec<Step> = steps.into_iter().map(Step::from_bytes).collect();
        let world = WalletWorld::new(kind).taped().play(&steps).comes_to_rest();
        for tape in world.tapes() {
            let text = serde_json::to_string(&tape).expect("plain data");
            let read: Vec<Turn> = serde_json::from_str(&text).expect("what was written");
            prop_assert_eq!(&read, &tape);
            replay(&read, WalletWorld::client_like).expect("as it was");
        }
    }
}
