//! What the emulated wires do to packets, with time handed in and no sockets.
//!
//! ```text
//! accept ─► sender's NAT ─► sender's uplink ─► link (sender, receiver) ─► delay ± jitter ─► receiver's NAT ─► due
//!                             queue, rate        loss, queue, rate          FIFO per pair
//! ```
//!
//! A node behind a NAT is at its outside address, and nowhere else; multicast does not reach it.
//!
//! Both queues serialise: a packet starts when the one before it has left, and one that finds more than `queue_bytes` waiting is
//! dropped at the tail. A multicast packet pays the uplink once and each link on its own.
//!
//! **Invariant:** packets of one directed pair leave in the order they came, and a packet is counted exactly once: delivered,
//! lost, overflowed, cut, filtered, or still under way. What its sender's NAT drops, only that counts.
//! **Not here:** TUN devices, clocks, threads; those are `router.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::Rng;
use rand_pcg::Pcg32;
use serde::Serialize;

use super::links::{Link, Links, Node, Uplink};
use super::nat::{Nat, NatCounts, NatKind, OUTSIDE};

/// Packets under way in the whole mesh; at full size about 100 MB.
const UNDER_WAY_MAX: usize = 65_536;

/// Nodes are addressed 10.77.0.1, 10.77.0.2, …
const SUBNET: [u8; 2] = [10, 77];
pub(crate) const NODES_MAX: usize = 4_096;

/// The address of the node at this place in the list.
pub(crate) fn address(node: usize) -> Ipv4Addr {
    within(SUBNET, node)
}

/// Where the NAT of that node is, if it is behind one.
pub(crate) fn outside_address(node: usize) -> Ipv4Addr {
    within(OUTSIDE, node)
}

fn within(subnet: [u8; 2], node: usize) -> Ipv4Addr {
    let host = node + 1;
    Ipv4Addr::new(subnet[0], subnet[1], (host >> 8) as u8, host as u8)
}

/// What became of the packets of one directed link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub packets_offered: u64,
    pub bytes_offered: u64,
    pub packets_delivered: u64,
    pub bytes_delivered: u64,
    /// Dropped by the link's own loss.
    pub packets_lost: u64,
    /// Dropped at the tail of a full queue: the uplink's, the link's, the receiver's.
    pub packets_overflowed: u64,
    /// Dropped because the link was cut or its ends were partitioned.
    pub packets_cut: u64,
    /// Dropped by the receiver's NAT.
    pub packets_filtered: u64,
}

/// A packet that has reached its receiver's end of the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) packet: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Fabric {
    nodes: usize,
    /// Row by sender, column by receiver.
    wires: Vec<Wire>,
    uplinks: Vec<Limiter>,
    nats: Vec<Option<Nat>>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    accepted: u64,
    unroutable: u64,
}

#[derive(Debug)]
struct Wire {
    link: Link,
    limiter: Limiter,
    cut: bool,
    last_arrival: Duration,
    /// Its own generator, so that traffic elsewhere does not change what happens here.
    random: Pcg32,
    counts: Counts,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Duration,
    /// Breaks ties in the order of acceptance.
    sequence: u64,
    from: usize,
    to: usize,
    packet: Vec<u8>,
}

impl Fabric {
    pub(crate) fn new(nodes: &[Node], links: &Links) -> Self {
        let mut wires = Vec::with_capacity(nodes.len() * nodes.len());
        for (from, sender) in nodes.iter().enumerate() {
            for (to, receiver) in nodes.iter().enumerate() {
                let link = links.between(sender, receiver);
                wires.push(Wire {
                    link,
                    limiter: Limiter::new(link.bits_per_s, link.queue_bytes),
                    cut: false,
                    last_arrival: Duration::ZERO,
                    random: Pcg32::new(links.seed, (from as u64) << 32 | to as u64),
                    counts: Counts::default(),
                });
            }
        }
        let limiter = |Uplink { bits_per_s, queue_bytes }| Limiter::new(bits_per_s, queue_bytes);
        Self {
            nodes: nodes.len(),
            wires,
            uplinks: nodes.iter().map(|node| limiter(links.uplink(node))).collect(),
            nats: nodes
                .iter()
                .enumerate()
                .map(|(index, node)| (node.nat != NatKind::None).then(|| Nat::new(node.nat, outside_address(index))))
                .collect(),
            under_way: BinaryHeap::new(),
            accepted: 0,
            unroutable: 0,
        }
    }

