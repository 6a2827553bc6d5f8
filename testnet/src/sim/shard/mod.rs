//! Some of the machines of a mesh, with everything that is going to happen to them: their network, disks, sandboxes and
//! clocks.
//!
//! | file | one question |
//! |---|---|
//! | `common.rs` | what do all shards see? |
//! | `connections.rs` | who is called, and who hangs up? |
//! | `daemon.rs` | what does a machine do of what its peer orders? |
//! | `messages.rs` | what becomes of what is said, until it is heard? |
//! | `wording.rs` | what of it is said as another version would? |
//! | `watch.rs` | what must never be said? |
//! | `blobs.rs` | who gives a blob to whom, and when has it come? |
//! | `sandbox.rs` | what does a run take, and write? |
//!
//! **Invariant:** while events are handled a shard touches its own machines only; what concerns others is an event for
//! them, no sooner than the shortest way takes. So shards may run side by side (`workers.rs`), and how machines are spread
//! over them changes nothing.
//! **Not here:** deciding anything a peer decides.

mod blobs;
mod common;
mod connections;
mod daemon;
mod messages;
mod sandbox;
mod watch;
mod wording;

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use shoal_protocol::{Input, TaskId, Time};

use super::counts::Count;
use super::event::{Coming, Event, Events};
use super::lies::Gossip;
use super::marks::Leak;
use super::node::Node;
use super::seen::{Awarded, Belief, Ended, Judged, Move, Ran, Told};

pub(super) use self::common::Common;

/// A peer that is woken so often at one moment would keep a real machine busy for nothing.
const WAKES_MAX: u32 = 1_000;

/// Every `of`-th machine.
#[derive(Debug)]
pub(super) struct Shard {
    number: usize,
    of: usize,
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) events: Events,
    /// Events for the machines of others, by shard.
    pub(super) leaving: Vec<Vec<Coming>>,
    /// What was sent, by kind; few, and the most frequent soon lead.
    pub(super) sent: Vec<(&'static str, Count)>,
    pub(super) beliefs: Vec<Belief>,
    pub(super) decisions_ns: Vec<u32>,
    pub(super) told: Vec<Told>,
    /// Whose process died at a write, and when.
    pub(super) dead: Vec<(Time, usize)>,
    /// When peers learnt of revocations.
    pub(super) kept_revocations: Vec<(Time, usize)>,
    pub(super) awards: Vec<Awarded>,
    pub(super) judged: Vec<Judged>,
    pub(super) moves: Vec<Move>,
    /// Unfinished tasks and their homes.
    pub(super) open: BTreeMap<TaskId, usize>,
    pub(super) ended: HashMap<TaskId, Ended>,
    pub(super) leaks: Vec<Leak>,
    /// Kept in quick runs only.
    pub(super) runs: Vec<Ran>,
    /// When the input of each task that moved had left its home; kept where uplinks are modelled.
    pub(super) departed: HashMap<TaskId, Time>,
    /// None in quick runs.
    pub(super) trace: Option<Box<blake3::Hasher>>,
    pub(super) handled: u64,
    /// What liars may know; kept while there are some.
    gossip: Gossip,
}

impl Shard {
    pub(super) fn new(number: usize, of: usize, trace: Option<Box<blake3::Hasher>>) -> Self {
        Self {
            number,
            of,
            now: Time::ZERO,
            nodes: Vec::new(),
            events: Events::default(),
            leaving: (0..of).map(|_| Vec::new()).collect(),
            sent: Vec::new(),
            beliefs: Vec::new(),
            decisions_ns: Vec::new(),
            told: Vec::new(),
            dead: Vec::new(),
            kept_revocations: Vec::new(),
            awards: Vec::new(),
            judged: Vec::new(),
            moves: Vec::new(),
            open: BTreeMap::new(),
            ended: HashMap::new(),
            leaks: Vec::new(),
            runs: Vec::new(),
            departed: HashMap::new(),
            trace,
            handled: 0,
            gossip: Gossip::default(),
        }
    }

    fn is_quick(&self) -> bool {
        self.trace.is_none()
    }

    /// A machine of this shard.
    pub(super) fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index / self.of)
    }

    pub(super) fn node_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.nodes.get_mut(index / self.of)
    }

    /// An event, for whomever it is.
    pub(super) fn add(&mut self, coming: Coming) {
        let shard = coming.index % self.of;
        if shard == self.number {
            self.events.add(coming);
        } else if let Some(leaving) = self.leaving.get_mut(shard) {
            leaving.push(coming);
        }
    }

    fn cause(&mut self, by: usize, at: Time, index: usize, event: Event) {
        if let Some(coming) = self.node_mut(by).map(|node| node.causes(at, index, event)) {
            self.add(coming);
        }
    }

    /// A machine's driver will tell it a fact.
    pub(super) fn given(&mut self, after: Duration, index: usize, input: Input) {
        let Some(process) = self.node(index).map(|node| node.process) else { return };
        self.cause(index, self.now + after, index, Event::Given { process, input: Box::new(input) });
    }

    /// Handles all events until that moment.
    pub(super) fn run_until(&mut self, end: Time, common: &Common) {
        while let Some((at, index, event)) = self.events.pop_until(end) {
            self.now = at;
            self.step(common, index, event);
        }
        self.now = end;
    }

    pub(super) fn step(&mut self, common: &Common, index: usize, event: Event) {
        self.handled += 1;
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        match event {
            // Nobody answers at a machine that is stopped.
            Event::Called(calling) => self.called(common, index, calling),
            event if node.frozen => node.waiting.push(event),
            Event::Given { process, input } => {
                if node.process == process {
                    self.give(common, index, *input);
                }
            }
            Event::Synced { process, ticket } => {
                // What is left of an earlier process was settled when that ended.
                let disk = node.disk.as_mut().filter(|_| node.process == process);
                if let Some(answer) = disk.and_then(|disk| disk.synced(now, ticket)) {
                    // It is on disk: nobody is told, or those who are told first hear no more.
                    self.die_at_write(index);
                    self.give(common, index, answer);
                    self.die_at_write(index);
                }
            }
            Event::Arrived { from, call, carried } => self.arrive(common, index, (from, call), carried),
            Event::Closed { by, call } => {
                if node.links.takes(by, call) {
                    node.links.close(now, by);
                    self.give(common, index, Input::Disconnected { peer: common.id(by) });
                }
            }
            Event::Wake { process } => self.wake(common, index, process),
            Event::Answered(calling, accepted) => self.answered(common, index, *calling, accepted),
            Event::RunEnded { process, attempt, report } => {
                if node.process == process && node.running.remove(&attempt) {
                    self.give(common, index, Input::Finished { attempt, report: *report });
                }
            }
        }
    }

    fn wake(&mut self, common: &Common, index: usize, process: u64) {
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        if node.process != process || node.wake_at.is_none_or(|at| at > now) {
            return;
        }
        node.wake_at = None;
        node.woken = if node.woken.0 == now { (now, node.woken.1 + 1) } else { (now, 0) };
        assert!(node.woken.1 < WAKES_MAX, "seed {}: peer {index} wants to be woken for ever at {now:?}", common.seed);
        self.give(common, index, Input::TimerFired);
    }
}
