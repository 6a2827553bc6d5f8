//! The simulated network: connections, delay, jitter, loss, partitions, uplinks.
//!
//! A connection is a stream: what was sent over it arrives in order, or, when `loss` strikes, late by a retransmission
//! and everything behind it too, as on QUIC. What is sent into a partition is gone. Bulk (a task's input) has streams of
//! its own: it waits for the sender's uplink, first in, first out, and nothing waits for it.

use core::fmt;
use core::time::Duration;
use std::collections::{HashMap, HashSet};

use rand::{Rng, RngExt};
use shoal_protocol::Time;
use shoal_protocol::time::micros;

use super::hash::FastMap;

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

/// The one-way delay from a peer to another.
type Delays = Box<dyn Fn(usize, usize) -> Duration>;

/// All links and connections.
pub struct Network {
    default: Link,
    delays: Option<Delays>,
    links: HashMap<(usize, usize), Link>,
    cut: HashSet<(usize, usize)>,
    connections: FastMap<(usize, usize), Connection>,
    /// Closed by one end: what it said before still reaches the other, by index and number, until that hears of it.
    draining: HashSet<(usize, u64)>,
    neighbours: Vec<Vec<usize>>,
    opened: u64,
    /// When what each peer sends in bulk has left; unused while uplinks are not modelled.
    uplinks: Option<Vec<Time>>,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    /// When the last message arrives at the lower and at the higher index.
    last_arrival: [Time; 2],
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("default", &self.default).finish_non_exhaustive()
    }
}

impl Network {
    pub(super) fn new(default: Link) -> Self {
        Self {
            default,
            delays: None,
            links: HashMap::new(),
            cut: HashSet::new(),
            connections: FastMap::default(),
            draining: HashSet::new(),
            neighbours: Vec::new(),
            opened: 0,
            uplinks: None,
            messages: 0,
            bytes: 0,
        }
    }

    /// Takes the one-way delay of every pair from a function, as of a measured matrix; jitter and loss stay.
    pub fn set_delays(&mut self, delays: impl Fn(usize, usize) -> Duration + 'static) {
        self.delays = Some(Box::new(delays));
    }

    /// From now on bulk waits for, and takes, the sender's uplink.
    pub fn model_uplinks(&mut self) {
        self.uplinks = Some(Vec::new());
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
        if !self.links.is_empty()
            && let Some(link) = self.links.get(&(from, to))
        {
            return *link;
        }
        match &self.delays {
            Some(delays) => Link { delay: delays(from, to), ..self.default },
            None => self.default,
        }
    }

    /// The delay of one direction, without jitter and loss.
    pub(super) fn delay(&self, from: usize, to: usize) -> Duration {
        self.link(from, to).delay
    }

    pub(super) fn rtt(&self, a: usize, b: usize) -> Option<Duration> {
        self.reachable(a, b).then(|| self.link(a, b).delay + self.link(b, a).delay)
    }