    /// Takes one IP packet from a node onto the wire.
    pub(crate) fn accept(&mut self, now: Duration, from: usize, packet: &mut [u8]) {
        let destination = self.destination(packet);
        if let (Some(nat), Destination::One(_)) = (&mut self.nats[from], &destination)
            && !nat.leave(now, packet)
        {
            return;
        }
        match destination {
            Destination::One(to) if to != from => {
                let left_uplink = self.uplinks[from].pass(now, packet.len());
                self.carry(left_uplink, from, to, packet);
            }
            // A network behind a NAT is one of its own.
            Destination::All if self.nats[from].is_some() => {}
            Destination::All => {
                let left_uplink = self.uplinks[from].pass(now, packet.len());
                for to in (0..self.nodes).filter(|to| *to != from) {
                    if self.nats[to].is_none() {
                        self.carry(left_uplink, from, to, packet);
                    }
                }
            }
            Destination::One(_) | Destination::Nowhere => self.unroutable += 1,
        }
    }

    /// When the next packet is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// The next packet that is due by now. The caller reports what became of it with [`Fabric::delivered`] or [`Fabric::refused`].
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Arrival> {
        while self.next_due()? <= now {
            let Reverse(UnderWay { due, from, to, mut packet, .. }) = self.under_way.pop()?;
            let wire = &mut self.wires[from * self.nodes + to];
            if wire.cut {
                // What was on the wire when it was cut is gone as well.
                wire.counts.packets_cut += 1;
                continue;
            }
            if self.nats[to].as_mut().is_none_or(|nat| nat.enter(due, &mut packet)) {
                return Some(Arrival { from, to, packet });
            }
            wire.counts.packets_filtered += 1;
        }
        None
    }

    pub(crate) fn delivered(&mut self, from: usize, to: usize, bytes: usize) {
        let counts = &mut self.wire(from, to).counts;
        counts.packets_delivered += 1;
        counts.bytes_delivered += bytes as u64;
    }

    /// The receiver's device had no room.
    pub(crate) fn refused(&mut self, from: usize, to: usize) {
        self.wire(from, to).counts.packets_overflowed += 1;
    }

