//! One pipeline under way: which of its tasks wait, run and have ended.
//!
//! ```text
//! waiting ─► ready ─► running ─┬─► done (output) ─► those that read it
//!    │         ▲               ├─► resting: nobody can run it now ─┐
//!    │         └───────────────┴───────────────────────────────────┘
//!    └─► skipped: its condition does not hold, or all it takes from was skipped
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `preparing.rs` | what does a task read, and who must be there for it? |
//! | `ending.rs` | what follows from how it ended? |
//! | `unlocking.rs` | what may run now? |
//! | `outputs.rs` | whose output is needed no more, or once more? |
//!
//! **Invariant:** a task is run again only if it has no output that can be had: it ended badly, nobody recorded its end, or
//! whoever held its output is gone. What nobody will read any more is let go.
//! **Not here:** who runs it (`task/requester/`), and what stands on disk (`record.rs`).

mod ending;
mod outputs;
mod preparing;
#[cfg(test)]
pub(super) mod tests;
mod unlocking;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, NodeId};
use super::looking::Outlook;
use super::spec::{PipelineSpec, Stage};
use crate::config::RETENTION_MAX;
use crate::id::{PeerId, TaskId};
use crate::residency::Labels;
use crate::task::spec::Payload;
use crate::time::Time;

pub(super) use ending::Followed;
pub(super) use preparing::Prepared;
use unlocking::ranks;

/// Tasks of one pipeline that are handed out at once: enough to keep a neighbourhood busy, and half of what waits at one peer.
pub(super) const IN_FLIGHT_MAX: usize = 64;

/// Where one task is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeState {
    /// Others must end first.
    Waiting,
    /// It may be handed out.
    Ready,
    /// Nobody could run it; it is ready again at a time that is set elsewhere.
    Resting,
    /// It is asked whether somebody knows its output.
    Recalling,
    /// It was handed out as this task.
    Running(TaskId),
    /// It has ended.
    Done(Box<Done>),
    /// It will not be run.
    Skipped,
}

impl NodeState {
    fn is_final(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Skipped)
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) exit_code: u32,
    /// What it wrote, while somebody may still read it.
    pub(super) output: Option<Payload>,
    pub(super) output_bytes: u64,
    pub(super) executor: PeerId,
    /// What is said of its output.
    pub(super) labels: Labels,
    pub(super) run_us: u64,
    /// Its output was known; it was not run.
    pub(super) remembered: bool,
    /// It is on disk.
    pub(super) recorded: bool,
    /// As which task its executor holds its output.
    pub(super) held_as: Option<TaskId>,
}

impl Done {
    /// Whether others hold its output, and this peer need not have it.
    fn is_foreign(&self) -> bool {
        self.remembered || matches!(&self.output, Some(Payload::Blob(blob)) if blob.holder == self.executor)
    }
}

/// What is known of a task beside its state.
#[derive(Debug, Clone, Default)]
struct Course {
    /// Bad ends of its module.
    failures: u32,
    /// Times nobody could run it in a row.
    rests: u32,
    /// Times what it reads was made again because of that.
    doubts: u32,
    /// Times somebody was given it.
    runs: u32,
    /// Times it was handed to the requester by this process, also where nobody could be found.
    handed: u32,
    /// Since when the holder of something it reads is gone.
    holder_gone_since: Option<Time>,
    /// Why it is not running.
    note: String,
    /// Others were asked for its output, or what they said was of no use.
    asked: bool,
}

/// One pipeline.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) spec: PipelineSpec,
    pub(super) graph: Graph,
    pub(super) nodes: Vec<NodeState>,
    courses: Vec<Course>,
    /// Nodes that each must wait for, still.
    missing: Vec<u32>,
    /// The longest way to the end first: what much waits for is not kept waiting.
    ready: BTreeSet<(Reverse<u32>, NodeId)>,
    ranks: Vec<u32>,
    pub(super) in_flight: usize,
    open: usize,
    pub(super) accepted: Time,
    /// How old it was when it was accepted here.
    pub(super) aged: Duration,
    /// Bytes of outputs in memory.
    pub(super) bytes: u64,
    pub(super) outlook: Outlook,
}

impl Run {
    pub(super) fn new(now: Time, aged: Duration, spec: PipelineSpec, graph: Graph) -> Self {
        let count = graph.nodes.len();
        let mut run = Self {
            nodes: vec![NodeState::Waiting; count],
            courses: vec![Course::default(); count],
            missing: vec![0; count],
            ready: BTreeSet::new(),
            ranks: ranks(&graph),
            in_flight: 0,
            open: count,
            accepted: now,
            aged,
            bytes: 0,
            outlook: Outlook::default(),
            spec,
            graph,
        };
        run.count_missing();
        run
    }

    /// A pipeline of which these tasks have ended before, each after so many runs.
    pub(super) fn restored(
        now: Time,
        aged: Duration,
        spec: PipelineSpec,
        graph: Graph,
        ended: BTreeMap<NodeId, (Done, u32)>,
    ) -> Self {
        let mut run = Self::new(now, aged, spec, graph);
        for (id, (done, runs)) in ended {
            let Some(course) = run.courses.get_mut(id as usize) else { continue };
            course.runs = runs;
            run.bytes += inline_bytes(done.output.as_ref());
            run.set(id, NodeState::Done(Box::new(done)));
        }
        run.count_missing();
        run
    }

    pub(super) fn age(&self, now: Time) -> Duration {
        self.aged.saturating_add(now.since(self.accepted))
    }

