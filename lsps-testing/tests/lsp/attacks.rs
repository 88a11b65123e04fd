//! Strangers who choose every value that an event carries.

use lsps_service::{BookTotals, HeldHtlc, Input, Trust, WhichPart};
use lsps_testing::{Act, Lsp, LspSetup, peer};
use lsps_types::bolt4::FailureCode::UnknownNextPeer;
use lsps_types::{Msat, PaymentHash};

use crate::{FEE, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, of_parts, offered, opens};

const HALF: Msat = Msat(SIZE.0 / 2);
const ONE_SAT: Msat = Msat(1_000);

/// An HTLC with the name of part 1.
fn by_the_same_name(hash: u8, amount_in: Msat, onion_amount: Msat) -> HeldHtlc {
    let payment_hash = PaymentHash([hash; 32]);
    HeldHtlc { part: id(1), scid: SCID, payment_hash, amount_in, onion_amount, cltv_expiry: None }
}

/// The whole payment was forwarded, and is with the client.
fn sent(setup: LspSetup) -> Lsp {
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp
}

fn is_gone_from_the_client(lsp: &mut Lsp, part: u8) {
    lsp.feed(Input::PartAtClient { part: id(part), is_there: false });
}

/// Once a part is forwarded its name is free at the node: an upstream node sends the onion again and pays 1 sat for it.
#[test]
fn case_X01_the_same_onion_again_is_forwarded_only_for_the_same_money_and_in_place_of_the_first() {
    let mut lsp = sent(LspSetup::default());
    for again in [by_the_same_name(1, ONE_SAT, SIZE), by_the_same_name(1, SIZE, SIZE)] {
        lsp.htlc(again);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "the first is with the client: {again:?}");
    }
    is_gone_from_the_client(&mut lsp, 1);
    let little = by_the_same_name(1, Msat(SIZE.0 - 1), SIZE);
    for again in [little, by_the_same_name(2, SIZE, SIZE), by_the_same_name(1, SIZE, HALF)] {
        lsp.htlc(again);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "it is another HTLC: {again:?}");
    }
    lsp.htlc(by_the_same_name(1, Msat(SIZE.0 + 5), SIZE));
    assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)], "it brings what the first brought");
}

/// A start after a crash, or a client whose channels are not usable when its part is to go: what the node holds by that name
/// need not be the HTLC on record.
#[test]
fn case_X01_what_is_still_held_by_the_name_of_a_part_has_to_bring_what_the_part_brought() {
    let mut lsp = sent(LspSetup::default());
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "the first is with the client");
    is_gone_from_the_client(&mut lsp, 1);
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: ONE_SAT });
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)]);
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: Msat(SIZE.0 + 5) });
    lsp.feed(Input::ChannelsUsable { peer: peer(1) });
    assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp.claimed(id(1));
    assert_eq!(BookTotals::of(lsp.book()).surplus, Msat(5), "what came in is what the one that was sent brought");
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "claimed: another HTLC");
}

#[test]
fn case_X01_a_held_part_whose_place_another_htlc_took_counts_no_longer() {
    let others: [fn(&mut Lsp); 3] = [
        |lsp| lsp.htlc(by_the_same_name(1, ONE_SAT, HALF)),
        |lsp| lsp.htlc(by_the_same_name(2, SIZE, HALF)),
        |lsp| lsp.feed(Input::PartStillHeld { part: id(1), amount_in: ONE_SAT }),
    ];
    for other in others {
        let mut lsp = lsp_with_offer(Some(SIZE));
        lsp.part(1, SCID, 1, HALF);
        other(&mut lsp);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)]);
        lsp.part(2, SCID, 1, HALF);
        assert_eq!(lsp.acts(), [], "half is not enough");
        lsp.part(3, SCID, 1, HALF);
        assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]));
    }
}

fn claims(amount: Msat, amount_in: Option<Msat>, skim: Option<Msat>) -> Input {
    Input::PartForwarded { part: WhichPart::Sent { to: peer(1), amount, amount_in, skim }, over: None }
}

