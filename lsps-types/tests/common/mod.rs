//! Checks that written messages can be read.
#![allow(dead_code, reason = "each file of tests uses its own part")]

use lsps_types::Request;
use lsps_types::jsonrpc::{FromLsp, Incoming, RequestId, encode_reply, encode_request};
use proptest::prelude::*;

pub fn comes_back<R: Request + PartialEq + std::fmt::Debug>(request: &R) -> Result<(), TestCaseError> {
    let payload = encode_request("5f0c3e9a77d1428e9b6a", request).expect("it is short");
    let incoming = Incoming::decode(&payload).expect("we wrote it");
    prop_assert_eq!(incoming.method(), Some(R::METHOD));
    prop_assert_eq!(&incoming.params::<R>().expect("we wrote it"), request);
    Ok(())
}

pub fn answers<R: Request>(id: &RequestId, reply: &R::Reply) -> Result<(), TestCaseError>
where
    R::Reply: PartialEq + std::fmt::Debug,
{
    let payload = encode_reply::<R>(id, reply);
    let Ok(FromLsp::Response { id: Some(echoed), outcome: Ok(result) }) = FromLsp::decode(&payload) else {
        return Err(TestCaseError::fail("no result"));
    };
    prop_assert_eq!(&echoed, id);
    prop_assert_eq!(&result.reply::<R>().expect("we wrote it"), reply);
    Ok(())
}

pub fn id() -> impl Strategy<Value = RequestId> {
    prop_oneof![".{0,64}".prop_map(RequestId::Text), any::<i64>().prop_map(RequestId::Number)]
}