    pub(crate) fn set_link(&mut self, from: usize, to: usize, link: Link) {
        let wire = self.wire(from, to);
        wire.link = link;
        wire.limiter.bits_per_s = link.bits_per_s;
        wire.limiter.queue_bytes = link.queue_bytes;
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> Link {
        self.wires[from * self.nodes + to].link
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.wire(from, to).cut = true;
    }

    /// Cuts every link whose ends are in different groups, and no other.
    pub(crate) fn partition(&mut self, group_of: &[usize]) {
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                self.wire(from, to).cut = group_of[from] != group_of[to];
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        for wire in &mut self.wires {
            wire.cut = false;
        }
    }

    pub(crate) fn counts(&self, from: usize, to: usize) -> Counts {
        self.wires[from * self.nodes + to].counts
    }

    /// What the NAT of a node has done, if it is behind one.
    pub(crate) fn nat_counts(&self, node: usize) -> Option<NatCounts> {
        self.nats[node].as_ref().map(Nat::counts)
    }

    /// Where the others see a node that is behind a NAT.
    pub(crate) fn outside(&self, node: usize) -> Option<Ipv4Addr> {
        self.nats[node].as_ref().map(Nat::outside)
    }

    /// Puts a node behind another NAT; false if it is behind none.
    pub(crate) fn move_node(&mut self, node: usize) -> bool {
        self.nats[node].as_mut().map(Nat::moves).is_some()
    }

    /// Packets to addresses that are nobody's.
    pub(crate) fn unroutable(&self) -> u64 {
        self.unroutable
    }

    fn wire(&mut self, from: usize, to: usize) -> &mut Wire {
        &mut self.wires[from * self.nodes + to]
    }

    fn destination(&self, packet: &[u8]) -> Destination {
        if packet.len() < 20 || packet[0] >> 4 != 4 {
            return Destination::Nowhere;
        }
        let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
        let subnet = [to.octets()[0], to.octets()[1]];
        if to.is_multicast() || to.is_broadcast() || (subnet == SUBNET && to.octets()[2..] == [255, 255]) {
            return Destination::All;
        }
        let host = usize::from(to.octets()[2]) << 8 | usize::from(to.octets()[3]);
        let at = |node: &usize| match self.nats.get(*node) {
            Some(Some(nat)) => nat.outside() == to,
            Some(None) => subnet == SUBNET,
            None => false,
        };
        host.checked_sub(1).filter(at).map_or(Destination::Nowhere, Destination::One)
    }

    /// Puts a packet that has left the sender's uplink, or overflowed it, onto one wire.
    fn carry(&mut self, left_uplink: Option<Duration>, from: usize, to: usize, packet: &[u8]) {
        let full = self.under_way.len() >= UNDER_WAY_MAX;
        let sequence = self.accepted;
        let wire = self.wire(from, to);
        wire.counts.packets_offered += 1;
        wire.counts.bytes_offered += packet.len() as u64;
        if wire.cut {
            wire.counts.packets_cut += 1;
            return;
        }
        let Some(left_uplink) = left_uplink.filter(|_| !full) else {
            wire.counts.packets_overflowed += 1;
            return;
        };
        if unit(&mut wire.random) < wire.link.loss {
            wire.counts.packets_lost += 1;
            return;
        }
        let Some(left_link) = wire.limiter.pass(left_uplink, packet.len()) else {
            wire.counts.packets_overflowed += 1;
            return;
        };
        let due = (left_link + wire.varied_delay()).max(wire.last_arrival);
        wire.last_arrival = due;
        self.accepted += 1;
        self.under_way.push(Reverse(UnderWay { due, sequence, from, to, packet: packet.to_vec() }));
    }
}

impl Wire {
    fn varied_delay(&mut self) -> Duration {
        let swing = self.link.jitter.mul_f64(2.0 * unit(&mut self.random));
        (self.link.delay + swing).saturating_sub(self.link.jitter)
    }
}

enum Destination {
    One(usize),
    All,
    Nowhere,
}

/// A wire that takes its time for each packet, with a queue before it.
#[derive(Debug)]
struct Limiter {
    bits_per_s: Option<u64>,
    queue_bytes: u64,
    free_at: Duration,
}

impl Limiter {
    fn new(bits_per_s: Option<u64>, queue_bytes: u64) -> Self {
        Self { bits_per_s, queue_bytes, free_at: Duration::ZERO }
    }

    /// When a packet that comes now has left, or `None` if the queue is full.
    fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(bits_per_s) = self.bits_per_s else { return Some(now) };
        let backlog = self.free_at.saturating_sub(now);
        let waiting_bytes = backlog.as_nanos() * u128::from(bits_per_s) / 8_000_000_000;
        if waiting_bytes + bytes as u128 > u128::from(self.queue_bytes) {
            return None;
        }
        let nanos = bytes as u64 * 8_000_000_000 / bits_per_s;
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos);
        Some(self.free_at)
    }
}

/// An even draw from 0 up to, but not including, 1.
fn unit(random: &mut Pcg32) -> f64 {
    f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
#[path = "fabric_tests.rs"]
mod tests;