/// The client holds the JIT part, has itself paid the same amount the ordinary way, claims that and fails the part.
#[test]
fn case_X04_a_claim_that_looks_alike_neither_earns_nor_publishes() {
    let out = Msat(SIZE.0 - FEE.0);
    let look_alikes = [
        claims(out, Some(Msat(out.0 + 1_000)), None),
        claims(out, Some(SIZE), Some(Msat(FEE.0 - 1))),
        claims(out, None, Some(Msat(FEE.0 + 1))),
        claims(out, Some(Msat(SIZE.0 - 1)), Some(FEE)),
    ];
    for look_alike in look_alikes {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        lsp.feed(look_alike.clone());
        assert_eq!(lsp.acts(), [], "{look_alike:?}");
        lsp.failed_by_client(id(1));
        assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
        lsp.feed(look_alike);
        let totals = BookTotals::of(lsp.book());
        assert_eq!((lsp.acts(), totals.earned, totals.lost), (vec![], Msat(0), FEE));
    }
}

/// Every shape in which LDK 0.2 tells a claim: as it is, the upstream channel closed, claimed on the chain, both.
#[test]
fn case_X04_a_claim_earns_in_whatever_shape_it_is_told() {
    let out = Msat(SIZE.0 - FEE.0);
    for (told_in, skim) in [(Some(SIZE), Some(FEE)), (None, Some(FEE)), (Some(SIZE), None), (None, None)] {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        for _ in 0..2 {
            lsp.feed(claims(out, told_in, skim));
        }
        assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
        assert_eq!(BookTotals::of(lsp.book()).earned, FEE);
    }
}

/// The payer tries again in two parts before it is known that its first try failed; half of them alone is no payment.
#[test]
fn case_X18_a_try_that_is_gone_completes_no_other() {
    let mut lsp = sent(LspSetup::default());
    is_gone_from_the_client(&mut lsp, 1);
    lsp.part(2, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "alone");
    lsp.feed(Input::Tick);
    assert_eq!(lsp.acts(), []);
    lsp.part(3, SCID, 1, HALF);
    let forwarded = |acts: Vec<Act>| -> (u64, u64) {
        let parts = acts.iter().map(|act| match act {
            Act::Forward { amount, extra_fee, .. } => (amount.0, extra_fee.0),
            other => panic!("{other:?}"),
        });
        parts.fold((0, 0), |(amount, fee), (a, f)| (amount + a, fee + f))
    };
    assert_eq!(forwarded(lsp.acts()), (SIZE.0 - FEE.0, FEE.0), "both, with the fee");
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [], "as was thought");
    lsp.claimed(id(2));
    lsp.claimed(id(3));
    lsp.part(4, SCID, 2, ONE_SAT);
    assert_eq!(lsp.acts(), [forwards(4, ONE_SAT.0, 0)], "the fee is paid");
}

/// Of a first try in two parts one is known to have failed; the other, gone as well, does not make up for it.
#[test]
fn case_X18_half_of_a_try_that_is_gone_completes_no_other() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    is_gone_from_the_client(&mut lsp, 2);
    lsp.part(3, SCID, 1, HALF);
    assert_eq!(lsp.acts(), []);
    lsp.disconnects(peer(1));
    lsp.restarts();
    is_gone_from_the_client(&mut lsp, 2);
    lsp.connects(peer(1));
    assert!(of_parts(lsp.acts()).iter().all(|act| !matches!(act, Act::Forward { part, .. } if *part == id(3))));
    lsp.feed(Input::PartAtClient { part: id(2), is_there: true });
    assert!(matches!(lsp.acts()[..], [Act::Forward { part, .. }] if part == id(3)), "it is there after all");
}

#[test]
fn case_X18_a_payment_of_any_size_that_is_tried_again_for_another_amount_pays_the_fee_of_that() {
    let mut lsp = lsp_with_offer(None);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    is_gone_from_the_client(&mut lsp, 1);
    lsp.part(2, SCID, 1, Msat(2 * SIZE.0));
    assert_eq!(lsp.acts(), [forwards(2, 2 * (SIZE.0 - FEE.0), 2 * FEE.0)]);
}
