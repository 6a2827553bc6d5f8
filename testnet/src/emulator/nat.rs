//! What stands between a node and the others: a NAT for UDP, with time handed in and no sockets.
//!
//! ```text
//! out:  10.77.0.2:7600 ─► mapping: its own port outside ─► 198.18.0.2:40017
//! in:   198.18.0.2:40017 ─► is there a mapping, and does its filter let this sender through? ─► 10.77.0.2:7600 │ dropped
//! ```
//!
//! The words are RFC 4787's. Ports are never kept, which is the harder case, and there is no hairpinning.
//!
//! **Invariant:** a packet is counted exactly once, and at most [`MAPPINGS_MAX`] mappings exist.
//! **Not here:** other protocols than UDP, and fragments: those are dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A mapping, and a permission to answer, that nothing has left by for so long is forgotten (REQ-5: not before two minutes).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
pub(crate) const MAPPINGS_MAX: usize = 4_096;
const PORT_MIN: u16 = 40_000;

/// Outside addresses are 198.18.0.1, 198.18.0.2, … (RFC 2544: for tests of networks); 198.19.0.1 … after a move.
pub(crate) const OUTSIDE: [u8; 2] = [198, 18];

const IP_HEADER_BYTES_MIN: usize = 20;
const UDP: u8 = 17;

/// How a node is connected to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// By its own address.
    #[default]
    None,
    /// One mapping for each port of the node, which everybody may use (endpoint-independent filtering).
    FullCone,
    /// One mapping for each port of the node; only whom it has sent to, address and port, may answer
    /// (endpoint-independent mapping, address-and-port-dependent filtering).
    PortRestricted,
    /// A mapping for each port of the node and each destination, which alone may answer (address-and-port-dependent mapping
    /// and filtering).
    Symmetric,
}

/// What a NAT has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NatCounts {
    pub mappings_made: u64,
    pub packets_out: u64,
    pub packets_in: u64,
    /// From outside, to no mapping or by nobody it was for.
    pub packets_filtered: u64,
    /// Not UDP over IPv4, or a fragment of it.
    pub packets_untranslatable: u64,
    /// To outside, when there was no port for another mapping.
    pub packets_without_mapping: u64,
}

/// The NAT of one node.
#[derive(Debug)]
pub(crate) struct Nat {
    kind: NatKind,
    outside: Ipv4Addr,
    by_inside: BTreeMap<Inside, u16>,
    by_port: BTreeMap<u16, Mapping>,
    next_port: u16,
    counts: NatCounts,
}

/// What a mapping is made for: an endpoint of the node, and of a symmetric NAT also the other end.
type Inside = (SocketAddrV4, Option<SocketAddrV4>);

#[derive(Debug)]
struct Mapping {
    inside: Inside,
    last_out: Duration,
    /// Whom the node has sent to by this mapping, and when last.
    sent_to: BTreeMap<SocketAddrV4, Duration>,
}

impl Nat {
    pub(crate) fn new(kind: NatKind, outside: Ipv4Addr) -> Self {
        Self {
            kind,
            outside,
            by_inside: BTreeMap::new(),
            by_port: BTreeMap::new(),
            next_port: PORT_MIN,
            counts: NatCounts::default(),
        }
    }

    /// Where the others see it.
    pub(crate) fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// The node is behind another NAT of the same kind now, at another address: a laptop that has changed network.
    pub(crate) fn moves(&mut self) {
        let [a, b, c, d] = self.outside.octets();
        self.outside = Ipv4Addr::new(a, b ^ 1, c, d);
        self.by_inside.clear();
        self.by_port.clear();
    }

    pub(crate) fn counts(&self) -> NatCounts {
        self.counts
    }

    /// Rewrites a packet that leaves the node; false if it goes no further.
    pub(crate) fn leave(&mut self, now: Duration, packet: &mut [u8]) -> bool {
        let Some((from, to)) = endpoints(packet) else {
            self.counts.packets_untranslatable += 1;
            return false;
        };
        let Some(port) = self.mapping_for(now, from, to) else {
            self.counts.packets_without_mapping += 1;
            return false;
        };
        rewrite(packet, Side::Source, SocketAddrV4::new(self.outside, port));
        self.counts.packets_out += 1;
        true
    }

