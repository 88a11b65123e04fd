//! The BOLT 8 messages that carry payloads.

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lightning::ln::wire::{CustomMessageReader as _, Type as _};
use lightning::util::ser::Writeable as _;
use lsps_transport_ldk::{LspsMessage, LspsMessageHandler, Role};

/// L0-001
#[test]
fn payloads_travel_in_messages_of_type_37913_and_no_other() {
    let message = LspsMessage { payload: b"{}".to_vec() };
    assert_eq!((message.type_id(), message.encode()), (37_913, b"{}".to_vec()));

    let handler = LspsMessageHandler::new(Role::Client);
    let read = |kind| handler.read(kind, &mut &b"{}"[..]).expect("any bytes are read");
    assert_eq!(read(37_913), Some(message.clone()));
    assert!([37_911, 37_912, 37_914, 37_915].map(read).iter().all(Option::is_none));

    let peer = PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[7; 32]).expect("a key"));
    handler.handle_custom_message(message, peer).expect("it is taken");
}
