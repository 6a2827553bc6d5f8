//! Many peers in one process under a virtual clock: the very [`Peer`](shoal_protocol::Peer) that `shoald` ships, driven by a
//! seed.
//!
//! The simulator plays what a daemon is: network, disk, sandbox and clock. What happens to a peer happens to it in order
//! of time, ties in order of who caused it and when.
//!
//! | file | one question |
//! |---|---|
//! | `shard/` | what does a machine do? |
//! | `event.rs` | what is going to happen? |
//! | `network.rs` | how long does a message travel? |
//! | `links.rs` | who is connected? |
//! | `disk.rs` | what survives a crash? |
//! | `editions.rs` | what do peers of other versions say and write? |
//! | `lies.rs` | what does a peer say that lies? |
//! | `forgers.rs` | what does a machine answer that does not compute? |
//! | `marks.rs` | where may these bytes be? |
//! | `lures.rs` | what does a peer say and do that wants work it will not do? |
//! | `workers.rs` | what can happen at the same time? |
//! | `script/` | what does a script do, and what does it see? |
//! | `work.rs` | what does a task take, and what does its run write? |
//! | `seen.rs` | what is noted down of a run? |
//!
//! | | messages | signatures | trace hash |
//! |---|---|---|---|
//! | [`Sim::new`] | travel as the bytes that would cross the wire | are checked | yes |
//! | [`Sim::quick`] | are handed over, their encoded size counted | of known records are taken as checked | no |
//!
//! **Invariant:** the same seed and script give the same run; checked after every event: no task ends twice, no peer runs
//! more than its cores.
//! **Not here:** deciding anything a peer decides.

pub mod answers;
pub mod brief;
pub mod chaos;
pub mod coordinates;
mod counts;
mod disk;
mod editions;
mod event;
pub mod flow;
mod forgers;
mod hash;
pub mod input;
pub mod liars;
mod lies;
mod links;
mod lures;
pub mod marks;
pub mod matrix;
pub mod membership;
mod network;
mod node;
pub mod pipelines;
pub mod place;
pub mod report;
pub mod residency;
mod script;
mod seen;
mod shard;
pub mod variants;
mod work;
mod workers;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{Issuer, SecretKey};
use shoal_protocol::{Input, PeerId, Time};

pub use self::counts::{Count, Counts, DATAGRAM_BYTES};
pub use self::disk::{Disk, Trouble};
pub use self::editions::Edition;
pub use self::forgers::{Forger, Forgery};
use self::hash::FastMap;
pub use self::lures::Lure;
pub use self::network::{Link, Network};
use self::node::Node;
pub use self::seen::{Awarded, Belief, Ended, Judged, Move, Ran, TaskNews, Told};
use self::shard::{Common, Shard};
pub use self::work::Made;

/// One sync of a disk that is well.
const SYNC: Duration = Duration::from_millis(2);
/// A fixed date for certificates: the simulated mesh has no calendar.
const TODAY_UNIX_S: u64 = 1_750_000_000;

/// A simulated mesh.
#[derive(Debug)]
pub struct Sim {
    now: Time,
    rng: Pcg64Mcg,
    common: Common,
    shards: Vec<Shard>,
    /// Every way takes this long at least; what shards may do side by side follows from it.
    shortest: Duration,
    submitted: u64,
}

impl Sim {
    /// An empty mesh; everything that happens by chance comes from `seed`.
    pub fn new(seed: u64, link: Link) -> Self {
        let mesh_key = SecretKey::from_bytes(blake3::hash(&seed.to_le_bytes()).as_bytes());
        Self {
            now: Time::ZERO,
            rng: Pcg64Mcg::seed_from_u64(seed),
            common: Common {
                seed,
                mesh: mesh_key.mesh(),
                issuer: Issuer::of(&mesh_key),
                network: Network::new(link),
                identities: Vec::new(),
                ids: Vec::new(),
                indices: FastMap::default(),
                works: HashMap::new(),
                modules: HashMap::new(),
                watches_beliefs: false,
                times_decisions: false,
                keeps_tasks: false,
                liars: BTreeSet::new(),
                has_liars: false,
                lied: BTreeSet::new(),
                lures: BTreeMap::new(),
                forges: false,
                watches_awards: false,
                regions: Vec::new(),
                marked: BTreeMap::new(),
                watches_marks: false,
                watches_moves: false,
            },
            shards: vec![Shard::new(0, 1, Some(Box::default()))],
            shortest: Duration::ZERO,
            submitted: 0,
        }
    }

