//! Stories of payments that are held: the wallet waits until their channel is confirmed.

mod common;

use common::{BOUGHT, FEE, HOUR, LSP, NOON, PARAMS, SIZE, buy, client, effects, hash, open_request};
use lsps_client::jit_receive::{
    Handled, Holding, InvoiceParams, Received, RefuseChannel, Rules, State, Verdict, prepare,
};
use lsps_client::{ChannelKey, Client, Config, Effect};
use lsps_types::{Msat, Preimage};

const RECEIVED: Msat = Msat(990_000);
const PREIMAGE: Preimage = Preimage([9; 32]);
const ALLOW: Effect = Effect::AllowUnderpaying { lsp: LSP };
const CLAIM: Effect =
    Effect::ClaimAfter { purchase: common::hash(1), lsp: LSP, preimage: Some(PREIMAGE), confirmations: 3 };

/// A wallet that waits for confirmations, with a payment that it holds over a funded channel.
fn holding() -> Client {
    let mut client = client();
    let params = InvoiceParams { confirmations_to_wait: 3, ..PARAMS };
    let prepared = prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &params, &Rules::default(), NOON).unwrap();
    client.register(&prepared, hash(1), NOON).unwrap();
    client.open_requested(&open_request(1), NOON).unwrap();
    assert_eq!(client.channel_pending(ChannelKey(1), NOON), Handled::Taken);
    effects(&mut client);
    let received = Received::Totals { received: RECEIVED, skimmed: FEE };
    assert_eq!(client.judge(hash(1), &received), Verdict::Claim);
    assert_eq!(client.held(hash(1), (RECEIVED, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON), Handled::Taken);
    client
}

/// L2-005
#[test]
fn a_patient_wallet_claims_after_the_confirmations_it_asked_for() {
    let mut client = holding();
    assert_eq!(effects(&mut client), [CLAIM], "the setting for the channel stays as it is");
    assert_eq!(client.held(hash(1), (RECEIVED, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON), Handled::Taken);
    assert_eq!(effects(&mut client), [], "the node repeats itself");
    assert_eq!(client.open_requested(&open_request(2), NOON), Err(RefuseChannel::NothingBought));
    client.tick(NOON + HOUR * 3);
    assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Holding(_)), "what is here does not expire");

    assert_eq!(client.claimed(hash(1), RECEIVED, FEE, &[ChannelKey(1)], NOON), Handled::Taken);
    assert_eq!(effects(&mut client), [Effect::ForbidUnderpaying { lsp: LSP }]);
    assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Paid { .. }));
}

#[test]
fn a_wallet_that_restarts_while_it_waits_is_asked_to_claim_again() {
    let mut before = holding();
    let batch = before.drain();
    let (name, bytes) = batch.records().map(|(id, bytes)| (id.to_string(), bytes.unwrap().to_vec())).next().unwrap();
    let mut after = common::taped(Config::default(), [8; 32]);
    after.load(&name, &bytes).unwrap();
    assert_eq!(effects(&mut after), [ALLOW, CLAIM]);
    let State::Holding(Holding { received, skimmed, channel: Some(channel), .. }) =
        *after.purchase(hash(1)).unwrap().state()
    else {
        panic!("it waits")
    };
    assert_eq!((received, skimmed, channel.key, channel.pending), (RECEIVED, FEE, ChannelKey(1), true));
    assert!(!format!("{:?}", after.purchase(hash(1))).contains("9, 9"), "the preimage is in no log");
}

#[test]
fn a_payment_whose_blocks_run_out_goes_back_and_may_come_again() {
    let mut client = holding();
    effects(&mut client);
    assert_eq!(client.gave_up(hash(1), NOON), Handled::Taken);
    assert!(matches!(client.purchase(hash(1)).unwrap().state(), State::Channel(_)), "its channel is still there");
    assert_eq!(client.gave_up(hash(1), NOON), Handled::NotMine, "told twice");
    assert_eq!(client.held(hash(1), (RECEIVED, FEE), Some(PREIMAGE), &[ChannelKey(1)], NOON), Handled::Taken);
    assert_eq!(effects(&mut client), [CLAIM]);
}

#[test]
fn a_payment_whose_channel_closes_is_gone_with_it() {
    let mut client = holding();
    effects(&mut client);
    assert_eq!(client.channel_ended(ChannelKey(1), NOON), Handled::Taken);
    assert_eq!(client.gave_up(hash(1), NOON), Handled::Taken);
    assert_eq!(client.purchase(hash(1)).unwrap().state(), &State::Waiting);
    assert_eq!(client.open_requested(&open_request(2), NOON), Ok(()), "another channel may come");
}

/// Whether HTLCs went with the channel is the node's to say: they may have come over another one.
#[test]
fn a_payment_that_is_held_stays_on_record_when_a_channel_closes() {
    let mut client = holding();
    effects(&mut client);
    assert_eq!(client.channel_ended(ChannelKey(1), NOON), Handled::Taken);
    let State::Holding(Holding { preimage, channel, .. }) = client.purchase(hash(1)).unwrap().state() else {
        panic!("it waits")
    };
    assert_eq!((*preimage, *channel), (Some(PREIMAGE), None));
    assert_eq!(effects(&mut client), [], "the host looks at it as before");
    assert_eq!(client.claimed(hash(1), RECEIVED, FEE, &[ChannelKey(2)], NOON), Handled::Taken);
}

/// A second payment of a paid purchase takes no channel from another purchase.
#[test]
fn a_paid_purchase_holds_nothing_and_leaves_others_their_channels() {
    let mut client = holding();
    assert_eq!(client.claimed(hash(1), RECEIVED, FEE, &[ChannelKey(1)], NOON), Handled::Taken);
    let prepared = prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &PARAMS, &Rules::default(), NOON).unwrap();
    client.register(&prepared, hash(2), NOON).unwrap();
    client.open_requested(&open_request(2), NOON).unwrap();
    let again = client.held(hash(1), (RECEIVED, Msat::ZERO), Some(PREIMAGE), &[ChannelKey(2)], NOON);
    assert_eq!(again, Handled::NotMine);
    assert_eq!(client.purchase(hash(2)).unwrap().channel().map(|channel| channel.key), Some(ChannelKey(2)));
}
