//! Situations that need a node with a memory of its own.

use lsps_service::Trust;
use lsps_testing::world::{Call, Changed, Step, World};

const WHOLE: Step = Step::Pay { offer: 0, hash: 0, tenths: 10, expires_soon: false };
const CLAIM: Step = Step::Claim { payment: 0, rounded: false };

/// Clients 0 and 1 are connected, and each has bought.
fn world(trust: Trust) -> World {
    let there = |client| [Step::Connect { client }, Step::Usable { client }, Step::Buy { client, fixed: true }];
    World::new(trust).play(&there(0)).play(&there(1))
}

/// Steps that open a channel completely. Each applies to the first channel that waits for it.
const OPENS: [Step; 6] = [
    Step::Accept { channel: 0, greedy: false },
    Step::Sign { channel: 0 },
    Step::Save,
    Step::Ready { channel: 0 },
    Step::Save,
    Step::Save,
];

#[test]
fn case_J20_two_opens_at_once_share_no_coin() {
    let second = Step::Pay { offer: 1, hash: 0, tenths: 10, expires_soon: false };
    let world = world(Trust::LspTrustsClient).play(&[WHOLE, second]).play(&OPENS).play(&OPENS);
    assert_eq!(world.fundings(), 2, "both are out, and the chain refuses two that spend one coin");
    let _ = world.play(&[CLAIM, CLAIM]).comes_to_rest();
}

#[test]
fn case_J23_a_failure_report_that_names_only_the_client_changes_nothing_else() {
    // Two payments are at the client, which fails one and claims the other.
    let second = Step::Pay { offer: 0, hash: 1, tenths: 3, expires_soon: false };
    let third = Step::Pay { offer: 0, hash: 2, tenths: 4, expires_soon: false };
    let world = world(Trust::LspTrustsClient).play(&[WHOLE]).play(&OPENS).play(&[CLAIM, Step::Save]);
    let mut world = world.play(&[second, third, Step::Save, Step::Fail { payment: 0 }, Step::Save]);
    assert_eq!(world.outcomes()[1..], [Some(false), None], "the other one is still with the client");
    assert_eq!(world.known_sent(), 1, "and known to be");
    let world = world.comes_to_rest();
    assert_eq!(world.outcomes(), [Some(true), Some(false), Some(false)]);
}

#[test]
fn case_J36_a_claim_over_another_channel_of_the_client_is_attributed_all_the_same() {
    // The client buys twice. The node prefers its first channel, as nodes do.
    let again =
        [Step::Buy { client: 0, fixed: true }, Step::Pay { offer: 2, hash: 0, tenths: 10, expires_soon: false }];
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let world = world(trust).play(&[WHOLE]).play(&OPENS).play(&[CLAIM, Step::Save]);
        let world = world.play(&again).play(&OPENS).play(&[CLAIM, Step::Save]);
        let world = world.comes_to_rest();
        assert_eq!((world.outcomes(), world.fees_earned()), (vec![Some(true), Some(true)], 2), "{trust:?}");
    }
}

#[test]
fn case_J32_what_the_node_forgot_is_asked_again_and_what_it_did_is_not() {
    let crash = |saved| [Step::Crash { after: 0, saved }, Step::Buy { client: 1, fixed: false }];
    let back = [Step::Connect { client: 0 }, Step::Usable { client: 0 }, Step::Save];
    for saved in [false, true] {
        // The process dies after the forward: the node may have forgotten the forward, or not.
        let world = world(Trust::LspTrustsClient).play(&[WHOLE]).play(&OPENS[..4]).play(&crash(saved)).play(&back);
        let world = world.play(&[CLAIM, Step::Save]).comes_to_rest();
        assert_eq!((world.outcomes(), world.fees_earned()), (vec![Some(true)], 1), "node saved: {saved}");
    }
}