    pub(super) fn reachable(&self, a: usize, b: usize) -> bool {
        self.cut.is_empty() || (!self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a)))
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        self.opened += 1;
        let connection = Connection { number: self.opened, last_arrival: [Time::ZERO; 2] };
        if self.connections.insert(pair(a, b), connection).is_none() {
            let nodes = self.neighbours.len().max(a.max(b) + 1);
            self.neighbours.resize_with(nodes, Vec::new);
            for (here, there) in [(a, b), (b, a)] {
                self.neighbours.get_mut(here).into_iter().for_each(|list| list.push(there));
            }
        }
    }

    pub(super) fn neighbours(&self, index: usize) -> &[usize] {
        self.neighbours.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connections.contains_key(&pair(a, b))
    }

    /// Whether what was sent over that very connection still reaches `to`.
    pub(super) fn delivers(&self, from: usize, to: usize, number: u64) -> bool {
        let is_open = self.connections.get(&pair(from, to)).is_some_and(|connection| connection.number == number);
        is_open || self.draining.contains(&(to, number))
    }

    fn remove(&mut self, a: usize, b: usize) -> Option<Connection> {
        let removed = self.connections.remove(&pair(a, b))?;
        for (here, there) in [(a, b), (b, a)] {
            self.neighbours.get_mut(here).into_iter().for_each(|list| list.retain(|other| *other != there));
        }
        Some(removed)
    }

    /// Closes a connection from one end: its number, and when the last word reaches the other.
    pub(super) fn close(&mut self, by: usize, there: usize) -> Option<(u64, Time)> {
        let closed = self.remove(by, there)?;
        self.draining.insert((there, closed.number));
        let last = closed.last_arrival.get(usize::from(by < there)).copied().unwrap_or_default();
        Some((closed.number, last))
    }

    /// The other end heard that the connection was closed.
    pub(super) fn drained(&mut self, there: usize, number: u64) {
        self.draining.remove(&(there, number));
    }

    /// Drops every connection of a peer; who was at their other ends.
    pub(super) fn disconnect_all(&mut self, index: usize) -> Vec<(usize, u64)> {
        let mut others = self.neighbours.get(index).cloned().unwrap_or_default();
        others.sort_unstable();
        let closed = others.into_iter().filter_map(|other| Some((other, self.remove(index, other)?.number))).collect();
        if let Some(uplink) = self.uplinks.as_mut().and_then(|uplinks| uplinks.get_mut(index)) {
            *uplink = Time::ZERO;
        }
        closed
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
        let travels = self.travel(from, to, rng);
        let connection = self.connections.get_mut(&pair(from, to))?;
        self.messages += 1;
        self.bytes += bytes as u64;
        let last = connection.last_arrival.get_mut(usize::from(from < to))?;
        *last = (now + travels?).max(*last);
        Some((*last, connection.number))
    }

    /// Sends a message with bytes that have left the sender at `left`: it arrives with them.
    pub(super) fn transmit_bulk(
        &mut self,
        (from, to): (usize, usize),
        (bytes, left): (usize, Time),
        rng: &mut impl Rng,
    ) -> Option<(Time, u64)> {
        let number = self.connections.get(&pair(from, to))?.number;
        self.messages += 1;
        self.bytes += bytes as u64;
        Some((left + self.travel(from, to, rng)?, number))
    }

    /// When `bulk` bytes that enter a peer's uplink now have left it.
    pub(super) fn leave(&mut self, now: Time, from: usize, bulk: u64, bits_per_s: u64) -> Time {
        let Some(uplinks) = &mut self.uplinks else { return now };
        if uplinks.len() <= from {
            uplinks.resize(from + 1, Time::ZERO);
        }
        let Some(free) = uplinks.get_mut(from) else { return now };
        *free = now.max(*free) + on_the_wire(bulk, bits_per_s);
        *free
    }

    /// Whether bulk takes time.
    pub(super) fn models_uplinks(&self) -> bool {
        self.uplinks.is_some()
    }

    /// How long a message travels; nothing when it is lost for good.
    fn travel(&self, from: usize, to: usize, rng: &mut impl Rng) -> Option<Duration> {
        if !self.cut.is_empty() && self.cut.contains(&(from, to)) {
            return None;
        }
        let link = self.link(from, to);
        let mut delay = link.delay;
        if !link.jitter.is_zero() {
            delay += link.jitter.mul_f64(rng.random::<f64>());
        }
        while link.loss > 0.0 && rng.random_bool(link.loss.min(0.9)) {
            delay += link.delay * 2 + Duration::from_millis(25);
        }
        Some(delay)
    }
}

/// The time bytes take on a link, in whole microseconds, never too few.
pub(super) fn on_the_wire(bytes: u64, bits_per_s: u64) -> Duration {
    let micros = (u128::from(bytes) * 8_000_000).div_ceil(u128::from(bits_per_s.max(1)));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// What `work` takes at this speed, in whole microseconds, never too few.
pub(super) fn run_time(work: Duration, speed: f64) -> Duration {
    Duration::from_micros((micros(work) as f64 / speed - 1e-6).ceil().max(0.0) as u64)
}
