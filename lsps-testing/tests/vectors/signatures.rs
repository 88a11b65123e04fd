//! `lsps5_signatures`: signed texts, byte for byte, and the signatures that a notification service accepts.

use std::convert::Infallible;

use lsps_types::lsps5::{Profile, Refused, Signed, Verifier, signed_text};
use lsps_types::signature::{LnSignature, SignMessage, digest};
use lsps_types::{DateTime, PeerId, Timestamp};
use secp256k1::{Secp256k1, SecretKey};
use serde_json::{Value, json};

use super::schemas::hex;
use super::{Case, Given, Verdict, verdict};

pub fn run(case: &Case) -> Verdict {
    let outcome = match case.input["kind"].as_str().expect("a kind") {
        "sign" => sign(&case.input),
        "verify" => verify(&case.input),
        other => return Verdict::Failed(format!("unknown kind {other}")),
    };
    verdict(case, &outcome)
}

struct Key(SecretKey);

impl SignMessage for Key {
    type Error = Infallible;

    fn sign_message(&self, message: &[u8]) -> Result<LnSignature, Infallible> {
        Ok(LnSignature::sign(message, &self.0))
    }
}

fn sign(input: &Given) -> Value {
    let key: SecretKey = text(input, "secret_key_hex").parse().expect("a key");
    let (timestamp, body) = (text(input, "timestamp"), text(input, "body"));
    let message = signed_text(timestamp, body);
    let signature = LnSignature::sign(message.as_bytes(), &key);
    let node_id = PeerId(key.public_key(&Secp256k1::new()).serialize());
    assert_eq!(signature.signer(message.as_bytes()), Some(node_id));
    assert_eq!(signature.to_string().parse(), Ok(signature));
    let instant = timestamp.parse::<DateTime>().expect("a datetime");
    if DateTime::from(instant.instant()).as_str() == timestamp {
        let posted = Signed::new(body.into(), instant.instant(), &Key(key)).expect("it signs");
        assert_eq!((posted.body.as_str(), posted.timestamp.as_str(), posted.signature), (body, timestamp, signature));
    }
    json!({ "ok": {
        "node_id": node_id,
        "message_hex": hex(message.as_bytes()),
        "digest_hex": hex(&digest(message.as_bytes())),
        "signature": signature,
    } })
}

fn verify(input: &Given) -> Value {
    let profile = match text(input, "profile") {
        "blip" => Profile::Blip,
        "legacy" => Profile::Legacy,
        other => panic!("unknown profile {other}"),
    };
    let now = input["now"]
        .as_str()
        .map_or(Timestamp::from_unix_millis(0), |now| now.parse::<DateTime>().expect("a datetime").instant());
    let mut verifier = Verifier::new(profile, 100);
    let lsp: PeerId = text(input, "node_id").parse().expect("a node id");
    let (timestamp, body) = (text(input, "timestamp"), text(input, "body").as_bytes());
    let earlier = |list: &str| input[list].items().map(Given::to::<String>).collect::<Vec<_>>();
    for accepted in earlier("already_seen_signatures") {
        // A signature that was made over another body is accepted here from whichever node ID it recovers to.
        let signature: LnSignature = accepted.parse().expect("an accepted signature");
        let message = signed_text(timestamp, text(input, "body"));
        let signer = signature.signer(message.as_bytes()).expect("an accepted signature");
        verifier.verify(signer, timestamp, &accepted, body, now).expect("it was accepted");
    }
    for refused in earlier("refused_signatures") {
        verifier.verify(lsp, timestamp, &refused, body, now).expect_err("it was refused");
    }
    let code = match verifier.verify(lsp, timestamp, text(input, "signature"), body, now) {
        Ok(_) => return json!({ "ok": "valid" }),
        Err(Refused::MalformedTimestamp) => "malformed_timestamp",
        Err(Refused::MalformedSignature(_)) => "malformed_signature",
        Err(Refused::MalformedBody(_)) => "malformed_body",
        Err(Refused::BadSignature) => "bad_signature",
        Err(Refused::StaleTimestamp) => "stale_timestamp",
        Err(Refused::Replay) => "replay",
        Err(other) => panic!("{other}"),
    };
    json!({ "error": { "code": code } })
}

fn text<'a>(input: &'a Given, name: &str) -> &'a str {
    input[name].as_str().expect("text")
}
