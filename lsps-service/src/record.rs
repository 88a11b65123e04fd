//! Records: a version, then the flow.

mod v1;

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::ids::{FlowId, UnknownFlow};
use crate::lsps2::jit_channel::JitChannel;
use crate::lsps5::webhooks::Webhooks;

/// A record as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name: a [`FlowId`] as text.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A record that cannot be used. The others are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No flow has such a name.
    #[error(transparent)]
    Name(#[from] UnknownFlow),
    /// It was written by a later version.
    #[error("record {name:?} has version {version}; this program reads up to {VERSION}")]
    Newer {
        /// The record.
        name: String,
        /// Its version.
        version: u8,
    },
    /// The bytes are damaged.
    #[error("record {name:?} is damaged")]
    Damaged {
        /// The record.
        name: String,
    },
}

/// A flow of any kind.
pub(crate) enum AnyFlow {
    JitChannel(JitChannel),
    Webhooks(Webhooks),
}

pub(crate) fn encode(flow: &impl Serialize) -> Vec<u8> {
    let bytes = alloc::vec![VERSION];
    postcard::to_extend(flow, bytes).expect("flows hold nothing that postcard cannot write")
}

pub(crate) fn decode(record: &Record) -> Result<AnyFlow, Unreadable> {
    let id: FlowId = record.name.parse()?;
    let damaged = || Unreadable::Damaged { name: record.name.clone() };
    let (version, bytes) = record.bytes.split_first().ok_or_else(damaged)?;
    if *version > VERSION {
        return Err(Unreadable::Newer { name: record.name.clone(), version: *version });
    }
    let (flow, found) = match id {
        FlowId::JitChannel(_) => {
            let flow: JitChannel = match version {
                1 => postcard::from_bytes::<v1::JitChannel>(bytes).map(JitChannel::from),
                _ => postcard::from_bytes(bytes),
            }
            .map_err(|_| damaged())?;
            let found = flow.flow();
            (AnyFlow::JitChannel(flow), found)
        }
        FlowId::Webhooks(_) => {
            let flow: Webhooks = postcard::from_bytes(bytes).map_err(|_| damaged())?;
            let found = FlowId::Webhooks(flow.client);
            (AnyFlow::Webhooks(flow), found)
        }
    };
    if found == id { Ok(flow) } else { Err(damaged()) }
}

const VERSION: u8 = 2;