    /// How long after its acceptance it must have ended.
    pub(super) fn lifetime(&self, retention: Duration) -> Duration {
        self.spec.deadline.unwrap_or(retention).min(RETENTION_MAX)
    }

    fn deadline_in(&self, now: Time) -> Option<Duration> {
        self.spec.deadline.map(|deadline| deadline.saturating_sub(self.age(now)))
    }

    /// The next task to hand out, if there is one and room for it.
    pub(super) fn next_ready(&mut self) -> Option<NodeId> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        self.ready.pop_first().map(|(_, id)| id)
    }

    pub(super) fn stage_of(&self, id: NodeId) -> Option<&Stage> {
        self.spec.stages.get(self.graph.node(id)?.stage as usize)
    }

    /// `count#3`, or `total` where a stage has but one task.
    pub(super) fn name_of(&self, id: NodeId) -> String {
        let Some((node, stage)) = self.graph.node(id).zip(self.stage_of(id)) else { return String::new() };
        if stage.map.is_some() { format!("{}#{}", stage.name, node.element) } else { stage.name.clone() }
    }

    /// It was handed out.
    pub(super) fn started(&mut self, id: NodeId, task: TaskId) {
        self.set(id, NodeState::Running(task));
        if let Some(course) = self.courses.get_mut(id as usize) {
            course.runs += 1;
            course.handed += 1;
            course.note.clear();
        }
    }

    /// Others are asked for its output.
    pub(super) fn recalling(&mut self, id: NodeId) {
        if let Some(course) = self.courses.get_mut(id as usize) {
            course.asked = true;
        }
        self.set(id, NodeState::Recalling);
    }

    /// Whether others were asked for its output.
    pub(super) fn was_asked_for(&self, id: NodeId) -> bool {
        self.courses.get(id as usize).is_some_and(|course| course.asked)
    }

    /// Whether it may take an output that is known: it is not handed out.
    pub(super) fn is_open_to_known(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id as usize), Some(NodeState::Ready | NodeState::Resting | NodeState::Recalling))
    }

    /// It may be handed out again.
    pub(super) fn wake(&mut self, id: NodeId) {
        if matches!(self.nodes.get(id as usize), Some(NodeState::Resting | NodeState::Recalling)) {
            self.set(id, NodeState::Ready);
        }
    }

    /// Nobody can run it now.
    pub(super) fn rest(&mut self, id: NodeId) {
        self.set(id, NodeState::Resting);
    }

    /// Times it was handed to the requester since this peer started.
    pub(super) fn handed(&self, id: NodeId) -> u32 {
        self.courses.get(id as usize).map_or(0, |course| course.handed)
    }

    fn rests_of(&self, id: NodeId) -> u32 {
        self.courses.get(id as usize).map_or(0, |course| course.rests)
    }

    /// Times it was handed out.
    pub(super) fn runs_of(&self, id: NodeId) -> u32 {
        self.courses.get(id as usize).map_or(0, |course| course.runs)
    }

    /// A node has its output: what waits for it goes on.
    pub(super) fn done(&mut self, id: NodeId, done: Done) {
        self.bytes += inline_bytes(done.output.as_ref());
        self.set(id, NodeState::Done(Box::new(done)));
        let unlocked = self.unlocked_by(id);
        self.judge_all(unlocked);
    }

    /// Whether every node has ended.
    pub(super) fn is_over(&self) -> bool {
        self.open == 0
    }

    fn set(&mut self, id: NodeId, state: NodeState) {
        let Some(slot) = self.nodes.get_mut(id as usize) else { return };
        if matches!(slot, NodeState::Running(_)) {
            self.in_flight -= 1;
        }
        if matches!(state, NodeState::Running(_)) {
            self.in_flight += 1;
        }
        let rank = self.ranks.get(id as usize).copied().unwrap_or_default();
        if matches!(state, NodeState::Ready) {
            self.ready.insert((Reverse(rank), id));
        } else {
            self.ready.remove(&(Reverse(rank), id));
        }
        match (slot.is_final(), state.is_final()) {
            (false, true) => self.open -= 1,
            (true, false) => self.open += 1,
            (true, true) | (false, false) => {}
        }
        *slot = state;
    }

    /// What is going on with a stage.
    pub(super) fn note_of(&self, stage: u32) -> Option<&str> {
        let notes = self.graph.nodes_of(stage).filter_map(|id| {
            let is_over = self.nodes.get(id as usize).is_some_and(NodeState::is_final);
            self.courses.get(id as usize).filter(|course| !course.note.is_empty() && !is_over)
        });
        notes.map(|course| course.note.as_str()).next()
    }

    /// Stages that have not ended.
    pub(super) fn open_stages(&self) -> Vec<String> {
        let is_open = |stage: &u32| {
            self.graph.nodes_of(*stage).any(|id| self.nodes.get(id as usize).is_some_and(|state| !state.is_final()))
        };
        let open = (0..self.spec.stages.len() as u32).filter(is_open);
        open.filter_map(|stage| self.spec.stages.get(stage as usize)).map(|stage| stage.name.clone()).collect()
    }

    /// Tasks that are handed out.
    pub(super) fn running(&self) -> BTreeMap<TaskId, NodeId> {
        let running = (0u32..).zip(&self.nodes).filter_map(|(id, state)| match state {
            NodeState::Running(task) => Some((*task, id)),
            _ => None,
        });
        running.collect()
    }
}

fn inline_bytes(output: Option<&Payload>) -> u64 {
    match output {
        Some(Payload::Inline(bytes)) => bytes.len() as u64,
        Some(Payload::Blob(_)) | None => 0,
    }
}
