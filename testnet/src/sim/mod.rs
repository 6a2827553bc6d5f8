//! Many peers in one process under a virtual clock: the very [`Peer`] that `shoald` ships, driven by a seed.
//!
//! The simulator plays what a daemon is: network, disk, sandbox and clock. What happens to a peer happens to it in order
//! of time, ties in order of who caused it and when.
//!
//! | file | one question |
//! |---|---|
//! | `shard.rs` | what does a machine do? |
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
mod shard;
pub mod variants;
mod workers;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{Issuer, RevocationList, Role, SecretKey, SignedRevocations};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::{Judgement, PeerState, TaskError, TaskResult};
use shoal_protocol::rules::{RuleSet, RulesError, SignedRules};
use shoal_protocol::task::durable::{Found, Keeping};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, Input, Peer, PeerId, TaskId, TaskSpec, Time};

pub use self::counts::{Count, Counts, DATAGRAM_BYTES};
pub use self::disk::{Disk, Trouble};
pub use self::editions::Edition;
use self::event::Event;
pub use self::forgers::{Forger, Forgery};
use self::hash::FastMap;
pub use self::lures::Lure;
use self::marks::{Leak, Mark, REGIONS};
pub use self::network::{Link, Network};
use self::node::{Identity, Node};
use self::shard::{Common, Shard};

/// One sync of a disk that is well.
const SYNC: Duration = Duration::from_millis(2);
/// A fixed date for certificates: the simulated mesh has no calendar.
const TODAY_UNIX_S: u64 = 1_750_000_000;

/// How a task of the script ended, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Time,
    /// With what.
    pub result: Result<TaskResult, TaskError>,
}

/// What a task of the script turns out to be when it is run.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// On a reference core.
    run: Duration,
    /// Nothing: its own id, so that results can be told apart.
    output_bytes: Option<u64>,
}

/// What the run of a kept task writes: who made it. An end can then be told to be that of the attempt it is said to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// By which attempt.
    pub attempt: TaskRef,
    /// Where.
    pub index: usize,
}

impl Made {
    fn to_bytes(self) -> Vec<u8> {
        let numbers = [self.attempt.epoch, self.index as u64].map(u64::to_le_bytes);
        [self.attempt.task.0.as_slice(), numbers.as_flattened()].concat()
    }

    /// Reads what a run wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (task, bytes) = bytes.split_first_chunk()?;
        let (epoch, bytes) = bytes.split_first_chunk()?;
        // A mark may follow.
        let (index, _) = bytes.split_first_chunk()?;
        let attempt = TaskRef { task: TaskId(*task), epoch: u64::from_le_bytes(*epoch) };
        Some(Self { attempt, index: usize::try_from(u64::from_le_bytes(*index)).ok()? })
    }
}

/// A run in a sandbox, whatever became of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Which attempt.
    pub attempt: TaskRef,
    /// Where.
    pub index: usize,
    /// From when.
    pub start: Time,
    /// Until when, or until its machine crashed.
    pub end: Time,
}

/// An award that was sent to another peer, by a home or by who passed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awarded {
    /// When.
    pub at: Time,
    /// Which attempt.
    pub attempt: TaskRef,
    /// To whom.
    pub to: usize,
}

/// Data that crossed an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// When the last of it left.
    pub left: Time,
    /// How long it took before that.
    pub span: Duration,
    /// Whose uplink.
    pub from: usize,
    /// For whom.
    pub to: usize,
    /// How much.
    pub bytes: u64,
}

/// What one peer holds against another from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When.
    pub at: Time,
    /// Who.
    pub by: usize,
    /// Whom.
    pub about: PeerId,
    /// What follows.
    pub judgement: Judgement,
}

/// A change in what one peer believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belief {
    /// When.
    pub at: Time,
    /// Who believes it.
    pub index: usize,
    /// Of whom.
    pub about: PeerId,
    /// What.
    pub state: PeerState,
}

