//! A small world of whole peers: links that delay, double and lose words, disks that lose what was not written, crashes.
//!
//! Every process has its own clock, from zero; what a run writes is its number, so that two runs never look alike.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};

use super::told;
use crate::certificate::{Member, Role};
use crate::config::PeerConfig;
use crate::id::{BlobId, PeerId, TaskId};
use crate::input::Input;
use crate::message::{Message, TaskRef};
use crate::output::{Output, TaskError, TaskResult};
use crate::peer::Peer;
use crate::rng::Rng;
use crate::store::{self, Change, Ticket};
use crate::task::TaskState;
use crate::task::durable::record::CouncilRecord;
use crate::task::durable::{Counsel, Durability, Found, Keeping, Vote};
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{Payload, TaskSpec};
use crate::time::Time;

const MODULE: BlobId = BlobId([9; 32]);
const UNIX_MS: u64 = 1_700_000_000_000;

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn task(n: u8) -> TaskId {
    TaskId([n; 16])
}

#[derive(Debug, Clone)]
enum Happening {
    Fact(Box<Input>),
    Arrived {
        from: usize,
        message: Box<Message>,
    },
    Wake,
    /// The oldest batch of the disk is through.
    Written,
    Answered {
        peer: usize,
    },
}

#[derive(Default)]
struct Disk {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches on their way, oldest first.
    pending: VecDeque<(Ticket, Vec<Change>)>,
    boots: u32,
    pub(super) full: bool,
}

impl Disk {
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, bytes } => drop(self.records.insert(key, bytes)),
                Change::Delete { key } => drop(self.records.remove(&key)),
            }
        }
    }
}

struct Node {
    member: Member,
    peer: Option<Peer>,
    /// Counts the processes: what was meant for an earlier one is lost.
    process: u64,
    started: Time,
    disk: Disk,
    written_until: Time,
    running: BTreeSet<TaskRef>,
    config: PeerConfig,
    woken_at: Option<Time>,
}

/// What one end of a task looked like, to whom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) at: Time,
    pub(super) by: usize,
    pub(super) process: u64,
    pub(super) result: Result<Vec<u8>, String>,
}