/// Found by random testing: the forward was decided while the store did not work, and the channel closed before the
/// forward was released.
#[test]
fn a_part_whose_channel_closes_before_it_is_forwarded_goes_back_in_time() {
    let story = [
        Step::Sign { channel: 0 },
        Step::Save,
        Step::Ready { channel: 0 },
        Step::Crash { after: 10, saved: true },
        Step::Pay { offer: 0, hash: 0, tenths: 6, expires_soon: false },
        Step::Pay { offer: 0, hash: 1, tenths: 6, expires_soon: false },
        Step::Pay { offer: 0, hash: 0, tenths: 4, expires_soon: false },
        Step::Pay { offer: 0, hash: 0, tenths: 5, expires_soon: false },
        Step::Pay { offer: 0, hash: 0, tenths: 4, expires_soon: false },
        Step::Pay { offer: 0, hash: 1, tenths: 6, expires_soon: false },
        Step::Crash { after: 2, saved: true },
        Step::Store { works: true },
        Step::Store { works: false },
        Step::Connect { client: 0 },
        Step::Usable { client: 0 },
        Step::Close { channel: 0 },
    ];
    let _ = World::new(Trust::LspTrustsClient).play(&super::OPENING).play(&story).comes_to_rest();
}

/// Found by random testing: the LSP was about to abandon the channel because its own payment had failed, and the store
/// refused to write until the other payment, which the node had sent over the channel, was claimed.
#[test]
fn a_channel_is_not_given_up_while_the_payment_of_another_offer_may_be_on_it() {
    let story = [
        Step::Buy { client: 0, fixed: false },
        Step::Sign { channel: 0 },
        Step::Save,
        Step::Ready { channel: 0 },
        Step::Pay { offer: 1, hash: 1, tenths: 10, expires_soon: false },
        Step::Accept { channel: 0, greedy: false },
        Step::Sign { channel: 0 },
        Step::Save,
        Step::Ready { channel: 1 },
        Step::Store { works: false },
        Step::Fail { payment: 0 },
        Step::Save,
        Step::Claim { payment: 1, rounded: true },
    ];
    let _ = World::new(Trust::ClientTrustsLsp).play(&super::OPENING).play(&story).comes_to_rest();
}

/// Found by random testing: the claim of the first HTLC came after another HTLC with the same onion was refused.
#[test]
fn a_claim_counts_also_where_the_same_onion_came_again_and_was_refused() {
    let pays = |tenths| Step::Pay { offer: 0, hash: 0, tenths, expires_soon: false };
    let story = [
        pays(10),
        Step::Sign { channel: 24 },
        Step::Crash { after: 4, saved: false },
        pays(6),
        Step::Save,
        Step::RefuseForward,
        Step::PayAgain { part: 184, changed: Changed::Nothing },
        Step::Connect { client: 0 },
        pays(3),
        Step::Usable { client: 0 },
        Step::Ready { channel: 60 },
        pays(4),
        Step::Store { works: false },
        Step::Replay,
        Step::Usable { client: 0 },
        Step::Wait { seconds: 3_601 },
        Step::Claim { payment: 88, rounded: false },
        Step::RefuseForward,
        Step::Wait { seconds: 151 },
        Step::Usable { client: 0 },
        Step::PayAgain { part: 69, changed: Changed::Nothing },
    ];
    let _ = World::new(Trust::LspTrustsClient).play(&super::OPENING).play(&story).comes_to_rest();
}

/// Found by random testing: of two equal parts the host took the wrong one for failed, and that one was claimed.
#[test]
fn a_claim_of_one_of_two_equal_parts_leaves_none_under_way() {
    let pays = |hash, tenths| Step::Pay { offer: 0, hash, tenths, expires_soon: false };
    let story = [
        Step::Sign { channel: 0 },
        Step::Save,
        Step::Ready { channel: 0 },
        pays(0, 6),
        pays(0, 5),
        pays(0, 10),
        pays(1, 5),
        pays(2, 10),
        Step::Usable { client: 0 },
        Step::Save,
        pays(0, 10),
        Step::Fail { payment: 0 },
        Step::Wait { seconds: 601 },
        Step::Usable { client: 0 },
        Step::Claim { payment: 0, rounded: false },
    ];
    let _ = World::new(Trust::LspTrustsClient).play(&super::OPENING).play(&story).comes_to_rest();
}

