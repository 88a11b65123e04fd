//! The addresses of the public Internet, which may be contacted at a stranger's request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Whether an address is on the public Internet: neither reserved nor local, nor a form of such an address.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => NAT64.contains(&v6) && is_global_v4(embedded(v6)) || is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !REFUSED_V4.iter().any(|network| network.contains(&address))
}

/// Whether an IPv6 address is public. Everything outside global unicast is refused: loopback, link-local, unique local,
/// multicast, mapped IPv4.
fn is_global_v6(address: Ipv6Addr) -> bool {
    GLOBAL_UNICAST.contains(&address) && !REFUSED_V6.iter().any(|network| network.contains(&address))
}

/// The IPv4 address in the last 32 bits.
fn embedded(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

/// IANA's registry of special-purpose IPv4 addresses, and similar ones. `SECURITY.md` has the same list.
const REFUSED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // "this network"
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // between carrier and subscriber
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // services of Azure's hosts
    v4(169, 254, 0, 0, 16),   // link-local, metadata of clouds
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // relays of 6to4
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);
/// Refused networks within global unicast.
const REFUSED_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, benchmarks, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4: any IPv4 address
    v6(0x3fff, 0, 0, 20),     // documentation
];
/// The prefix through which a host without IPv4 reaches an IPv4 address.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