    /// The same, for many peers or many tasks: see the table above for what is taken on trust.
    pub fn quick(seed: u64, link: Link) -> Self {
        Self { shards: vec![Shard::new(0, 1, None)], ..Self::new(seed, link) }
    }

    /// Spreads an empty quick mesh, in which no way takes less than `shortest`, over threads. It changes nothing but the
    /// time it takes. Uplinks and runs are not looked at in such a mesh.
    pub fn spread(&mut self, threads: usize, shortest: Duration) {
        assert!(self.is_empty() && self.shards.iter().all(|shard| shard.trace.is_none()), "an empty quick mesh");
        let threads = if shortest.is_zero() { 1 } else { threads.max(1) };
        self.shards = (0..threads).map(|number| Shard::new(number, threads, None)).collect();
        self.shortest = shortest;
    }

    fn shard(&self, index: usize) -> Option<&Shard> {
        self.shards.get(index % self.shards.len())
    }

    fn shard_mut(&mut self, index: usize) -> Option<&mut Shard> {
        let shards = self.shards.len();
        self.shards.get_mut(index % shards)
    }

    fn node(&self, index: usize) -> Option<&Node> {
        self.shard(index)?.node(index)
    }

    fn node_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.shard_mut(index)?.node_mut(index)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        (0..self.len()).filter_map(|index| self.node(index))
    }

    fn give(&mut self, index: usize, input: Input) {
        let shards = self.shards.len();
        if let Some(shard) = self.shards.get_mut(index % shards) {
            shard.give(&self.common, index, input);
        }
        self.deliver();
    }

    /// What shards caused to each other.
    fn deliver(&mut self) {
        for from in 0..self.shards.len() {
            for to in 0..self.shards.len() {
                let leaving = self.shards.get_mut(from).and_then(|shard| shard.leaving.get_mut(to));
                let leaving = leaving.map(core::mem::take).unwrap_or_default();
                let Some(shard) = self.shards.get_mut(to) else { continue };
                leaving.into_iter().for_each(|coming| shard.add(coming));
            }
        }
    }

    /// Tells a peer a fact that its daemon would tell it.
    pub fn tell(&mut self, index: usize, input: Input) {
        self.give(index, input);
    }

    /// The links between the peers.
    pub fn network(&mut self) -> &mut Network {
        &mut self.common.network
    }

    /// A peer's id.
    pub fn id(&self, index: usize) -> PeerId {
        self.common.id(index)
    }

    /// A peer by its id.
    pub fn index(&self, peer: PeerId) -> Option<usize> {
        self.common.index(peer)
    }

    /// The peers, running or not.
    pub fn len(&self) -> usize {
        self.common.ids.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.common.ids.is_empty()
    }

    /// Events handled so far.
    pub fn handled(&self) -> u64 {
        self.shards.iter().map(|shard| shard.handled).sum()
    }

    /// Time since the start.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Handles events until that moment.
    pub fn run_to(&mut self, end: Time) {
        if let [shard] = &mut self.shards[..] {
            shard.run_until(end, &self.common);
        } else {
            workers::run_until(&mut self.shards, &self.common, end, self.shortest);
        }
        self.now = end.max(self.now);
    }

    /// Handles events until `span` has passed.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// Handles events until `done`, for at most `span`; whether it was done in time.
    pub fn run_until_done(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + span;
        while !done(self) && self.step(end) {}
        done(self)
    }

    /// Handles the one earliest event, or moves on to the end.
    fn step(&mut self, end: Time) -> bool {
        let next = self.shards.iter_mut().enumerate().filter_map(|(n, shard)| Some((shard.events.next()?, n))).min();
        let shard = next.and_then(|(_, n)| self.shards.get_mut(n));
        let Some((shard, (at, index, event))) = shard.and_then(|shard| {
            let popped = shard.events.pop_until(end)?;
            Some((shard, popped))
        }) else {
            self.move_to(end);
            return false;
        };
        shard.now = at;
        shard.step(&self.common, index, event);
        self.move_to(at);
        self.deliver();
        true
    }

    fn move_to(&mut self, now: Time) {
        self.now = now;
        self.shards.iter_mut().for_each(|shard| shard.now = now);
    }
}