    /// Rewrites a packet that comes to the NAT's outside address; false if it goes no further.
    pub(crate) fn enter(&mut self, now: Duration, packet: &mut [u8]) -> bool {
        let Some((from, to)) = endpoints(packet) else {
            self.counts.packets_untranslatable += 1;
            return false;
        };
        let inside = self.by_port.get(&to.port()).filter(|mapping| mapping.lets_in(self.kind, now, from));
        let Some(inside) = inside.map(|mapping| mapping.inside.0) else {
            self.counts.packets_filtered += 1;
            return false;
        };
        rewrite(packet, Side::Destination, inside);
        self.counts.packets_in += 1;
        true
    }

    fn mapping_for(&mut self, now: Duration, from: SocketAddrV4, to: SocketAddrV4) -> Option<u16> {
        let inside = (from, (self.kind == NatKind::Symmetric).then_some(to));
        let known = self.by_inside.get(&inside).copied();
        let is_live = |port: &u16| self.by_port.get(port).is_some_and(|mapping| mapping.is_live(now));
        let port = match known.filter(is_live) {
            Some(port) => port,
            None => self.make_mapping(now, inside)?,
        };
        let mapping = self.by_port.get_mut(&port)?;
        mapping.last_out = now;
        mapping.sent_to.retain(|_, sent| now.saturating_sub(*sent) < TIMEOUT);
        mapping.sent_to.insert(to, now);
        Some(port)
    }

    fn make_mapping(&mut self, now: Duration, inside: Inside) -> Option<u16> {
        if self.by_port.len() >= MAPPINGS_MAX || self.by_inside.contains_key(&inside) {
            self.by_port.retain(|_, mapping| mapping.is_live(now));
            let by_port = &self.by_port;
            self.by_inside.retain(|_, port| by_port.contains_key(port));
        }
        if self.by_port.len() >= MAPPINGS_MAX {
            return None;
        }
        // There are more ports than mappings.
        while self.by_port.contains_key(&self.next_port) {
            self.next_port = self.next_port.checked_add(1).unwrap_or(PORT_MIN);
        }
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(PORT_MIN);
        self.by_inside.insert(inside, port);
        self.by_port.insert(port, Mapping { inside, last_out: now, sent_to: BTreeMap::new() });
        self.counts.mappings_made += 1;
        Some(port)
    }
}

impl Mapping {
    fn is_live(&self, now: Duration) -> bool {
        now.saturating_sub(self.last_out) < TIMEOUT
    }

    fn lets_in(&self, kind: NatKind, now: Duration, from: SocketAddrV4) -> bool {
        let was_sent_to = || self.sent_to.get(&from).is_some_and(|sent| now.saturating_sub(*sent) < TIMEOUT);
        self.is_live(now)
            && match kind {
                NatKind::None | NatKind::FullCone => true,
                NatKind::PortRestricted | NatKind::Symmetric => was_sent_to(),
            }
    }
}

/// Where a UDP packet comes from and goes to; none for anything else, and for fragments.
fn endpoints(packet: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let header = header_bytes(packet)?;
    // More fragments, or not the first.
    let is_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    if packet[9] != UDP || is_fragment {
        return None;
    }
    let udp = packet.get(header..header + 8)?;
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    Some((SocketAddrV4::new(address(12), port(0)), SocketAddrV4::new(address(16), port(2))))
}

/// Bytes of the IP header, if the packet has one of version 4.
fn header_bytes(packet: &[u8]) -> Option<usize> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    (packet[0] >> 4 == 4 && header >= IP_HEADER_BYTES_MIN && packet.len() >= header).then_some(header)
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// Of a packet that has [`endpoints`].
fn rewrite(packet: &mut [u8], side: Side, to: SocketAddrV4) {
    let Some(header) = header_bytes(packet) else { return };
    let (address, port) = match side {
        Side::Source => (12, header),
        Side::Destination => (16, header + 2),
    };
    packet[address..address + 4].copy_from_slice(&to.ip().octets());
    packet[port..port + 2].copy_from_slice(&to.port().to_be_bytes());
    // None: UDP over IPv4 may do without (RFC 768), and what it carries here checks itself.
    packet[header + 6..header + 8].fill(0);
    packet[10..12].fill(0);
    let checksum = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
#[path = "nat_tests.rs"]
mod tests;