/// Found by random testing: a node that names the part must also name the channel over which the client claimed it.
#[test]
fn a_claim_that_names_its_part_names_the_channel_too() {
    let pays = |offer, hash, tenths| Step::Pay { offer, hash, tenths, expires_soon: false };
    let story = [
        pays(0, 0, 5),
        pays(0, 0, 3),
        pays(0, 0, 5),
        Step::Sign { channel: 0 },
        Step::Buy { client: 0, fixed: true },
        Step::Crash { after: 11, saved: false },
        Step::Save,
        Step::Ready { channel: 0 },
        pays(0, 1, 6),
        Step::Connect { client: 0 },
        Step::Ready { channel: 0 },
        Step::Wait { seconds: 91 },
        pays(1, 0, 10),
        Step::Accept { channel: 0, greedy: false },
        pays(1, 0, 6),
        Step::Sign { channel: 0 },
        Step::Save,
        Step::Usable { client: 0 },
        pays(1, 0, 5),
        Step::Ready { channel: 0 },
        Step::Save,
        Step::Claim { payment: 1, rounded: false },
    ];
    let _ = World::new(Trust::ClientTrustsLsp).play(&super::OPENING).play(&story).comes_to_rest();
}

/// A world whose clients are hostile. Client 0 has bought; its payment is at the client or waits for the channel.
fn hostile(trust: Trust) -> World {
    World::new(trust).hostile().play(&super::OPENING)
}

const PROCEED: Step = Step::Proceed { client: 0 };
const FAIL: Step = Step::Fail { payment: 0 };

#[test]
fn case_X01_an_onion_that_comes_again_with_less_money_is_not_forwarded() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        for changed in [Changed::Nothing, Changed::Less, Changed::LessIn, Changed::More, Changed::Hash, Changed::Scid] {
            let again = Step::PayAgain { part: 0, changed };
            let _ = hostile(trust).play(&[PROCEED, again, Step::Save, CLAIM, Step::Save, again, CLAIM]).comes_to_rest();
        }
    }
}

#[test]
fn case_X04_a_claim_that_looks_like_a_part_earns_nothing() {
    let alike = Step::PayOrdinary { client: 0, amount: 1, same_hash: false };
    let _ = hostile(Trust::LspTrustsClient).play(&[PROCEED, alike, Step::Save, CLAIM, FAIL]).comes_to_rest();
}

/// Found by random testing: the node reported a claim again, and the LSP took it for the claim of a payment of the same
/// amount that had failed.
#[test]
fn case_X04_a_claim_that_is_told_again_is_not_the_claim_of_another_that_failed() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let again = Step::Pay { offer: 0, hash: 3, tenths: 10, expires_soon: false };
        let world = hostile(trust).play(&[PROCEED, FAIL, Step::Save, again, PROCEED]);
        // The node saves the claim as an event to be reported, reports it, and dies before it saves that.
        let world = world.play(&[Step::Mute { on: true }, CLAIM, Step::Save, Step::Mute { on: false }]);
        let world = world.play(&[Step::Crash { after: 0, saved: false }, Step::PayNobody]);
        assert_eq!(world.deaths(), 1);
        let world = world.comes_to_rest();
        let outcomes = vec![Some(false), Some(true), Some(false)];
        assert_eq!((world.outcomes(), world.fees_earned()), (outcomes, 1), "{trust:?}");
    }
}

#[test]
fn case_X18_a_retry_in_other_parts_does_not_go_on_alone() {
    let retry = Step::Retry { payment: 0, told_late: true };
    let _ = hostile(Trust::LspTrustsClient).play(&[PROCEED, Step::RefuseForward, retry]).comes_to_rest();
}

#[test]
fn case_X03_a_claim_that_is_told_long_after_a_start_counts() {
    let half = Step::Pay { offer: 0, hash: 1, tenths: 5, expires_soon: false };
    let dies = [Step::Crash { after: 0, saved: true }, Step::Wait { seconds: 91 }];
    let mute = |on| Step::Mute { on };
    let world = hostile(Trust::ClientTrustsLsp).play(&[half, PROCEED, mute(true), CLAIM, Step::Save]).play(&dies);
    assert_eq!(world.deaths(), 1, "it dies when it lets the half go");
    let world = world.play(&[PROCEED, Step::Wait { seconds: 151 }, mute(false)]).comes_to_rest();
    assert_eq!((world.outcomes()[0], world.fees_earned()), (Some(true), 1));
}

/// Found by random testing: the offer had ended and was forgotten while the part was being reported, and the part was
/// never failed.
#[test]
fn case_X56_a_part_to_an_offer_that_is_over_and_not_yet_forgotten_goes_back() {
    let pays = |tenths| Step::Pay { offer: 0, hash: 1, tenths, expires_soon: false };
    let wait = |seconds| Step::Wait { seconds };
    let away = [wait(151), Step::Disconnect { client: 0 }, Step::Store { works: false }, wait(1_800)];
    let story = [pays(10), pays(4), wait(3_601), wait(1_800)];
    let _ = World::new(Trust::LspTrustsClient).play(&super::OPENING).play(&away).play(&story).comes_to_rest();
}

