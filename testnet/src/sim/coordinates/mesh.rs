//! The peers of a matrix: what they say to each other, and when.
//!
//! Neighbours exchange a ping and its answer as rarely as the daemon's membership does: often while the connection is
//! young, once in [`EXCHANGE_EVERY`] later; whoever begins measures. Ping and answer carry the sender's coordinate when
//! the shipped rule says that the receiver's picture is off ([`Latency::coordinate_for`]), as the bytes that cross the
//! wire say it. A message takes half the round trip.

use core::time::Duration;
use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::config::{VIEW_NEAR_MAX, VIEW_RANDOM_MAX};
use shoal_protocol::latency::{Coordinate, Latency};
use shoal_protocol::{PeerId, Time};

use super::super::matrix::Matrix;
use super::view::{VIEW, View};

/// Two neighbours exchange a ping and its answer this often, at the latest: a share of the idle limit of a connection.
const EXCHANGE_EVERY: Duration = Duration::from_secs(42);
/// The first exchanges of a connection follow each other by this share of its age, …
const YOUNG_SHARE: f64 = 0.75;
/// … and no faster.
const YOUNG_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Between two rounds of telling others of peers and looking for nearer ones, …
const ROUND: Duration = Duration::from_secs(10);
/// … which doubles while nobody who was called turns out to be near, up to this.
const ROUND_MAX: Duration = Duration::from_secs(120);
/// Peers told of in one round.
const TOLD_PER_ROUND: usize = 2;
/// Peers told of on a new connection.
const TOLD_AT_FIRST: usize = 3;

/// With whom the peers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A few others, as chance has it.
    AtRandom,
    /// Those that are nearest by the matrix, and a few at random; nobody looks for others.
    Settled,
}

#[derive(Debug)]
enum Event {
    /// Two neighbours are due for an exchange, over the connection that came up then.
    Exchange { a: usize, b: usize, since: Time },
    /// A ping is there.
    Pinged { from: usize, to: usize, place: Option<Coordinate> },
    /// The answer is there.
    Ponged { from: usize, to: usize, place: Option<Coordinate> },
    /// A peer looks after its view.
    Round { peer: usize },
}

#[derive(Debug)]
struct Node {
    id: PeerId,
    latency: Latency,
    view: View,
    /// Until the next round.
    pause: Duration,
    /// Who was called in the last round.
    called: Vec<PeerId>,
}

/// What was done so far, by all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Messages with a coordinate that were sent.
    pub(super) told: u64,
    /// Round trips that were measured.
    pub(super) samples: u64,
    /// Connections that were made.
    pub(super) calls: u64,
}

/// All peers of a matrix.
#[derive(Debug)]
pub(super) struct Mesh<'a> {
    matrix: &'a Matrix,
    now: Time,
    rng: Pcg64Mcg,
    nodes: Vec<Node>,
    indices: BTreeMap<PeerId, usize>,
    events: BTreeMap<(Time, u64), Event>,
    created: u64,
    searches: bool,
    tally: Tally,
}

