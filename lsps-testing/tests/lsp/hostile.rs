//! One hostile peer: whatever it does, and however often, no other client is affected.

use lsps_service::Limits;
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, call, peer};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Msat, PeerId, Scid};

use crate::{SIZE, id};

const MANY: usize = 10_000;

/// An LSP that has sold to an honest, connected client.
fn lsp() -> (Lsp, Scid) {
    let scids = (1..100_000).map(|scid| Scid(scid << 40)).collect();
    let mut lsp = Lsp::at(NOON, LspSetup { scids, ..LspSetup::default() });
    lsp.connects(peer(1));
    let scid = buys(&mut lsp, peer(1), Some(SIZE)).jit_channel_scid;
    lsp.connects(peer(66));
    (lsp, scid)
}

/// The honest client's life: a sale, its payment, the forward, and another sale.
fn is_served(lsp: &mut Lsp, scid: Scid) {
    let client = peer(1);
    assert_eq!(call(lsp, client, &ListProtocols {}).expect("an answer").protocols, [2]);
    lsp.acts();
    lsp.part(1, scid, 1, SIZE);
    let [Act::Open { key, .. }] = lsp.acts()[..] else { panic!("its channel") };
    lsp.funding_signed(key);
    lsp.channel_ready(key);
    assert!(lsp.acts().iter().any(|act| matches!(act, Act::Forward { part, .. } if *part == id(1))));
    lsp.claimed(id(1));
    buys(lsp, client, None);
}

fn buys_if_it_may(lsp: &mut Lsp, client: PeerId) -> bool {
    let menu = call(lsp, client, &GetInfo { token: None }).expect("a menu");
    let opening_fee_params = menu.opening_fee_params_menu[0].clone();
    call(lsp, client, &Buy { opening_fee_params, payment_size_msat: None }).is_ok()
}

/// A client pays itself for as many offers as it may have, accepts each channel and signs none.
#[test]
fn case_X14_a_client_that_never_signs_holds_the_coins_of_few_channels_and_not_for_long() {
    let (mut lsp, honest) = lsp();
    let config = lsps_service::Config::default();
    let most = config.limits.opens_per_client;
    let scids: Vec<Scid> = (0..20).map(|_| buys(&mut lsp, peer(66), Some(SIZE)).jit_channel_scid).collect();
    let mut asked = vec![];
    for (number, scid) in (100..).zip(&scids) {
        lsp.part(number, *scid, number, SIZE);
        asked.extend(opens(lsp.acts()));
        asked.iter().for_each(|key| lsp.accepts_channel(*key, None));
    }
    assert_eq!(asked.len(), most, "the others wait");
    is_served(&mut lsp, honest);

    lsp.wait_until(NOON + config.sign_timeout);
    let acts = lsp.acts();
    let released = acts.iter().filter(|act| matches!(act, Act::Abandon(_))).count();
    assert_eq!(released, most, "the coins are free again: {acts:?}");
    let next = opens(acts);
    assert_eq!(next.len(), most, "and the next have their turn");
    let at = NOON + config.hold + config.open_timeout;
    lsp.wait_until(at);
    let acts = lsp.acts();
    let went_back = acts.iter().filter(|act| matches!(act, Act::Fail { .. })).count();
    assert!(went_back > 0, "what waits for too long goes back");
}

fn opens(acts: Vec<Act>) -> Vec<lsps_service::ChannelKey> {
    let key = |act| if let Act::Open { key, .. } = act { Some(key) } else { None };
    acts.into_iter().filter_map(key).collect()
}

/// L2-008
#[test]
fn ten_thousand_buys_fill_only_the_buyers_own_limit() {
    let (mut lsp, scid) = lsp();
    let sold = (0..MANY).filter(|_| buys_if_it_may(&mut lsp, peer(66))).count();
    assert_eq!(sold, Limits::default().offers_per_client);
    is_served(&mut lsp, scid);
}

#[test]
fn ten_thousand_equal_ids_are_ten_thousand_requests() {
    let (mut lsp, scid) = lsp();
    for _ in 0..MANY {
        assert!(call(&mut lsp, peer(66), &GetInfo { token: None }).is_ok());
    }
    is_served(&mut lsp, scid);
}

#[test]
fn case_T10_ten_thousand_reconnects_leave_nothing_behind() {
    let (mut lsp, scid) = lsp();
    buys_if_it_may(&mut lsp, peer(66));
    let before = lsp.records().clone();
    for _ in 0..MANY {
        lsp.disconnects(peer(66));
        lsp.connects(peer(66));
    }
    assert_eq!(lsp.acts(), []);
    assert_eq!(lsp.records(), &before);
    is_served(&mut lsp, scid);
}

#[test]
fn ten_thousand_pieces_of_junk_get_one_error_each() {
    let (mut lsp, scid) = lsp();
    for number in 0..MANY {
        let junk = [b"{\"jsonrpc\":\"2.0\",\"id\":".as_slice(), &number.to_be_bytes()].concat();
        assert_eq!(lsp.receives(peer(66), &junk).len(), 1);
    }
    is_served(&mut lsp, scid);
}

#[test]
fn ten_thousand_parts_to_ones_own_offer_wait_on_nobody_elses_account() {
    let (mut lsp, scid) = lsp();
    let own = buys(&mut lsp, peer(66), Some(SIZE)).jit_channel_scid;
    for number in 0..MANY {
        let mut part = [66; 32];
        part[..8].copy_from_slice(&number.to_be_bytes());
        lsp.htlc(lsps_service::HeldHtlc {
            part: lsps_service::PartId(part),
            scid: own,
            payment_hash: lsps_types::PaymentHash(part),
            amount_in: Msat(1_000),
            onion_amount: Msat(1_000),
            cltv_expiry: None,
        });
    }
    let failed = lsp.acts().iter().filter(|act| matches!(act, Act::Fail { .. })).count();
    assert_eq!(failed, MANY - Limits::default().parts_per_offer);
    let largest = lsp.records().values().map(Vec::len).max().expect("two records");
    assert!(largest < 8_000, "{largest} bytes");
    is_served(&mut lsp, scid);
}

/// L0-025
#[test]
fn a_peer_that_never_asked_hears_nothing_whatever_goes_on() {
    let (mut lsp, scid) = lsp();
    is_served(&mut lsp, scid);
    lsp.block(900_000);
    lsp.disconnects(peer(66));
    lsp.connects(peer(66));
    assert!(lsp.sent_to(peer(66)).is_empty());
}

/// L0-065, L0-067
#[test]
fn case_T17_the_list_of_protocols_is_what_is_switched_on_sorted_and_never_0() {
    let (mut lsp, _) = lsp();
    let protocols = call(&mut lsp, peer(66), &ListProtocols {}).expect("an answer").protocols;
    assert_eq!((protocols.clone(), protocols.is_sorted(), protocols.contains(&0)), (vec![2], true, false));
}
