//! Many peers in one process under a virtual clock: the very [`Peer`] that `shoald` ships, driven by a seed.
//!
//! The simulator plays what a daemon is: network, disk, sandbox and clock. One event is handled at a time, the earliest
//! first, ties in order of creation.
//!
//! | | messages | signatures | trace hash |
//! |---|---|---|---|
//! | [`Sim::new`] | travel as the bytes that would cross the wire | are checked | yes |
//! | [`Sim::quick`] | are handed over, their encoded size counted | of known records are taken as checked | no |
//!
//! **Invariant:** the same seed and script give the same run; checked after every event: no task ends twice, no peer runs
//! more than its cores.
//! **Not here:** deciding anything a peer decides.

pub mod coordinates;
mod counts;
mod event;
mod hash;
pub mod input;
pub mod matrix;
pub mod membership;
mod network;
mod node;
pub mod place;
pub mod report;

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{Role, SecretKey, SignedRecord};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::{PeerState, TaskError, TaskResult};
use shoal_protocol::task::durable::Keeping;
use shoal_protocol::task::spec::{BlobRef, Ending, Payload, RunReport};
use shoal_protocol::{BlobId, Event as News, Input, Message, Output, PeerId, TaskId, TaskSpec, Time};

pub use self::counts::{Count, Counts, DATAGRAM_BYTES};
use self::event::{Carried, Event, Events};
use self::hash::FastMap;
pub use self::network::{Link, Network};
use self::node::Node;

/// A fixed date for certificates: the simulated mesh has no calendar.
const TODAY_UNIX_S: u64 = 1_750_000_000;
/// A dial to somebody who does not answer ends after this, as a QUIC handshake does.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection whose other end vanished is noticed after this, as a QUIC idle timeout does.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A simulated mesh.
#[derive(Debug)]
pub struct Sim {
    now: Time,
    seed: u64,
    rng: Pcg64Mcg,
    mesh_key: SecretKey,
    nodes: Vec<Node>,
    indices: FastMap<PeerId, usize>,
    network: Network,
    counts: Counts,
    events: Events,
    works: HashMap<TaskId, Work>,
    /// Unfinished tasks and their homes.
    open: BTreeMap<TaskId, usize>,
    ended: HashMap<TaskId, Ended>,
    /// Kept in quick runs only.
    runs: Vec<Ran>,
    /// When the input of each task that moved had left its home; kept where uplinks are modelled.
    departed: HashMap<TaskId, Time>,
    beliefs: Option<Vec<Belief>>,
    decisions_ns: Option<Vec<u32>>,
    /// None in quick runs.
    trace: Option<Box<blake3::Hasher>>,
    outputs: Vec<Output>,
    handled: u64,
    submitted: u64,
}