impl<'a> Mesh<'a> {
    pub(super) fn new(matrix: &'a Matrix, seed: u64, start: Start) -> Self {
        let node = |index: usize| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes());
            let id = PeerId(*hasher.finalize().as_bytes());
            Node {
                id,
                latency: Latency::new(id, seed.wrapping_add(index as u64)),
                view: View::default(),
                pause: ROUND,
                called: Vec::new(),
            }
        };
        let nodes: Vec<Node> = (0..matrix.len()).map(node).collect();
        let mut mesh = Self {
            matrix,
            now: Time::ZERO,
            rng: Pcg64Mcg::seed_from_u64(seed),
            indices: nodes.iter().enumerate().map(|(index, node)| (node.id, index)).collect(),
            nodes,
            events: BTreeMap::new(),
            created: 0,
            searches: start == Start::AtRandom,
            tally: Tally::default(),
        };
        mesh.begin(start);
        mesh
    }

    // ── What is looked at ───────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn matrix(&self) -> &Matrix {
        self.matrix
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn id(&self, index: usize) -> PeerId {
        self.nodes[index].id
    }

    pub(super) fn latency(&self, index: usize) -> &Latency {
        &self.nodes[index].latency
    }

    pub(super) fn are_connected(&self, a: usize, b: usize) -> bool {
        self.nodes[a].view.is_connected(self.nodes[b].id)
    }

    // ── What happens ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn run_until(&mut self, end: Time) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            match event {
                Event::Exchange { a, b, since } => self.exchange(a, b, since),
                Event::Pinged { from, to, place } => self.pinged(from, to, place),
                Event::Ponged { from, to, place } => self.ponged(from, to, place),
                Event::Round { peer } => self.round(peer),
            }
        }
        self.now = end;
    }

    fn begin(&mut self, start: Start) {
        let count = self.nodes.len();
        for peer in 0..count {
            let mut others: Vec<usize> = (0..count).filter(|other| self.rtt(peer, *other).is_some()).collect();
            let near = match start {
                Start::AtRandom => 0,
                Start::Settled => VIEW_NEAR_MAX,
            };
            others.sort_by_key(|other| self.rtt(peer, *other));
            let mut far = others.split_off(near.min(others.len()));
            // Each connection is one of two peers: half of the view is looked for by either.
            let wanted = if near == 0 { VIEW / 2 } else { VIEW_RANDOM_MAX / 2 };
            for _ in 0..wanted.min(far.len()) {
                others.push(far.swap_remove(self.rng.random_range(0..far.len())));
            }
            for other in others {
                self.connect(peer, other);
            }
            let at = self.now + ROUND.mul_f64(self.rng.random_range(0.0..1.0));
            self.add(at, Event::Round { peer });
        }
    }

    /// The time between a message and its answer, when there is a path: by the other direction where this one is not known.
    fn rtt(&self, from: usize, to: usize) -> Option<Duration> {
        let ms = self.matrix.rtt_ms(from, to).or_else(|| self.matrix.rtt_ms(to, from)).filter(|_| from != to)?;
        Duration::try_from_secs_f64(ms / 1_000.0).ok()
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a == b || self.are_connected(a, b) || self.rtt(a, b).is_none() {
            return;
        }
        self.tally.calls += 1;
        for (here, there) in [(a, b), (b, a)] {
            let peer = self.id(there);
            self.nodes[here].view.connected(self.now, peer);
            self.nodes[here].latency.reconnected(peer);
            self.tell_of_peers(here, there, TOLD_AT_FIRST);
        }
        // Both ends greet with a ping.
        for (a, b) in [(a, b), (b, a)] {
            self.ping(a, b);
        }
        self.add(self.now + YOUNG_PAUSE_MIN, Event::Exchange { a, b, since: self.now });
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        let (id_a, id_b) = (self.id(a), self.id(b));
        self.nodes[a].view.apart(self.now, id_b);
        self.nodes[b].view.apart(self.now, id_a);
    }

    fn exchange(&mut self, a: usize, b: usize, since: Time) {
        if self.nodes[a].view.since(self.id(b)) != Some(since) {
            return;
        }
        let (from, to) = if self.rng.random_bool(0.5) { (a, b) } else { (b, a) };
        self.ping(from, to);
        let young = self.now.since(since).mul_f64(YOUNG_SHARE).max(YOUNG_PAUSE_MIN);
        let again = self.now + EXCHANGE_EVERY.min(young).mul_f64(self.rng.random_range(0.8..1.2));
        self.add(again, Event::Exchange { a, b, since });
    }

    fn ping(&mut self, from: usize, to: usize) {
        let Some(rtt) = self.rtt(from, to) else { return };
        let place = self.place_for(from, to);
        self.add(self.now + rtt / 2, Event::Pinged { from, to, place });
    }

    fn pinged(&mut self, from: usize, to: usize, place: Option<Coordinate>) {
        let (now, peer) = (self.now, self.id(from));
        if let Some(place) = place {
            self.nodes[to].latency.located(now, peer, place);
        }
        let Some(rtt) = self.rtt(from, to) else { return };
        let place = self.place_for(to, from);
        self.add(now + rtt / 2, Event::Ponged { from: to, to: from, place });
    }

    fn ponged(&mut self, from: usize, to: usize, place: Option<Coordinate>) {
        let Some(rtt) = self.rtt(to, from) else { return };
        let (now, peer) = (self.now, self.id(from));
        let latency = &mut self.nodes[to].latency;
        match place {
            Some(place) => latency.observe(now, peer, rtt, place),
            None => latency.sample(now, peer, rtt),
        };
        self.tally.samples += 1;
    }

    fn place_for(&mut self, from: usize, to: usize) -> Option<Coordinate> {
        let peer = self.id(to);
        let place = self.nodes[from].latency.coordinate_for(self.now, peer)?;
        self.tally.told += 1;
        Some(place.as_sent())
    }

    fn round(&mut self, peer: usize) {
        let node = &mut self.nodes[peer];
        if self.searches {
            let near = node.view.near(&node.latency);
            let was_worth_it = node.called.drain(..).any(|called| near.contains(&called));
            node.pause = if was_worth_it { ROUND } else { (node.pause * 2).min(ROUND_MAX) };
            node.called.extend(node.view.nearer(self.now, &node.latency));
            node.called.extend(node.view.alike(self.now, &node.latency));
            let (pause, called) = (node.pause, node.called.clone());
            if let Some(to) = node.view.any(&mut self.rng) {
                self.tell_of_peers(peer, self.indices[&to], TOLD_PER_ROUND);
            }
            for called in called {
                self.connect(peer, self.indices[&called]);
            }
            while let Some(worst) = self.one_too_many(peer) {
                self.disconnect(peer, worst);
            }
            let again = self.now + pause.mul_f64(self.rng.random_range(0.75..1.25));
            self.add(again, Event::Round { peer });
        }
    }

    fn one_too_many(&self, peer: usize) -> Option<usize> {
        let node = &self.nodes[peer];
        let worst = node.view.one_too_many(self.now, node.id, &node.latency)?;
        Some(self.indices[&worst])
    }

    /// Takes effect at once: half a round trip does not matter to what is used seconds later.
    fn tell_of_peers(&mut self, from: usize, to: usize, count: usize) {
        let (to_id, now) = (self.id(to), self.now);
        let Node { view, latency, .. } = &mut self.nodes[from];
        let peers = view.untold(to_id, count, latency, &mut self.rng);
        let told: Vec<(PeerId, Option<Coordinate>)> =
            peers.into_iter().map(|peer| (peer, latency.place(peer))).collect();
        let node = &mut self.nodes[to];
        for (peer, place) in told {
            node.view.heard_of(now, peer);
            if let Some(place) = place {
                node.latency.heard_of(now, peer, place);
            }
        }
    }

    fn add(&mut self, at: Time, event: Event) {
        self.created += 1;
        self.events.insert((at, self.created), event);
    }
}
