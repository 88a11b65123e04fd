//! Node IDs and the keys of `secp256k1`.

use lsps_types::PeerId;
use secp256k1::{PublicKey, Secp256k1, SecretKey};

#[test]
fn a_node_id_is_made_of_a_public_key_and_gives_it_back_if_it_is_a_point_on_the_curve() {
    let secret = SecretKey::from_slice(&[7; 32]).unwrap();
    let key = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
    let id = PeerId::from(key);
    assert_eq!((id.0, PeerId::from(&key)), (key.serialize(), id));
    assert_eq!(PublicKey::try_from(id), Ok(key));
    // About half of the 33-byte strings that look like a key are none: 5 is not the abscissa of a point.
    let mut none = [0; 33];
    (none[0], none[32]) = (2, 5);
    assert!(PublicKey::try_from(PeerId(none)).is_err());
}