#[test]
fn case_J32_a_part_like_one_whose_claim_is_told_again_after_a_crash_is_looked_for() {
    let pay = |hash, tenths| Step::Pay { offer: 0, hash, tenths, expires_soon: false };
    for after in 0..8 {
        // The client claims a payment while another part like one of its parts was just sent. Then the node forgets
        // both, and names the part when it reports the claim again, as there is another payment of that amount by then.
        let world = world(Trust::LspTrustsClient).play(&[WHOLE]).play(&OPENS).play(&[CLAIM, Step::Save]);
        let world = world.play(&[pay(1, 10), pay(1, 5), Step::Save, pay(1, 5), CLAIM]);
        let _ = world.play(&[Step::Crash { after, saved: false }, pay(2, 3), pay(2, 5)]).comes_to_rest();
    }
}

#[test]
fn case_J32_a_claim_on_the_chain_counts_for_a_part_whose_onion_comes_again_before_it_is_told() {
    let pay = |hash, tenths| Step::Pay { offer: 0, hash, tenths, expires_soon: false };
    let again = |part| Step::PayAgain { part, changed: Changed::Nothing };
    let claim = Step::Claim { payment: 0, rounded: true };
    let world = world(Trust::LspTrustsClient).play(&[WHOLE]).play(&OPENS[..2]).play(&[pay(0, 3)]).play(&OPENS[2..4]);
    // Both parts are claimed in whole satoshis, and the payer has the preimage. The payer sends both onions again, and
    // the LSP dies with nothing of this on record.
    let world = world.play(&[Step::Store { works: false }, Step::Save, claim, Step::Save, again(1), again(0)]);
    let world = world.play(&[Step::Crash { after: 1, saved: true }, Step::Store { works: true }]).comes_to_rest();
    assert_eq!((world.deaths(), world.fees_earned()), (1, 2));
}

#[test]
fn case_J36_of_two_offers_that_are_alike_a_claim_may_count_for_either() {
    let pay = |offer, tenths| Step::Pay { offer, hash: 1, tenths, expires_soon: false };
    let there = [Step::Connect { client: 0 }, Step::Usable { client: 0 }, Step::Buy { client: 0, fixed: true }, WHOLE];
    let another = [Step::Buy { client: 0, fixed: false }, pay(1, 10), pay(0, 1)];
    let world =
        World::new(Trust::ClientTrustsLsp).hostile().roomy().play(&there).play(&another).play(&[PROCEED, PROCEED]);
    // The single part is forwarded over the channel of an offer that is paid for, as far as the LSP can know.
    let world = world.play(&[Step::Claim { payment: 1, rounded: false }]).comes_to_rest();
    assert_eq!(world.outcomes(), [Some(false), Some(true), Some(false)]);
}

/// The record of the first sale cannot be read when the host starts.
const HIDDEN: [Step; 2] = [Step::Hide { sale: 0 }, Step::Restart];
/// The record is readable again.
const SHOWN: [Step; 1] = [Step::Show];

#[test]
fn case_X65_a_claim_of_a_record_that_cannot_be_read_is_told_again_until_it_can() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let world = world(trust).play(&[WHOLE]).play(&OPENS).play(&HIDDEN);
        // The payment is claimed while its record is missing. The node has long forgotten the claim when the record is
        // back.
        let world = world.play(&[CLAIM, Step::Save, Step::Wait { seconds: 10 }, Step::Save]);
        let world = world.play(&SHOWN).comes_to_rest();
        assert_eq!((world.outcomes(), world.fees_earned()), (vec![Some(true)], 1), "{trust:?}");
    }
}

#[test]
fn case_X65_a_payment_to_an_offer_whose_record_cannot_be_read_waits_for_it() {
    let world = world(Trust::LspTrustsClient).play(&HIDDEN).play(&[WHOLE, Step::Save]);
    assert_eq!(world.outcomes(), [None], "it is not sent back");
    let world = world.play(&SHOWN).play(&OPENS).play(&[CLAIM]).comes_to_rest();
    assert_eq!((world.outcomes(), world.fees_earned()), (vec![Some(true)], 1));
}

