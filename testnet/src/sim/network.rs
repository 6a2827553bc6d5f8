//! The simulated network: connections, delay, jitter, loss, partitions.
//!
//! A connection is a stream: what was sent over it arrives in order, or, when `loss` strikes, late by a retransmission
//! and everything behind it too, as on QUIC. What is sent into a partition is gone.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};
use shoal_protocol::Time;

/// The way between two peers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much more.
    pub jitter: Duration,
    /// Share of messages that must be sent again, 0 to 1.
    pub loss: f64,
}

impl Link {
    /// A link with this one-way delay, in milliseconds, and nothing else.
    pub const fn ms(delay: u64) -> Self {
        Self { delay: Duration::from_millis(delay), jitter: Duration::ZERO, loss: 0.0 }
    }
}

/// All links and connections.
#[derive(Debug)]
pub struct Network {
    default: Link,
    links: BTreeMap<(usize, usize), Link>,
    cut: BTreeSet<(usize, usize)>,
    connections: BTreeMap<(usize, usize), u64>,
    last_arrival: BTreeMap<(usize, usize), Time>,
    opened: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Network {
    pub(super) fn new(default: Link) -> Self {
        Self {
            default,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            connections: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            opened: 0,
            messages: 0,
            bytes: 0,
        }
    }

    /// Sets both directions between two peers.
    pub fn set_link(&mut self, a: usize, b: usize, link: Link) {
        self.links.insert((a, b), link);
        self.links.insert((b, a), link);
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Cuts everything between two groups.
    pub fn partition(&mut self, left: &[usize], right: &[usize]) {
        for a in left {
            for b in right {
                self.cut(*a, *b);
                self.cut(*b, *a);
            }
        }
    }

    /// Mends every cut.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    fn link(&self, from: usize, to: usize) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default)
    }

    pub(super) fn rtt(&self, a: usize, b: usize) -> Option<Duration> {
        self.reachable(a, b).then(|| self.link(a, b).delay + self.link(b, a).delay)
    }

    pub(super) fn reachable(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        self.opened += 1;
        self.connections.insert(pair(a, b), self.opened);
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connections.contains_key(&pair(a, b))
    }

    /// Whether that very connection is still open.
    pub(super) fn connected(&self, a: usize, b: usize, number: u64) -> bool {
        self.connections.get(&pair(a, b)) == Some(&number)
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) -> bool {
        self.connections.remove(&pair(a, b)).is_some()
    }

    /// Drops every connection of a peer; who was at their other ends.
    pub(super) fn disconnect_all(&mut self, index: usize) -> Vec<usize> {
        let others = self.connections.keys().filter(|(a, b)| *a == index || *b == index);
        let others: Vec<_> = others.map(|(a, b)| if *a == index { *b } else { *a }).collect();
        for other in &others {
            self.disconnect(index, *other);
        }
        others
    }

    /// Sends a message over the connection there is: when it arrives, and over which connection.
    pub(super) fn transmit(
        &mut self,
        now: Time,
        from: usize,
        to: usize,
        bytes: usize,
        rng: &mut impl Rng,
    ) -> Option<(Time, u64)> {
        let number = *self.connections.get(&pair(from, to))?;
        self.messages += 1;
        self.bytes += bytes as u64;
        if self.cut.contains(&(from, to)) {
            return None;
        }
        let link = self.link(from, to);
        let mut delay = link.delay + link.jitter.mul_f64(rng.random::<f64>());
        while link.loss > 0.0 && rng.random_bool(link.loss.min(0.9)) {
            delay += link.delay * 2 + Duration::from_millis(25);
        }
        let last = self.last_arrival.entry((from, to)).or_default();
        let at = (now + delay).max(*last);
        *last = at;
        Some((at, number))
    }
}
