//! BOLT 8 message type 37913, which carries every LSPS payload.

use lightning::ln::wire::Type;
use lightning::util::ser::{Writeable, Writer};

/// One payload, as raw bytes. The cores parse it, so invalid UTF-8 never disconnects a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct LspsMessage {
    /// Bytes of the payload; JSON text if the peer follows the protocol.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for LspsMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LspsMessage({:?})", String::from_utf8_lossy(&self.payload))
    }
}

impl Type for LspsMessage {
    fn type_id(&self) -> u16 {
        lsps_types::jsonrpc::MESSAGE_TYPE
    }
}

impl Writeable for LspsMessage {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), lightning::io::Error> {
        writer.write_all(&self.payload)
    }
}