#[test]
fn case_X65_no_coin_is_spent_twice_while_a_record_cannot_be_read() {
    let there = |client| [Step::Connect { client }, Step::Usable { client }];
    let second = Step::Pay { offer: 1, hash: 0, tenths: 10, expires_soon: false };
    // The first channel waits for its claim, and the process dies.
    let dies = [Step::Hide { sale: 0 }, Step::Crash { after: 0, saved: true }, Step::PayNobody];
    let world = world(Trust::ClientTrustsLsp).play(&[WHOLE]).play(&OPENS).play(&dies);
    assert_eq!(world.deaths(), 1);
    let world = world.play(&there(1)).play(&[second]).play(&OPENS).play(&SHOWN).play(&there(0)).play(&OPENS);
    let world = world.play(&[CLAIM, CLAIM, Step::Save]);
    assert_eq!(world.fundings(), 2, "both are out, and the chain refuses two that spend one coin");
    let _ = world.comes_to_rest();
}

#[test]
fn a_host_that_is_started_again_alone_serves_those_who_are_there() {
    for at in 0..=OPENS.len() {
        let (before, after) = OPENS.split_at(at);
        let world = world(Trust::ClientTrustsLsp).play(&[WHOLE]).play(before).play(&[Step::Restart]).play(after);
        let world = world.play(&OPENS).play(&[CLAIM, Step::Save, Step::Restart]).comes_to_rest();
        assert_eq!((world.outcomes(), world.fees_earned()), (vec![Some(true)], 1), "at {at}");
    }
}

#[test]
fn a_part_whose_channel_vanishes_while_it_is_sent_is_looked_for() {
    for events in [&[Step::Save][..], &[Step::Replay, Step::Save]] {
        let part = Step::Pay { offer: 0, hash: 1, tenths: 10, expires_soon: false };
        let world = world(Trust::LspTrustsClient).play(&[WHOLE]).play(&OPENS).play(&[CLAIM, Step::Save]);
        // The part was sent, but not saved yet. The node reports its failure with an SCID that only the channel had.
        let world = world.play(&[part, Step::Close { channel: 0 }]).play(events);
        let mut world = world.play(&[Step::Wait { seconds: 10 }]);
        assert_eq!((world.outcomes(), world.known_sent()), (vec![Some(true), Some(false)], 0));
        let _ = world.comes_to_rest();
    }
}

#[test]
fn an_htlc_that_the_node_refuses_to_fail_is_told_again() {
    let refuse = Step::Refuse { call: Call::FailThrice };
    let world = world(Trust::LspTrustsClient);
    // The process dies at the fourth call to fail the HTLC.
    let world = world.play(&[refuse, Step::Crash { after: 3, saved: true }, Step::PayNobody, Step::Save]);
    assert_eq!(world.deaths(), 1);
    assert_eq!(world.outcomes(), [Some(false)], "it goes back, though nothing of it is on record");
}

#[test]
fn a_funding_without_its_output_keeps_no_coin() {
    let world = world(Trust::LspTrustsClient).play(&[WHOLE, Step::Refuse { call: Call::Build }]);
    let world = world.play(&OPENS).comes_to_rest();
    assert_eq!((world.outcomes(), world.fundings()), (vec![Some(false)], 0));
}

/// Found by random testing: a record that was read late belonged to an offer that had ended, and the end was not
/// written.
#[test]
fn case_X65_an_offer_that_is_read_when_it_is_over_is_forgotten() {
    let away = [Step::Buy { client: 0, fixed: false }, Step::Hide { sale: 1 }, Step::Restart];
    let later = Step::SetClock { seconds: 90_000, back: false };
    let _ = hostile(Trust::LspTrustsClient).play(&away).play(&[later]).comes_to_rest();
}

/// A payer sends parts, closes its channel to the LSP, and comes to the LSP as the client that it pays.
#[test]
fn case_X04_a_part_whose_channel_is_closed_by_now_is_not_forwarded() {
    let world = world(Trust::LspTrustsClient).play(&[WHOLE, Step::PayerCloses { part: 0 }]).play(&OPENS);
    assert_eq!(world.play(&[CLAIM, Step::Save]).comes_to_rest().outcomes(), [Some(false)]);
}