/// Something that the users of one peer came to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When.
    pub at: Time,
    /// By which peer.
    pub index: usize,
    /// What.
    pub news: TaskNews,
}

/// What users are told of kept tasks.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskNews {
    /// It is kept as was asked.
    Acknowledged(TaskId),
    /// It ended.
    Finished(TaskId, Box<Result<TaskResult, TaskError>>),
    /// What was asked for under this ticket.
    Found(u64, Option<Box<Found>>),
    /// A record of it cannot be read.
    Damaged(Option<TaskId>),
    /// Something was not said to a neighbour.
    Withheld {
        /// To whom.
        from: PeerId,
        /// What kind of message.
        what: String,
        /// Why not.
        why: String,
    },
}

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

    /// From now on every peer that is added has a disk, [`Sim::take_told`] has something to give, and that a task ends twice
    /// is for the script to judge.
    pub fn keep_tasks(&mut self) {
        self.common.keeps_tasks = true;
    }

    /// What users were told since the last call, in order of time.
    pub fn take_told(&mut self) -> Vec<Told> {
        let mut told: Vec<Told> = self.shards.iter_mut().flat_map(|shard| shard.told.drain(..)).collect();
        told.sort_by_key(|told| told.at);
        told
    }

    /// A peer's disk.
    pub fn disk(&self, index: usize) -> Option<&Disk> {
        self.node(index)?.disk.as_ref()
    }

    /// What is wrong with a peer's disk from now on, and how long one sync takes.
    pub fn trouble_disk(&mut self, index: usize, trouble: Option<Trouble>, sync: Duration) {
        if let Some(disk) = self.node_mut(index).and_then(|node| node.disk.as_mut()) {
            disk.trouble = trouble;
            disk.sync = sync;
        }
    }

    /// Flips a bit in a record at rest; the key of that record, and what it was.
    pub fn flip_a_bit(&mut self, index: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let node = self.node_mut(index)?;
        node.disk.as_mut()?.flip_a_bit(&mut node.rng)
    }

    /// Puts a new disk into a machine that does not run.
    pub fn replace_disk(&mut self, index: usize) {
        if let Some(node) = self.node_mut(index).filter(|node| node.peer.is_none()) {
            node.disk = Some(Disk::new(SYNC));
        }
    }

    /// How much faster a machine's clock runs, in millionths; before its first start.
    pub fn drift(&mut self, index: usize, ppm: i32) {
        if let Some(node) = self.node_mut(index).filter(|node| node.process == 0) {
            node.drift_ppm = ppm;
        }
    }

    /// Which version a machine runs from its next start on.
    pub fn install(&mut self, index: usize, edition: Edition) {
        if let Some(node) = self.node_mut(index) {
            node.edition = edition;
        }
    }

    /// A machine lies from now on, or does no more. Only where all machines are on one thread.
    pub fn lie(&mut self, index: usize, lies: bool) {
        self.common.has_liars |= lies;
        self.common.lied.extend(lies.then_some(index));
        match lies {
            true => self.common.liars.insert(index),
            false => self.common.liars.remove(&index),
        };
    }

    /// A machine wants work from its next start on, and does not do it.
    pub fn lure(&mut self, index: usize, lure: Lure) {
        self.common.lures.insert(index, lure);
        self.common.lied.insert(index);
        if let Some(node) = self.node_mut(index) {
            node.config = Lure::config(&node.config);
        }
    }

    /// A machine forges answers from now on.
    pub fn forge(&mut self, index: usize, forger: Forger) {
        self.common.forges = true;
        if let Some(node) = self.node_mut(index) {
            node.forger = Some(forger);
        }
    }

    /// From now on [`Sim::take_awards`] has something to give.
    pub fn watch_awards(&mut self) {
        self.common.watches_awards = true;
    }

    /// Awards to others since the last call, in order of time where there is one thread.
    pub fn take_awards(&mut self) -> Vec<Awarded> {
        self.shards.iter_mut().flat_map(|shard| shard.awards.drain(..)).collect()
    }

    /// From now on [`Sim::take_moves`] has something to give. Only where uplinks are modelled.
    pub fn watch_moves(&mut self) {
        self.common.watches_moves = true;
    }

    /// Data that crossed uplinks since the last call.
    pub fn take_moves(&mut self) -> Vec<Move> {
        self.shards.iter_mut().flat_map(|shard| shard.moves.drain(..)).collect()
    }

    /// Puts a label into a machine's certificate; before its first start.
    pub fn label(&mut self, index: usize, key: &str, value: &str) {
        if let Some(identity) = self.common.identities.get_mut(index) {
            identity.member.labels.insert(key.to_owned(), value.to_owned());
        }
    }

    /// Whoever signs for the mesh deploys business rules, and tells one peer so.
    pub fn deploy(&mut self, at: usize, set: RuleSet) -> Result<(), RulesError> {
        let set = RuleSet { mesh: self.common.mesh, issued_unix_s: TODAY_UNIX_S, ..set };
        let verified = Box::new(SignedRules::sign(&set, &self.common.issuer).verify(self.common.mesh)?);
        if let Some(node) = self.node_mut(at) {
            node.rules = Some(verified.clone());
        }
        self.give(at, Input::RulesDeployed(verified));
        Ok(())
    }

    /// Which version of the rules is in force at a peer.
    pub fn rules_version(&self, index: usize) -> Option<u64> {
        Some(self.peer(index)?.deployed().held()?.rules.set().version)
    }

    /// What peers held against others since the last call, in order of time where there is one thread.
    pub fn take_judged(&mut self) -> Vec<Judged> {
        self.shards.iter_mut().flat_map(|shard| shard.judged.drain(..)).collect()
    }

    /// A machine's calendar is set anew; its clock goes on.
    pub fn set_calendar(&mut self, index: usize, off_ms: i64) {
        if let Some(node) = self.node_mut(index) {
            node.calendar_off_ms = off_ms;
        }
    }

    /// From now on [`Sim::take_beliefs`] has something to give.
    pub fn watch_beliefs(&mut self) {
        self.common.watches_beliefs = true;
    }

    /// Adds a peer that knows the first one as its bootstrap address; it starts at once.
    pub fn add(&mut self, role: Role, config: PeerConfig) -> usize {
        let index = self.add_cold(role, config);
        self.boot(index);
        index
    }

    /// Adds a peer that does not run yet; it starts, knowing nobody, with [`Sim::start`].
    pub fn add_cold(&mut self, role: Role, config: PeerConfig) -> usize {
        let (index, seed) = (self.len(), self.common.seed);
        let identity = Identity::new(index, role, seed);
        self.common.indices.insert(identity.member.peer, index);
        self.common.ids.push(identity.member.peer);
        self.common.identities.push(identity);
        let disk = self.common.keeps_tasks.then(|| Disk::new(SYNC));
        if let Some(shard) = self.shard_mut(index) {
            let mut node = Node::new(index, config, seed);
            node.disk = disk;
            shard.nodes.push(node);
        }
        index
    }

    /// Has the certificate of a machine, which has not started yet, say in which of [`REGIONS`] it is.
    pub fn settle(&mut self, index: usize, region: usize) {
        let Some(identity) = self.common.identities.get_mut(index) else { return };
        if let Some(name) = REGIONS.get(region) {
            identity.member.labels.insert(shoal_protocol::residency::RESIDENCY.to_owned(), (*name).to_owned());
        }
        if self.common.regions.len() <= index {
            self.common.regions.resize(index + 1, None);
        }
        self.common.regions[index] = Some(region);
    }

    /// There is a blob of marked data; whoever holds it has its manifest.
    pub fn mark_blob(&mut self, id: BlobId, mark: Mark) {
        self.common.marked.insert(id, mark);
        self.watch_marks();
    }

    /// Everything that is sent is searched for marks.
    pub fn watch_marks(&mut self) {
        self.common.watches_marks = true;
    }

    /// Marked data that reached who may not have it, since the last call.
    pub fn take_leaks(&mut self) -> Vec<Leak> {
        self.shards.iter_mut().flat_map(|shard| shard.leaks.drain(..)).collect()
    }

    /// Starts a peer that remembers these others from an earlier life, as a daemon does from its disk. They must have been
    /// added; those that do not run yet are called as soon as they do.
    pub fn start(&mut self, index: usize, remembered: &[usize]) {
        self.boot_process(index);
        for other in remembered {
            let Some(identity) = self.common.identities.get_mut(*other) else { continue };
            let record = identity.record(self.common.mesh, &self.common.issuer);
            let verified = identity.verified(&record);
            if let (Some(verified), Some(shard)) = (verified, self.shard_mut(index)) {
                shard.given(Duration::ZERO, index, verified);
            }
        }
    }

    /// Tells a peer the address of another.
    pub fn introduce(&mut self, index: usize, other: usize) {
        self.give(index, Input::Discovered { peer: None, address: node::address(other), bootstrap: true });
    }

    /// Adds `count` like peers.
    pub fn add_many(&mut self, count: usize, role: Role, config: &PeerConfig) -> Vec<usize> {
        (0..count).map(|_| self.add(role, config.clone())).collect()
    }

    fn boot_process(&mut self, index: usize) {
        let (now, seed) = (self.now, self.rng.random());
        let Some(member) = self.common.identities.get(index).map(|identity| identity.member.clone()) else { return };
        let Some(node) = self.node_mut(index) else { return };
        node.boot(Peer::new(member, node.config.clone(), seed, node.clock(now)));
        let (process, unix_ms) = (node.process, node.unix_ms(now));
        let restored = node.disk.as_mut().map(|disk| disk.start(unix_ms));
        let Some(identity) = self.common.identities.get_mut(index) else { return };
        identity.boot(process);
        let record = identity.record(self.common.mesh, &self.common.issuer);
        restored.into_iter().for_each(|restored| self.give(index, restored));
        let lists = self.node(index).map(|node| node.revocations.clone()).unwrap_or_default();
        for list in lists {
            if let Ok(verified) = list.verify(self.common.mesh) {
                self.give(index, Input::Revoked(Box::new(verified)));
            }
        }
        if let Some(rules) = self.node(index).and_then(|node| node.rules.clone()) {
            self.give(index, Input::RulesDeployed(rules));
        }
        self.give(index, Input::RecordSigned(record));
    }

    fn boot(&mut self, index: usize) {
        self.boot_process(index);
        let bootstrap = if index == 0 { 1 } else { 0 };
        let address = node::address(bootstrap);
        self.give(index, Input::Discovered { peer: None, address, bootstrap: true });
    }

    // ── The script ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Time since the start.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The links between the peers.
    pub fn network(&mut self) -> &mut Network {
        &mut self.common.network
    }

    /// A user at `home` submits a task that takes `run` on a reference core.
    pub fn submit(&mut self, home: usize, run: Duration, change: impl FnOnce(&mut TaskSpec)) -> TaskId {
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::inline(vec![0; 1_000]));
        change(&mut spec);
        self.submit_work(home, "task".into(), spec, Work { run, output_bytes: None })
    }

    /// A user submits a task, under an id of its own, that is kept and takes `run` on a reference core.
    pub fn submit_kept(&mut self, home: usize, task: TaskId, spec: TaskSpec, keeping: Keeping, run: Duration) {
        self.common.works.insert(task, Work { run, output_bytes: None });
        self.give(home, Input::Submitted { task, name: "kept".into(), spec, keeping });
    }

    /// A user at `home` submits a task that takes `run` on a reference core and writes `output_bytes`.
    pub fn submit_spec(&mut self, home: usize, spec: TaskSpec, run: Duration, output_bytes: u64) -> TaskId {
        self.submit_work(home, String::new(), spec, Work { run, output_bytes: Some(output_bytes) })
    }

    fn submit_work(&mut self, home: usize, name: String, spec: TaskSpec, work: Work) -> TaskId {
        self.submitted += 1;
        let task = TaskId::derive(self.id(home), &self.submitted.to_le_bytes());
        self.common.works.insert(task, work);
        if let Some(shard) = self.shard_mut(home) {
            shard.open.insert(task, home);
        }
        self.give(home, Input::Submitted { task, name, spec, keeping: Keeping::default() });
        task
    }

    /// From now on every run of a module takes this long on a reference core, whatever its task was said to take.
    pub fn set_work(&mut self, module: BlobId, run: Duration) {
        self.common.modules.insert(module, run);
    }

    /// Tells a peer a fact that its daemon would tell it.
    pub fn tell(&mut self, index: usize, input: Input) {
        self.give(index, input);
    }

    /// The peer's process dies without a word.
    pub fn crash(&mut self, index: usize) {
        if let Some(shard) = self.shard_mut(index) {
            shard.crash(index);
        }
        self.deliver();
    }

    /// The unfinished tasks of a peer's users.
    pub fn open_tasks_of(&self, index: usize) -> Vec<TaskId> {
        let open = self.shard(index).into_iter().flat_map(|shard| &shard.open);
        open.filter(|(_, home)| **home == index).map(|(task, _)| *task).collect()
    }

    /// Whom a crashed peer was connected to.
    pub fn neighbours_before(&self, index: usize) -> Vec<usize> {
        self.node(index).map(|node| node.neighbours_before.clone()).unwrap_or_default()
    }

    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> usize {
        self.shards.iter().map(|shard| shard.open.len()).sum()
    }

    /// The peer's process starts again, with the same identity and nothing else.
    pub fn restart(&mut self, index: usize) {
        self.crash(index);
        self.boot(index);
    }

    /// The peer's process is stopped: everything that reaches it waits.
    pub fn freeze(&mut self, index: usize) {
        if let Some(node) = self.node_mut(index) {
            node.frozen = true;
        }
    }

    /// The stopped process goes on, and finds everything that waited.
    pub fn thaw(&mut self, index: usize) {
        let now = self.now;
        let Some(shard) = self.shard_mut(index) else { return };
        let Some(node) = shard.node_mut(index) else { return };
        node.frozen = false;
        let waiting: Vec<Event> = node.waiting.drain(..).collect();
        for event in waiting {
            let coming = shard.node_mut(index).map(|node| node.causes(now, index, event));
            coming.into_iter().for_each(|coming| shard.add(coming));
        }
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

    // ── What a script looks at ──────────────────────────────────────────────────────────────────────────────────

    /// A peer's id.
    pub fn id(&self, index: usize) -> PeerId {
        self.common.id(index)
    }

    /// A peer by its id.
    pub fn index(&self, peer: PeerId) -> Option<usize> {
        self.common.index(peer)
    }

    /// How a task ended, if it has.
    pub fn ended(&self, task: TaskId) -> Option<&Ended> {
        self.shards.iter().find_map(|shard| shard.ended.get(&task))
    }

    /// Where a task ended well.
    pub fn executor(&self, task: TaskId) -> Option<usize> {
        let ended = self.ended(task)?.result.as_ref().ok()?;
        self.index(ended.executor)
    }

    /// Where an attempt at a task runs now.
    pub fn running_at(&self, task: TaskId) -> Option<usize> {
        let runs_it = |node: &&Node| node.running.iter().any(|attempt| attempt.task == task);
        self.nodes().find(runs_it).map(|node| node.index)
    }

    /// Whether every running peer sees every other running peer alive, and nobody else.
    pub fn converged(&self) -> bool {
        let running = || self.nodes().filter_map(|node| Some((self.id(node.index), node.peer.as_ref()?)));
        let mut up: Vec<PeerId> = running().map(|(id, _)| id).collect();
        up.sort_unstable();
        running().all(|(me, peer)| up.iter().copied().filter(|other| *other != me).eq(peer.alive()))
    }

    /// Pairs of running peers of which the first does not see the second alive, or sees it though it does not run.
    pub fn strangers(&self) -> Vec<(usize, usize)> {
        let mut strangers = Vec::new();
        for (node, peer) in self.nodes().filter_map(|node| Some((node, node.peer.as_ref()?))) {
            let views = peer.peers(node.clock(self.now));
            for other in self.nodes().filter(|other| other.index != node.index) {
                let id = self.id(other.index);
                let is_seen = views.iter().any(|view| view.peer == id && view.state == PeerState::Alive);
                if is_seen != other.peer.is_some() {
                    strangers.push((node.index, other.index));
                }
            }
        }
        strangers
    }

    /// A running peer, to ask it what people may ask.
    pub fn peer(&self, index: usize) -> Option<&Peer> {
        self.node(index)?.peer.as_ref()
    }

    /// What a peer's clock shows; nothing when its process does not run, or stands still.
    pub fn clock(&self, index: usize) -> Option<Time> {
        let node = self.node(index).filter(|node| node.peer.is_some() && !node.frozen)?;
        Some(node.clock(self.now))
    }

    /// Whom a peer is connected to.
    pub fn neighbours(&self, index: usize) -> Vec<usize> {
        self.node(index).map(|node| node.links.others().collect()).unwrap_or_default()
    }

    /// The hash over everything every peer did so far, in order.
    pub fn trace_hash(&self) -> String {
        let trace = self.shards.first().and_then(|shard| shard.trace.as_ref());
        trace.map_or_else(String::new, |trace| trace.finalize().to_hex().to_string())
    }

    /// Every run so far in order of their starts, in a quick simulation of one thread.
    pub fn runs(&self) -> &[Ran] {
        self.shards.first().map(|shard| &shard.runs[..]).unwrap_or_default()
    }

    /// When the input of a task that moved had left its home, where uplinks are modelled in a simulation of one thread.
    pub fn departed(&self, task: TaskId) -> Option<Time> {
        self.shards.first()?.departed.get(&task).copied()
    }

    /// What crossed the network.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { by_sender: self.nodes().map(|node| node.sent).collect(), ..Counts::default() };
        for (kind, count) in self.shards.iter().flat_map(|shard| &shard.sent) {
            *counts.by_kind.entry(*kind).or_default() += *count;
        }
        counts
    }

    /// What peers came to believe of each other since the last call, in order of time.
    pub fn take_beliefs(&mut self) -> Vec<Belief> {
        let mut beliefs: Vec<Belief> = self.shards.iter_mut().flat_map(|shard| shard.beliefs.drain(..)).collect();
        beliefs.sort_by_key(|belief| (belief.at, belief.index));
        beliefs
    }

    /// Whoever signs for the mesh takes its word back from these, and tells one peer so.
    pub fn revoke(&mut self, at: usize, list: &RevocationList) -> Option<SignedRevocations> {
        let signed = list.sign(&self.common.issuer);
        let verified = signed.clone().verify(self.common.mesh).ok()?;
        self.give(at, Input::Revoked(Box::new(verified)));
        Some(signed)
    }

    /// A list of nobody.
    pub fn first_revocations(&self) -> RevocationList {
        let (peers, issuers) = (BTreeSet::new(), BTreeSet::new());
        let mesh = self.common.mesh;
        RevocationList { mesh, version: 1, previous: [0; 32], issued_unix_s: TODAY_UNIX_S, peers, issuers }
    }

    /// When each peer learnt of revocations, since the last call.
    pub fn take_kept_revocations(&mut self) -> Vec<(Time, usize)> {
        self.shards.iter_mut().flat_map(|shard| shard.kept_revocations.drain(..)).collect()
    }

    /// From now on measures the time a peer takes to decide about a task that was submitted.
    pub fn time_decisions(&mut self) {
        self.common.times_decisions = true;
    }

    /// What was measured since the last call.
    pub fn take_decisions_ns(&mut self) -> Vec<u32> {
        self.shards.iter_mut().flat_map(|shard| shard.decisions_ns.drain(..)).collect()
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
}