/// The end of a task as a text that tells ends apart.
pub(super) fn outline(result: &Result<TaskResult, TaskError>) -> Result<Vec<u8>, String> {
    match result {
        Ok(TaskResult { report: RunReport { output: Payload::Inline(bytes), .. }, .. }) => Ok(bytes.to_vec()),
        Ok(_) => Err("a large output".into()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) struct World {
    pub(super) now: Time,
    nodes: Vec<Node>,
    queue: BTreeMap<(Time, u64), (usize, u64, Happening)>,
    pushed: u64,
    connected: BTreeSet<(usize, usize)>,
    cut: BTreeSet<(usize, usize)>,
    pub(super) rng: Rng,
    /// Share of words that are lost, and that arrive twice.
    pub(super) loss: f64,
    pub(super) doubled: f64,
    pub(super) run: Duration,
    /// How long an end is kept.
    pub(super) retention: Duration,
    /// The date at which a process starts is so much earlier than it should be.
    pub(super) set_back: Duration,
    runs: u64,
    pub(super) acknowledged: BTreeMap<TaskId, (usize, Time)>,
    pub(super) finished: BTreeMap<TaskId, Vec<Seen>>,
    pub(super) executions: BTreeMap<TaskId, Vec<(usize, u64)>>,
    pub(super) found: Vec<(u64, Option<Found>)>,
    /// What executors were told to forget while no vote was on any disk.
    pub(super) released_early: Vec<(TaskId, Seen)>,
    outputs_of: BTreeMap<TaskRef, Vec<u8>>,
    /// Which process of whom gave each attempt away.
    awarded_by: BTreeMap<TaskRef, (usize, u64)>,
    pub(super) problems: Vec<String>,
    durabilities: BTreeMap<TaskId, Durability>,
    pub(super) log: Vec<String>,
    /// All that was said and done about tasks, in order: what nobody reads is written, too.
    pub(super) told: Vec<String>,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// `count` peers in as many sites, each with a store, that know each other's addresses.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let node = |n: usize| {
            let labels = [("site".to_owned(), format!("site-{n}"))].into();
            let member =
                Member { peer: PeerId([n as u8 + 1; 32]), name: format!("peer-{n}"), role: Role::Edge, labels };
            let config = PeerConfig { cores: 2, ..PeerConfig::default() };
            Node {
                member,
                peer: None,
                process: 0,
                started: Time::ZERO,
                disk: Disk::default(),
                written_until: Time::ZERO,
                running: BTreeSet::new(),
                config,
                woken_at: None,
            }
        };
        let mut world = Self {
            now: Time::ZERO,
            nodes: (0..count).map(node).collect(),
            queue: BTreeMap::new(),
            pushed: 0,
            connected: BTreeSet::new(),
            cut: BTreeSet::new(),
            rng: Rng::seed_from_u64(seed),
            loss: 0.0,
            doubled: 0.0,
            run: ms(200),
            retention: Keeping::default().retention,
            set_back: Duration::ZERO,
            runs: 0,
            acknowledged: BTreeMap::new(),
            finished: BTreeMap::new(),
            executions: BTreeMap::new(),
            found: Vec::new(),
            released_early: Vec::new(),
            outputs_of: BTreeMap::new(),
            awarded_by: BTreeMap::new(),
            problems: Vec::new(),
            durabilities: BTreeMap::new(),
            log: Vec::new(),
            told: Vec::new(),
        };
        (0..count).for_each(|n| world.start(n));
        world
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_up(&self, n: usize) -> bool {
        self.nodes[n].peer.is_some()
    }

    pub(super) fn index(&self, peer: PeerId) -> Option<usize> {
        self.nodes.iter().position(|node| node.member.peer == peer)
    }

    // ── Deeds ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn start(&mut self, n: usize) {
        if self.is_up(n) {
            return;
        }
        let seed = self.rng.random();
        let now = self.now;
        let node = &mut self.nodes[n];
        node.process += 1;
        node.disk.boots += 1;
        node.started = now;
        node.woken_at = None;
        node.written_until = now;
        node.running.clear();
        node.peer = Some(Peer::new(node.member.clone(), node.config.clone(), seed, Time::ZERO));
        let records = node.disk.records.clone().into_iter().collect();
        let unix_ms = UNIX_MS + (now.as_micros() / 1_000) - self.set_back.as_millis() as u64;
        let restored = Input::Restored { records, boot: node.disk.boots, unix_ms };
        self.log.push(format!("{:?} peer {n} starts", self.now));
        self.tell(format!("{n} STARTS"));
        self.give(n, restored);
        for other in (0..self.nodes.len()).filter(|other| *other != n) {
            self.give(n, Input::Discovered { peer: None, address: format!("at {other}"), bootstrap: true });
        }
    }

    /// The process is gone, and with it what its disk had not confirmed; of that, a random first part may be there.
    pub(super) fn crash(&mut self, n: usize) {
        let written = self.rng.random_range(0..4usize);
        let Some(node) = self.nodes.get_mut(n).filter(|node| node.peer.is_some()) else { return };
        node.peer = None;
        let pending = core::mem::take(&mut node.disk.pending);
        if !node.disk.full {
            pending.into_iter().take(written).for_each(|(_, changes)| node.disk.apply(changes));
        }
        self.log.push(format!("{:?} peer {n} crashes", self.now));
        self.tell(format!("{n} CRASHES"));
        for other in 0..self.nodes.len() {
            if self.connected.remove(&pair(n, other)) {
                let peer = self.nodes[n].member.peer;
                self.push(ms(5), other, Happening::Fact(Box::new(Input::Disconnected { peer })));
            }
        }
    }

    pub(super) fn cut(&mut self, a: usize, b: usize, cut: bool) {
        self.log.push(format!("{:?} {a} and {b} {}", self.now, if cut { "are cut" } else { "are joined" }));
        self.tell(format!("{a} and {b} {}", if cut { "ARE CUT" } else { "ARE JOINED" }));
        if cut {
            self.cut.insert(pair(a, b))
        } else {
            self.cut.remove(&pair(a, b))
        };
    }

    pub(super) fn isolate(&mut self, n: usize, cut: bool) {
        (0..self.nodes.len()).filter(|other| *other != n).for_each(|other| self.cut(n, other, cut));
    }

    /// A new disk in a machine that does not run.
    pub(super) fn replace_disk(&mut self, n: usize) {
        assert!(!self.is_up(n));
        self.nodes[n].disk = Disk::default();
    }

    pub(super) fn fill_disk(&mut self, n: usize, full: bool) {
        self.nodes[n].disk.full = full;
    }

    /// Flips a bit of a record.
    pub(super) fn damage(&mut self, n: usize, kind: u8, task: TaskId) {
        let key = [&[kind], task.0.as_slice()].concat();
        let record = self.nodes[n].disk.records.get_mut(&key).expect("the record is there");
        record[10] ^= 4;
    }

    pub(super) fn submit(&mut self, n: usize, task: TaskId, durability: Durability) {
        self.submit_with(n, task, durability, |_| {});
    }

    pub(super) fn submit_with(
        &mut self,
        n: usize,
        task: TaskId,
        durability: Durability,
        change: impl FnOnce(&mut TaskSpec),
    ) {
        let mut spec = TaskSpec::of_module(MODULE, 1_000);
        spec.inputs = vec![Payload::inline(vec![7; 100])];
        spec.expected = Some(self.run);
        change(&mut spec);
        self.durabilities.insert(task, durability);
        let keeping = Keeping { durability, retention: self.retention };
        self.give(n, Input::Submitted { task, name: "task".into(), spec: Box::new(spec), keeping });
    }

    pub(super) fn give(&mut self, n: usize, input: Input) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(n) else { return };
        let Some(peer) = node.peer.as_mut() else { return };
        peer.handle(Time::ZERO + now.since(node.started), input);
        let outputs: Vec<Output> = core::iter::from_fn(|| peer.poll_output()).collect();
        for output in outputs {
            self.carry_out(n, output);
        }
        let Some(node) = self.nodes.get_mut(n) else { return };
        let Some(peer) = node.peer.as_ref() else { return };
        let at = peer.poll_timeout().map(|(at, _)| node.started + at.since(Time::ZERO));
        if let Some(at) = at.map(|at| at.max(now))
            && node.woken_at.is_none_or(|woken_at| at < woken_at)
        {
            node.woken_at = Some(at);
            self.push(at.since(now), n, Happening::Wake);
        }
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), (n, process, happening)) = entry.remove_entry();
            self.now = at;
            if self.nodes[n].process == process && self.is_up(n) {
                self.happen(n, happening);
            }
        }
        self.now = until;
    }

    pub(super) fn tell(&mut self, line: String) {
        self.told.push(format!("{:>9.1} {line}", self.now.since(Time::ZERO).as_secs_f64() * 1e3));
    }

    /// How much of something a peer holds.
    pub(super) fn holds(&self, n: usize, what: &str) -> usize {
        let holdings = self.nodes[n].peer.as_ref().map(Peer::holdings).unwrap_or_default();
        holdings.into_iter().filter(|it| it.what == what).map(|it| it.held).sum()
    }

    /// What each peer holds, and counts.
    pub(super) fn tell_holdings(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(peer) = self.nodes[n].peer.as_ref() else { continue };
            let now = Time::ZERO + self.now.since(self.nodes[n].started);
            let held: Vec<_> = peer.holdings().into_iter().filter(|it| it.held > 0).collect();
            let held: Vec<_> = held.iter().map(|it| format!("{} {}", it.held, it.what)).collect();
            let counters: Vec<_> = peer.counters().into_iter().filter(|(_, count)| *count > 0).collect();
            let ok: Vec<_> = peer.peers(now).into_iter().map(|view| view.ok_percent.map(|ok| ok as u32)).collect();
            let disk = self.nodes[n].disk.records.keys().filter(|key| key.len() == 17);
            let disk: Vec<_> = disk.map(|key| format!("{}{}", char::from(key[0]), key[1])).collect();
            let line = format!("{n} holds {held:?}, {:?}, {counters:?}, {ok:?}, disk {disk:?}", peer.task_counts());
            self.tell(line);
        }
    }

    // ── Questions ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn find(&self, n: usize, task: TaskId) -> Option<Found> {
        let node = &self.nodes[n];
        let now = Time::ZERO + self.now.since(node.started);
        node.peer.as_ref()?.known_task(now, task)
    }

    /// What a peer that knows the end of a task takes it to be.
    pub(super) fn end_at(&self, n: usize, task: TaskId) -> Option<Result<Vec<u8>, String>> {
        self.find(n, task)?.result.as_ref().map(outline)
    }

    pub(super) fn state_at(&self, n: usize, task: TaskId) -> Option<TaskState> {
        self.find(n, task).map(|found| found.state)
    }

    /// What every peer has of a task.
    pub(super) fn describe(&self, task: TaskId) -> String {
        let peers = self.nodes.iter().enumerate().filter_map(|(n, node)| Some((n, node.peer.as_ref()?)));
        peers.map(|(n, peer)| format!("\n{n}: {}", peer.describe(task))).collect()
    }

    pub(super) fn ends(&self, task: TaskId) -> Vec<Result<Vec<u8>, String>> {
        (0..self.nodes.len()).filter_map(|n| self.end_at(n, task)).collect()
    }

    pub(super) fn has_on_disk(&self, n: usize, kind: u8, task: TaskId) -> bool {
        self.nodes[n].disk.records.contains_key(&[&[kind], task.0.as_slice()].concat())
    }

    /// Whether a vote for the end of a task is on some disk.
    fn is_voted_on(&self, task: TaskId) -> bool {
        (0..self.nodes.len()).any(|n| self.has_voted(n, task))
    }

    fn has_voted(&self, n: usize, task: TaskId) -> bool {
        self.vote_on_disk(n, task).is_some()
    }

    fn vote_on_disk(&self, n: usize, task: TaskId) -> Option<Vote> {
        let key = [b"c", task.0.as_slice()].concat();
        let bytes = self.nodes[n].disk.records.get(&key)?;
        store::decode::<CouncilRecord>(&key, bytes).ok()?.accepted
    }

    /// One end in each ballot: a leader that crashed after it proposed one finds it on its own disk.
    fn check_own_vote(&mut self, n: usize, message: &Message) {
        let Message::Council(counsel) = message else { return };
        let Counsel::Propose(propose) = &**counsel else { return };
        if self.vote_on_disk(n, propose.task).as_ref() != Some(&propose.vote) {
            self.problems.push(format!("{n} proposed an end of {} that is not on its disk", propose.task));
        }
    }

    pub(super) fn holders(&self, kind: u8, task: TaskId) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.has_on_disk(*n, kind, task)).collect()
    }

    /// The guardian and the witness that a home has chosen for a task.
    pub(super) fn council(&self, n: usize, task: TaskId) -> Vec<usize> {
        let peer = self.nodes[n].peer.as_ref().expect("the peer is up");
        peer.council_of(task).into_iter().filter_map(|peer| self.index(peer)).collect()
    }

    // ── The world ────────────────────────────────────────────────────────────────────────────────────────────────

    fn push(&mut self, after: Duration, n: usize, happening: Happening) {
        self.pushed += 1;
        let process = self.nodes[n].process;
        self.queue.insert((self.now + after, self.pushed), (n, process, happening));
    }

    fn happen(&mut self, n: usize, happening: Happening) {
        match happening {
            Happening::Fact(input) => {
                // What was aborted does not end.
                let goes_on = match &*input {
                    Input::Finished { attempt, .. } => self.nodes[n].running.remove(attempt),
                    _ => true,
                };
                if goes_on {
                    self.give(n, *input);
                }
            }
            Happening::Arrived { from, message } => {
                if self.connected.contains(&pair(from, n)) && !self.cut.contains(&pair(from, n)) {
                    let from = self.nodes[from].member.peer;
                    self.give(n, Input::Received { from, message: *message });
                }
            }
            Happening::Wake => {
                if self.nodes[n].woken_at.is_some_and(|at| at <= self.now) {
                    self.nodes[n].woken_at = None;
                    self.give(n, Input::TimerFired);
                }
            }
            Happening::Written => self.written(n),
            Happening::Answered { peer } => self.answered(n, peer),
        }
    }

    fn written(&mut self, n: usize) {
        let disk = &mut self.nodes[n].disk;
        let Some((ticket, changes)) = disk.pending.pop_front() else { return };
        if disk.full {
            let reason = "no space left on device".to_owned();
            return self.give(n, Input::PersistFailed { ticket, reason });
        }
        disk.apply(changes);
        self.give(n, Input::Persisted { ticket });
    }

    fn answered(&mut self, n: usize, other: usize) {
        let address = Some(format!("at {other}"));
        if !self.is_up(other) || self.cut.contains(&pair(n, other)) {
            return self.give(n, Input::DialFailed { peer: None, address, reason: "nobody answered".into() });
        }
        if self.connected.insert(pair(n, other)) {
            let (here, there) = (self.nodes[n].member.clone(), self.nodes[other].member.clone());
            self.give(n, Input::Connected { member: there, address });
            self.give(other, Input::Connected { member: here, address: None });
        }
    }

    fn carry_out(&mut self, n: usize, output: Output) {
        if let Some(deed) = told::deed(&output, |peer| self.index(peer)) {
            self.tell(format!("{n} {deed}"));
        }
        match output {
            Output::Send { to, message } => {
                self.check_own_vote(n, &message);
                self.send(n, to, message);
            }
            Output::Dial { addresses, .. } => {
                let to = addresses.first().and_then(|address| address.strip_prefix("at ")?.parse().ok());
                if let Some(peer) = to {
                    self.push(ms(4), n, Happening::Answered { peer });
                }
            }
            Output::Disconnect { peer, .. } => {
                let Some(other) = self.index(peer) else { return };
                if self.connected.remove(&pair(n, other)) {
                    let me = self.nodes[n].member.peer;
                    self.push(Duration::ZERO, n, Happening::Fact(Box::new(Input::Disconnected { peer })));
                    self.push(ms(2), other, Happening::Fact(Box::new(Input::Disconnected { peer: me })));
                }
            }
            Output::Fetch { attempt, .. } => {
                self.push(ms(3), n, Happening::Fact(Box::new(Input::Fetched { attempt, result: Ok(()) })));
            }
            Output::Prepare { module } => {
                self.push(ms(1), n, Happening::Fact(Box::new(Input::Prepared { module, result: Ok(ms(1)) })));
            }
            Output::Execute(execution) => {
                let attempt = execution.attempt;
                self.runs += 1;
                let wrote = self.runs.to_le_bytes().to_vec();
                self.executions.entry(attempt.task).or_default().push((n, attempt.epoch));
                // An award that arrives twice may be run twice; its first result is what counts here.
                self.outputs_of.entry(attempt).or_insert_with(|| wrote.clone());
                self.nodes[n].running.insert(attempt);
                let report = RunReport {
                    ending: Ending::Exited(0),
                    output: Payload::inline(wrote),
                    log: Vec::new(),
                    run: self.run,
                    memory_bytes: 0,
                    labels: Default::default(),
                };
                self.push(self.run, n, Happening::Fact(Box::new(Input::Finished { attempt, report })));
            }
            Output::Abort(attempt) => drop(self.nodes[n].running.remove(&attempt)),
            Output::Persist { ticket, changes } => {
                let took = Duration::from_micros(self.rng.random_range(300..15_000));
                let node = &mut self.nodes[n];
                node.disk.pending.push_back((ticket, changes));
                node.written_until = node.written_until.max(self.now + took);
                let after = node.written_until.since(self.now);
                self.push(after, n, Happening::Written);
            }
            Output::Acknowledged { task } => self.acknowledged_at(n, task),
            Output::Finish { task, result } => {
                self.log.push(format!("{:?} peer {n} finishes {task}: {:?}", self.now, outline(&result)));
                if result.as_ref().is_err_and(TaskError::is_refusal) && !self.acknowledged.contains_key(&task) {
                    return;
                }
                let process = self.nodes[n].process;
                let seen = Seen { at: self.now, by: n, process, result: outline(&result) };
                self.finished.entry(task).or_default().push(seen);
            }
            Output::Found { ticket, found } => self.found.push((ticket, found.map(|found| *found))),
            Output::VerifyRecords(_)
            | Output::VerifyRevocations(_)
            | Output::VerifyRules { .. }
            | Output::VerifyServices { .. }
            | Output::KeepModule { .. }
            | Output::ReleaseModule { .. }
            | Output::KeepRevocations
            | Output::Sign(_)
            | Output::PingAnswered { .. }
            | Output::Keep { .. }
            | Output::Forgotten { .. }
            | Output::Forget { .. }
            | Output::NotAcknowledged { .. }
            | Output::PipelineAnswered { .. }
            | Output::PipelineEnded { .. }
            | Output::Export { .. }
            | Output::BlobFound { .. }
            | Output::LookUp { .. }
            | Output::Hold { .. }
            | Output::Notify(_)
            | Output::ShutdownReady => {}
        }
    }

    /// I1: what is acknowledged is on the disks that the acknowledgement speaks of.
    fn acknowledged_at(&mut self, n: usize, task: TaskId) {
        self.log.push(format!("{:?} peer {n} acknowledges {task}", self.now));
        let copies = self.holders(b't', task);
        let wanted = if self.durabilities.get(&task) == Some(&Durability::Guarded) { 2 } else { 1 };
        if !copies.contains(&n) || copies.len() < wanted {
            self.problems.push(format!("{task} was acknowledged with copies at {copies:?}"));
        }
        self.acknowledged.entry(task).or_insert((n, self.now));
    }

    fn send(&mut self, n: usize, to: PeerId, message: Message) {
        let Some(other) = self.index(to) else { return };
        if let Message::OutcomesReceived(attempts) = &message {
            for attempt in attempts {
                if let Some(output) = self.outputs_of.get(attempt).filter(|_| !self.is_voted_on(attempt.task)) {
                    let (at, process) = (self.now, self.nodes[n].process);
                    let released = Seen { at, by: n, process, result: Ok(output.clone()) };
                    self.released_early.push((attempt.task, released));
                }
            }
        }
        if let Message::Award(award) = &message
            && award.hops == 0
        {
            let by = (n, self.nodes[n].process);
            let attempt = award.attempt;
            if *self.awarded_by.entry(attempt).or_insert(by) != by {
                self.problems
                    .push(format!("epoch {} of {} was used by two leaders or starts", attempt.epoch, attempt.task));
            }
        }
        if !self.connected.contains(&pair(n, other)) {
            return;
        }
        // Whatever leaves is what a peer of another machine can read.
        let message = Message::decode(&message.encode()).expect("a peer reads what a peer says");
        let copies = 1 + usize::from(self.rng.random_bool(self.doubled));
        for _ in 0..copies {
            if !self.rng.random_bool(self.loss) {
                let after = Duration::from_micros(self.rng.random_range(2_000..6_000));
                self.push(after, other, Happening::Arrived { from: n, message: Box::new(message.clone()) });
            }
        }
    }
}