impl Sim {
    /// An empty mesh; everything that happens by chance comes from `seed`.
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Time::ZERO,
            seed,
            rng: Pcg64Mcg::seed_from_u64(seed),
            mesh_key: SecretKey::from_bytes(blake3::hash(&seed.to_le_bytes()).as_bytes()),
            nodes: Vec::new(),
            indices: FastMap::default(),
            network: Network::new(link),
            counts: Counts::default(),
            events: Events::default(),
            works: HashMap::new(),
            open: BTreeMap::new(),
            ended: HashMap::new(),
            runs: Vec::new(),
            departed: HashMap::new(),
            beliefs: None,
            decisions_ns: None,
            trace: Some(Box::default()),
            outputs: Vec::new(),
            handled: 0,
            submitted: 0,
        }
    }

    /// The same, for many peers or many tasks: see the table above for what is taken on trust.
    pub fn quick(seed: u64, link: Link) -> Self {
        Self { trace: None, ..Self::new(seed, link) }
    }

    fn is_quick(&self) -> bool {
        self.trace.is_none()
    }

    /// From now on [`Sim::take_beliefs`] has something to give.
    pub fn watch_beliefs(&mut self) {
        self.beliefs = Some(Vec::new());
    }

    /// Adds a peer that knows the first one as its bootstrap address; it starts at once.
    pub fn add(&mut self, role: Role, config: PeerConfig) -> usize {
        let index = self.add_cold(role, config);
        self.boot(index);
        index
    }

    /// Adds a peer that does not run yet; it starts, knowing nobody, with [`Sim::start`].
    pub fn add_cold(&mut self, role: Role, config: PeerConfig) -> usize {
        let index = self.nodes.len();
        let node = Node::new(index, role, config, &self.mesh_key, self.seed);
        self.indices.insert(node.member.peer, index);
        self.nodes.push(node);
        index
    }

    /// Starts a peer that remembers these others from an earlier life, as a daemon does from its disk. They must have been
    /// added; those that do not run yet are called as soon as they do.
    pub fn start(&mut self, index: usize, remembered: &[usize]) {
        self.boot_process(index);
        for other in remembered {
            if let Some(verified) = self.nodes.get_mut(*other).map(|node| node.verified(&self.mesh_key)) {
                self.events.add(self.now, index, Event::Given(Box::new(verified)));
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
        let seed = self.rng.random();
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.boot(self.now, seed);
        let record = node.record(&self.mesh_key);
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
        &mut self.network
    }

    /// A user at `home` submits a task that takes `run` on a reference core.
    pub fn submit(&mut self, home: usize, run: Duration, change: impl FnOnce(&mut TaskSpec)) -> TaskId {
        self.submitted += 1;
        let task = TaskId::derive(self.id(home), &self.submitted.to_le_bytes());
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::Inline(vec![0; 1_000]));
        change(&mut spec);
        self.works.insert(task, Work { run, output_bytes: None });
        self.open.insert(task, home);
        self.give(home, Input::Submitted { task, name: "task".into(), spec, keeping: Keeping::default() });
        task
    }

    /// A user at `home` submits a task that takes `run` on a reference core and writes `output_bytes`.
    pub fn submit_spec(&mut self, home: usize, spec: TaskSpec, run: Duration, output_bytes: u64) -> TaskId {
        self.submitted += 1;
        let task = TaskId::derive(self.id(home), &self.submitted.to_le_bytes());
        self.works.insert(task, Work { run, output_bytes: Some(output_bytes) });
        self.open.insert(task, home);
        self.give(home, Input::Submitted { task, name: String::new(), spec, keeping: Keeping::default() });
        task
    }

    /// Tells a peer a fact that its daemon would tell it.
    pub fn tell(&mut self, index: usize, input: Input) {
        self.give(index, input);
    }

    /// The peer's process dies without a word.
    pub fn crash(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.crash();
        }
        let now = self.now;
        for ran in self.runs.iter_mut().filter(|ran| ran.index == index) {
            ran.end = ran.end.min(now);
        }
        let others = self.network.disconnect_all(index);
        if let Some(node) = self.nodes.get_mut(index) {
            node.neighbours_before = others.iter().map(|(other, _)| *other).collect();
        }
        for (other, connection) in others {
            self.events.add(self.now + IDLE_TIMEOUT, other, Event::Closed { by: index, connection });
        }
    }

    /// The unfinished tasks of a peer's users.
    pub fn open_tasks_of(&self, index: usize) -> Vec<TaskId> {
        self.open.iter().filter(|(_, home)| **home == index).map(|(task, _)| *task).collect()
    }

    /// Whom a crashed peer was connected to.
    pub fn neighbours_before(&self, index: usize) -> Vec<usize> {
        self.nodes.get(index).map(|node| node.neighbours_before.clone()).unwrap_or_default()
    }

    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> usize {
        self.open.len()
    }

    /// The peer's process starts again, with the same identity and nothing else.
    pub fn restart(&mut self, index: usize) {
        self.crash(index);
        self.boot(index);
    }

    /// The peer's process is stopped: everything that reaches it waits.
    pub fn freeze(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.frozen = true;
        }
    }

    /// The stopped process goes on, and finds everything that waited.
    pub fn thaw(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.frozen = false;
        for event in node.waiting.drain(..) {
            self.events.add(self.now, index, event);
        }
    }

    /// Handles events until that moment.
    pub fn run_to(&mut self, end: Time) {
        self.run_until(end, |_| false);
    }

    /// Handles events until `span` has passed.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span, |_| false);
    }

    /// Handles events until `done`, for at most `span`; whether it was done in time.
    pub fn run_until_done(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.run_until(self.now + span, &done);
        done(self)
    }

    fn run_until(&mut self, end: Time, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let Some((at, index, event)) = self.events.pop_until(end) else {
                self.now = end;
                return;
            };
            self.now = at;
            self.step(index, event);
        }
    }

    // ── What a script looks at ──────────────────────────────────────────────────────────────────────────────────

    /// A peer's id.
    pub fn id(&self, index: usize) -> PeerId {
        self.nodes.get(index).map_or(PeerId([0; 32]), |node| node.member.peer)
    }

    /// A peer by its id.
    pub fn index(&self, peer: PeerId) -> Option<usize> {
        self.indices.get(&peer).copied()
    }

    /// How a task ended, if it has.
    pub fn ended(&self, task: TaskId) -> Option<&Ended> {
        self.ended.get(&task)
    }

    /// Where a task ended well.
    pub fn executor(&self, task: TaskId) -> Option<usize> {
        let ended = self.ended.get(&task)?.result.as_ref().ok()?;
        self.indices.get(&ended.executor).copied()
    }

    /// Where an attempt at a task runs now.
    pub fn running_at(&self, task: TaskId) -> Option<usize> {
        self.nodes.iter().position(|node| node.running.iter().any(|attempt| attempt.task == task))
    }

    /// Whether every running peer sees every other running peer alive, and nobody else.
    pub fn converged(&self) -> bool {
        let up: Vec<_> = self.nodes.iter().filter(|node| node.peer.is_some()).map(|node| node.member.peer).collect();
        self.nodes.iter().filter_map(|node| Some((node, node.peer.as_ref()?))).all(|(node, peer)| {
            let alive: Vec<_> = peer
                .peers(self.now)
                .into_iter()
                .filter(|view| view.state == PeerState::Alive)
                .map(|view| view.peer)
                .collect();
            up.iter().all(|peer| *peer == node.member.peer || alive.contains(peer)) && alive.len() + 1 == up.len()
        })
    }

    /// A running peer, to ask it what people may ask.
    pub fn peer(&self, index: usize) -> Option<&shoal_protocol::Peer> {
        self.nodes.get(index)?.peer.as_ref()
    }

    /// Whom a peer is connected to.
    pub fn neighbours(&self, index: usize) -> &[usize] {
        self.network.neighbours(index)
    }

    /// The hash over everything every peer did so far, in order.
    pub fn trace_hash(&self) -> String {
        self.trace.as_ref().map_or_else(String::new, |trace| trace.finalize().to_hex().to_string())
    }

    /// Every run so far in order of their starts, in a quick simulation.
    pub fn runs(&self) -> &[Ran] {
        &self.runs
    }

    /// What crossed the network.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What peers came to believe of each other since the last call.
    pub fn take_beliefs(&mut self) -> Vec<Belief> {
        self.beliefs.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// From now on measures the time a peer takes to decide about a task that was submitted.
    pub fn time_decisions(&mut self) {
        self.decisions_ns = Some(Vec::new());
    }

    /// What was measured since the last call.
    pub fn take_decisions_ns(&mut self) -> Vec<u32> {
        self.decisions_ns.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// The peers, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Events handled so far.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    // ── Playing the daemon ──────────────────────────────────────────────────────────────────────────────────────

    fn step(&mut self, index: usize, event: Event) {
        self.handled += 1;
        let Some(node) = self.nodes.get_mut(index) else { return };
        if node.frozen {
            return node.waiting.push(event);
        }
        match event {
            Event::Given(input) => self.give(index, *input),
            Event::Arrived { from, connection, carried } => self.arrive(index, from, connection, carried),
            Event::Closed { by, connection } => {
                self.network.drained(index, connection);
                if !self.network.is_connected(index, by) {
                    self.give(index, Input::Disconnected { peer: self.id(by) });
                }
            }
            Event::Wake { process } => self.wake(index, process),
            Event::Answered { address, peer } => self.answer(index, address, peer),
            Event::RunEnded { process, attempt, report } => {
                if node.process == process && node.running.remove(&attempt) {
                    self.give(index, Input::Finished { attempt, report: *report });
                }
            }
        }
    }

    fn arrive(&mut self, index: usize, from: usize, connection: u64, carried: Carried) {
        if !self.network.delivers(from, index, connection) {
            return;
        }
        let message = match carried {
            Carried::Value(message) => *message,
            Carried::Bytes(bytes) => match Message::decode(&bytes) {
                Ok(message) => message,
                Err(error) => panic!("an honest peer's message cannot be read: {error}"),
            },
        };
        self.give(index, Input::Received { from: self.id(from), message });
    }

    fn given(&mut self, after: Duration, index: usize, input: Input) {
        self.events.add(self.now + after, index, Event::Given(Box::new(input)));
    }

    fn wake(&mut self, index: usize, process: u64) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        if node.process != process || node.wake_at.is_none_or(|at| at > self.now) {
            return;
        }
        node.wake_at = None;
        self.give(index, Input::TimerFired);
    }

    /// Ends a dial: both sides connect, or the dialler is told that nobody answered.
    fn answer(&mut self, index: usize, address: String, peer: Option<PeerId>) {
        let there = node::index_of(&address).filter(|there| {
            *there != index
                && self.nodes.get(*there).is_some_and(|node| node.peer.is_some() && !node.frozen)
                && self.network.reachable(index, *there)
                && peer.is_none_or(|peer| peer == self.id(*there))
        });
        let Some(there) = there else {
            let reason = "nobody answered".to_owned();
            return self.give(index, Input::DialFailed { peer, address: Some(address), reason });
        };
        if self.network.is_connected(index, there) {
            return;
        }
        self.network.connect(index, there);
        let (here, other) = (
            self.nodes.get(index).map(|node| node.member.clone()),
            self.nodes.get(there).map(|node| node.member.clone()),
        );
        if let (Some(here), Some(other)) = (here, other) {
            self.give(index, Input::Connected { member: other, address: Some(address) });
            self.give(there, Input::Connected { member: here, address: None });
        }
    }

    /// Tells a peer a fact and carries out what it orders.
    fn give(&mut self, index: usize, input: Input) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let Some(peer) = node.peer.as_mut() else { return };
        let clock = self.decisions_ns.as_ref().filter(|_| matches!(input, Input::Submitted { .. }));
        let clock = clock.map(|_| std::time::Instant::now());
        peer.handle(self.now, input);
        if let (Some(clock), Some(decisions_ns)) = (clock, &mut self.decisions_ns) {
            decisions_ns.push(u32::try_from(clock.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        let mut outputs = core::mem::take(&mut self.outputs);
        while let Some(output) = peer.poll_output() {
            outputs.push(output);
        }
        if let Some((at, _)) = peer.poll_timeout()
            && node.wake_at.is_none_or(|wake_at| at < wake_at)
        {
            let at = at.max(self.now);
            node.wake_at = Some(at);
            self.events.add(at, index, Event::Wake { process: node.process });
        }
        for output in outputs.drain(..) {
            if let Some(trace) = &mut self.trace {
                trace.update(&self.now.as_micros().to_le_bytes()).update(&index.to_le_bytes());
                // Messages enter the trace as the bytes that are sent, in `send`: printing them would cost most of a run.
                if !matches!(output, Output::Send { .. }) {
                    trace.update(format!("{output:?}\n").as_bytes());
                }
            }
            self.carry_out(index, output);
        }
        self.outputs = outputs;
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(index, to, message),
            Output::Dial { peer, addresses } => {
                let Some(address) = addresses.into_iter().next() else { return };
                let rtt = node::index_of(&address).and_then(|there| self.network.rtt(index, there));
                let at = self.now + rtt.unwrap_or(DIAL_TIMEOUT);
                self.events.add(at, index, Event::Answered { address, peer });
            }
            Output::Disconnect { peer, .. } => self.disconnect(index, peer),
            Output::VerifyRecords(records) => {
                for record in records {
                    if let Some(verified) = self.verify(record) {
                        self.given(Duration::ZERO, index, verified);
                    }
                }
            }
            Output::Fetch { attempt, blobs } => self.fetch(index, attempt, &blobs),
            Output::Prepare { module } => {
                let took = Duration::from_millis(40);
                self.given(took, index, Input::Prepared { module, result: Ok(took) });
            }
            Output::Execute(execution) => self.execute(index, execution.attempt),
            Output::Abort(attempt) => {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.running.remove(&attempt);
                }
            }
            Output::Finish { task, mut result } => {
                if self.is_quick()
                    && let Ok(result) = &mut result
                {
                    result.report.output = Payload::Inline(Vec::new());
                }
                self.open.remove(&task);
                let twice = self.ended.insert(task, Ended { at: self.now, result });
                assert!(twice.is_none(), "seed {}: {task} ended twice", self.seed);
            }
            Output::Notify(News::PeerChanged { peer: about, state, .. }) => {
                let at = self.now;
                self.beliefs.iter_mut().for_each(|beliefs| beliefs.push(Belief { at, index, about, state }));
            }
            Output::Notify(News::TaskChanged { .. }) => {}
            Output::Notify(News::RecordDamaged { .. }) | Output::PingAnswered { .. } | Output::ShutdownReady => {}
            // Peers here keep nothing on disk: they are never told of a store, and order nothing of it.
            Output::Persist { .. } | Output::Acknowledged { .. } => {}
            Output::Keep { .. } | Output::Forget { .. } | Output::Found { .. } => {}
        }
    }

    fn send(&mut self, from: usize, to: PeerId, message: Message) {
        let Some(to) = self.index(to) else { return };
        let is_result = matches!(message, Message::Outcome(_));
        let award = match &message {
            Message::Award(award) => Some((award.attempt.task, award.home, award.hops)),
            _ => None,
        };
        let (carried, bytes, bulk) = match &mut self.trace {
            Some(trace) => {
                let bytes = message.encode();
                trace.update(&to.to_le_bytes()).update(&bytes);
                self.counts.sent(from, &message, bytes.len());
                let (size, bulk) = (bytes.len(), counts::bulk(&message));
                (Carried::Bytes(bytes), size, bulk)
            }
            None => {
                let size = message.encoded_len();
                self.counts.sent(from, &message, size);
                let bulk = counts::bulk(&message);
                (Carried::Value(Box::new(message)), size, bulk)
            }
        };
        let modelled = self.network.models_uplinks();
        let mut left = self.now;
        let sent = if bulk > 0 && modelled {
            let bits_per_s = self.nodes.get(from).map_or(1, |node| node.config.uplink_bits_per_s);
            left = match is_result {
                // By the benchmark's rules results do not wait for each other.
                true => self.now + network::on_the_wire(bulk, bits_per_s),
                false => self.network.leave(self.now, from, bulk, bits_per_s),
            };
            self.network.transmit_bulk((from, to), (bytes, left), &mut self.rng)
        } else {
            self.network.transmit(self.now, from, to, bytes, &mut self.rng)
        };
        let not_before = award.filter(|_| modelled).and_then(|award| self.straight(award, to, left));
        let sent = sent.map(|(at, connection)| (not_before.map_or(at, |straight| at.max(straight)), connection));
        if let Some((at, connection)) = sent {
            self.events.add(at, to, Event::Arrived { from, connection, carried });
        }
    }

    /// When an input would be at `to` had it come straight from its home. In a measured matrix the way over a third peer can
    /// be shorter; by the benchmark's rules nothing is gained by that.
    fn straight(&mut self, (task, home, hops): (TaskId, PeerId, u8), to: usize, left: Time) -> Option<Time> {
        if hops == 0 {
            self.departed.insert(task, left);
            return None;
        }
        let home = self.index(home)?;
        Some(*self.departed.get(&task)? + self.network.delay(home, to))
    }

    /// Brings blobs from their holders.
    fn fetch(&mut self, index: usize, attempt: TaskRef, blobs: &[BlobRef]) {
        let mut there = self.now;
        for blob in blobs {
            let holder = self.index(blob.holder).filter(|holder| self.network.is_connected(index, *holder));
            let Some(holder) = holder else {
                let result = Err("the holder is not connected".to_owned());
                return self.given(Duration::ZERO, index, Input::Fetched { attempt, result });
            };
            let asked = self.now + self.network.delay(index, holder);
            let bits_per_s = self.nodes.get(holder).map_or(1, |node| node.config.uplink_bits_per_s);
            let left = self.network.leave(asked, holder, blob.bytes, bits_per_s);
            there = there.max(left + self.network.delay(holder, index));
        }
        self.given(there.since(self.now), index, Input::Fetched { attempt, result: Ok(()) });
    }

    /// The verdict on a record that a neighbour sent.
    fn verify(&mut self, record: SignedRecord) -> Option<Input> {
        if self.is_quick()
            && let Some(node) = self.index(record.peer).and_then(|index| self.nodes.get_mut(index))
            && node.is_current(&record)
        {
            return Some(node.verified(&self.mesh_key));
        }
        let (content, certificate) = record.verify(self.mesh_key.mesh(), TODAY_UNIX_S).ok()?;
        let (addresses, sequence) = (content.addresses, content.sequence);
        Some(Input::RecordVerified { record, member: certificate.member(), addresses, sequence })
    }

    fn disconnect(&mut self, index: usize, peer: PeerId) {
        let Some(there) = self.index(peer) else { return };
        let Some((connection, last)) = self.network.close(index, there) else { return };
        let delay = if self.network.reachable(index, there) { self.network.delay(index, there) } else { IDLE_TIMEOUT };
        self.given(Duration::ZERO, index, Input::Disconnected { peer });
        // The close follows what was said before it.
        let at = (self.now + delay).max(last);
        self.events.add(at, there, Event::Closed { by: index, connection });
    }

    fn execute(&mut self, index: usize, attempt: TaskRef) {
        let unscripted = Work { run: Duration::from_millis(1), output_bytes: None };
        let work = self.works.get(&attempt.task).copied().unwrap_or(unscripted);
        let quick = self.is_quick();
        let Some(node) = self.nodes.get_mut(index) else { return };
        let run = network::run_time(work.run, node.config.speed);
        node.running.insert(attempt);
        let cores = usize::from(node.config.cores);
        assert!(node.running.len() <= cores, "seed {}: peer {index} runs more than {cores}", self.seed);
        let output = match work.output_bytes {
            Some(bytes) => vec![0; bytes as usize],
            None => attempt.task.0.to_vec(),
        };
        let output = Payload::Inline(output);
        let report = Box::new(RunReport { ending: Ending::Exited(0), output, log: Vec::new(), run, memory_bytes: 0 });
        let process = node.process;
        if quick {
            self.runs.push(Ran { attempt, index, start: self.now, end: self.now + run });
        }
        self.events.add(self.now + run, index, Event::RunEnded { process, attempt, report });
    }
}
