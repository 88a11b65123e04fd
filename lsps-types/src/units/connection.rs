//! Connection strings: the node id and address of a peer.

use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{PeerId, decimal};

/// Node id, host and port of a node; `node-id@address:port` on the wire. Spec: LSPS0 "Connection Strings".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectionString {
    /// Node id.
    pub node_id: PeerId,
    /// Host.
    pub host: Host,
    /// TCP port.
    pub port: NonZeroU16,
}

/// Host of one of the four kinds that LSPS0 defines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address; written without brackets.
    Ipv6(Ipv6Addr),
    /// A Tor v3 onion name, in lower case.
    TorV3(String),
    /// A DNS name.
    Dns(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::TorV3(name) | Self::Dns(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.node_id, self.host, self.port)
    }
}

impl FromStr for ConnectionString {
    type Err = InvalidConnectionString;

    /// Splits at the first `@` and the last `:`. The node id may be in either case, an IPv6 address with or without
    /// brackets.
    fn from_str(text: &str) -> Result<Self, InvalidConnectionString> {
        let (node_id, rest) = text.split_once('@').ok_or(InvalidConnectionString::Form)?;
        let (host, port) = rest.rsplit_once(':').ok_or(InvalidConnectionString::Form)?;
        let node_id: PeerId = node_id.parse().map_err(|_| InvalidConnectionString::NodeId)?;
        if !node_id.is_compressed() {
            return Err(InvalidConnectionString::NodeId);
        }
        let port = decimal(port).and_then(|port| u16::try_from(port).ok()).and_then(NonZeroU16::new);
        Ok(Self {
            node_id,
            host: host.parse().map_err(|()| InvalidConnectionString::Host)?,
            port: port.ok_or(InvalidConnectionString::Port)?,
        })
    }
}

impl FromStr for Host {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(address) = bare {
            return address.parse().map(Self::Ipv6).map_err(drop);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ipv4(address));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ipv6(address));
        }
        let name = text.to_ascii_lowercase();
        match name.strip_suffix(".onion") {
            Some(key) if is_tor_v3(key) => Ok(Self::TorV3(name)),
            Some(_) => Err(()),
            None if is_dns(&name) => Ok(Self::Dns(name)),
            None => Err(()),
        }
    }
}

/// Whether `key` is 35 bytes in base32.
fn is_tor_v3(key: &str) -> bool {
    key.len() == 56 && key.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
}

/// Whether `name` consists of labels of letters, digits and inner hyphens, with a last label that is not a number.
fn is_dns(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && !last_is_number
}

impl TryFrom<String> for ConnectionString {
    type Error = InvalidConnectionString;

    fn try_from(text: String) -> Result<Self, InvalidConnectionString> {
        text.parse()
    }
}

impl From<ConnectionString> for String {
    fn from(connection: ConnectionString) -> Self {
        alloc::format!("{connection}")
    }
}

/// Error for a text that is not a connection string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnectionString {
    /// The text lacks `@` or `:`.
    #[error("not of the form NODE-ID@ADDRESS:PORT")]
    Form,
    /// The part before `@` is not a node id.
    #[error("the node id is no compressed public key in hex")]
    NodeId,
    /// The part between `@` and the last `:` is not an address.
    #[error("the address is neither IPv4, IPv6, Tor v3 nor a DNS name")]
    Host,
    /// The part after the last `:` is not a port.
    #[error("the port is no number from 1 to 65535")]
    Port,
}
