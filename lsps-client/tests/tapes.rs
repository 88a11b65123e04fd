//! The inputs and outputs of a client, kept on a tape, replay to the same state. Apart from these stories, all clients
//! of the other tests are taped and replayed, too (`common::Kept`).

mod common;

use common::{BOUGHT, DAY, FEE, Kept, LSP, NOON, SIZE, answer, buy, hash, open_request, prepared, state};
use lsps_client::{ChannelKey, Client, Config, Divergence, Input, Outcome, Turn, replay};
use lsps_types::Msat;
use lsps_types::lsps2::Buy;

/// A wallet that buys a channel, is paid through it, and runs for another month.
fn life() -> (Client, Kept) {
    let tape = Kept::new(Config::default());
    let copy = tape.copy();
    let mut client = Client::new(Config::default(), [7; 32]);
    client.record_on(Box::new(tape));
    let told = |client: &mut Client, input: &Input| assert_eq!(client.handle(input, NOON), Outcome::Taken);

    told(&mut client, &Input::PeerConnected { peer: LSP });
    let ticket = client.call(LSP, &buy(Some(SIZE)), NOON).expect("it is connected");
    let sent = client.drain().written().messages;
    let message = Input::Message { peer: LSP, payload: answer::<Buy>(&sent[0].1, &BOUGHT) };
    assert!(matches!(client.handle(&message, NOON), Outcome::Heard(_)));
    assert!(client.take(&ticket).expect("it was answered").is_ok());
    told(&mut client, &Input::RegisterPurchase { prepared: prepared(LSP, &buy(Some(SIZE))), payment_hash: hash(1) });
    let _ = client.drain();
    told(&mut client, &Input::ChannelRequested(open_request(1)));
    told(&mut client, &Input::ChannelFunded { key: ChannelKey(1), funding: None });
    let (received, over) = (Msat(SIZE.0 - FEE.0), vec![ChannelKey(1)]);
    told(&mut client, &Input::PaymentClaimed { payment_hash: hash(1), received, skimmed: FEE, over });
    let _ = client.drain();
    for day in 1..30 {
        assert_eq!(client.handle(&Input::Tick, NOON + DAY * day), Outcome::Taken);
        let _ = client.drain();
    }
    (client, copy)
}

#[test]
fn a_tape_brings_a_client_to_where_it_is_without_what_its_request_ids_are_made_of() {
    let (client, tape) = life();
    assert_eq!(state(&tape.replays()), state(&client));
    assert!(tape.turns().iter().any(|turn| matches!(turn, Turn::Drew(_))));
}

#[test]
fn a_replay_says_where_it_differs() {
    let (_, tape) = life();
    let mut turns = tape.turns();
    let claimed = |turn: &&mut Turn| matches!(turn, Turn::Input(_, Input::PaymentClaimed { .. }));
    let Some(Turn::Input(_, Input::PaymentClaimed { skimmed, .. })) = turns.iter_mut().find(claimed) else {
        panic!("it was paid")
    };
    *skimmed = Msat(0);
    let play = |turns: &[Turn], config| replay(turns, |ids| Client::new(config, ids)).map(drop);
    let Err(Divergence { turn, taped, now }) = play(&turns, Config::default()) else { panic!("it kept nothing") };
    assert!(matches!(turns[turn], Turn::Gave { .. }) && *taped == turns[turn] && taped != now);

    // With this configuration the client has no room for the purchase.
    let none = Config { purchases: 0, ..Config::default() };
    assert!(play(&tape.turns(), none).is_err());
}
