//! One pipeline under way: which of its tasks wait, run and have ended.
//!
//! ```text
//! waiting ─► ready ─► running ─┬─► done (output) ─► those that read it
//!    │         ▲               ├─► resting: nobody can run it now ─┐
//!    │         └───────────────┴───────────────────────────────────┘
//!    └─► skipped: its condition does not hold, or all it takes from was skipped
//! ```
//!
//! **Invariant:** a task is run again only if it has no output that can be had: it ended badly, nobody recorded its end, or
//! whoever held its output is gone. What nobody will read any more is let go.
//! **Not here:** who runs it (`task/requester/`), and what stands on disk (`record.rs`).

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::Exported;
use super::error::PipelineError;
use super::graph::{Graph, Node, NodeId, Take};
use super::looking::Outlook;
use super::spec::{PipelineSpec, Stage, When};
use crate::config::{INLINE_BYTES_MAX, RETENTION_MAX};
use crate::id::{PeerId, TaskId};
use crate::output::{TaskError, TaskResult};
use crate::privacy::Refused;
use crate::residency::Labels;
use crate::task::spec::{Ending, Patience, Payload, TaskSpec};
use crate::time::{Time, micros};

/// Tasks of one pipeline that are handed out at once: enough to keep a neighbourhood busy, and half of what waits at one peer.
pub(super) const IN_FLIGHT_MAX: usize = 64;
/// A task that nobody can run now is tried again after this long, then twice as long, …
const REST: Duration = Duration::from_millis(300);
/// … up to this.
const REST_MAX: Duration = Duration::from_secs(10);
/// Times a task is begun anew after all its attempts died with their executors, whatever its stage says.
const EXHAUSTED_MAX: u32 = 3;
/// An input that others hold is made again after so many rests in a row: nobody can get at it.
const DOUBTFUL_RESTS: u32 = 4;
/// A holder of an output that is gone has this long to come back before the output is made again.
const HOLDER_PATIENCE: Duration = Duration::from_secs(10);

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
    /// Whether its output stayed where it was made.
    fn is_elsewhere(&self) -> bool {
        matches!(&self.output, Some(Payload::Blob(blob)) if blob.holder == self.executor)
    }
}

/// What is known of a task beside its state.
#[derive(Debug, Clone, Default)]
struct Course {
    /// Bad ends of its module.
    failures: u32,
    /// Times nobody could run it in a row.
    rests: u32,
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

/// What follows from the end of a task.
#[derive(Debug, PartialEq)]
pub(super) enum Followed {
    /// It has ended: this is to be recorded.
    Done,
    /// It is ready again, at once.
    Again,
    /// It is ready again after this long.
    Rest(Duration),
    /// Nobody can get at what it reads of others: these outputs are to be made again.
    InputsDoubted(Vec<NodeId>),
    /// The pipeline has failed.
    Failed(PipelineError),
    /// This peer is leaving: what becomes of it is seen at the next start.
    Nothing,
}

/// A task that may be handed out, or what stands in its way.
#[derive(Debug, PartialEq)]
pub(super) enum Prepared {
    Task(Box<TaskSpec>),
    /// Whoever holds some of its input is gone; they may come back.
    HolderGone(Duration),
    /// These outputs must be made again.
    OutputsLost(Vec<NodeId>),
    Failed(PipelineError),
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

    // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

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

    // ── Handing out ─────────────────────────────────────────────────────────────────────────────────────────────

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

    /// The task a node is, with what it reads.
    pub(super) fn prepare(&mut self, now: Time, id: NodeId, me: PeerId, is_here: &dyn Fn(PeerId) -> bool) -> Prepared {
        let Some((node, stage)) = self.graph.node(id).zip(self.stage_of(id)) else {
            return Prepared::OutputsLost(Vec::new());
        };
        let inputs = match self.inputs_of(node) {
            Ok(inputs) => inputs,
            Err(lost) => return Prepared::OutputsLost(lost),
        };
        let gone: Vec<NodeId> = self.held_by_who_is_gone(node, me, is_here);
        let mut task = stage.task.clone();
        task.inputs = joined(inputs);
        task.labels.join(&self.labels_of(node));
        task.deadline = self.deadline_in(now);
        task.patience = Patience::Endless;
        if task.policy.peer.is_none()
            && let Some(near) = self.peer_near(stage, me).filter(|peer| is_here(*peer))
        {
            task.policy.peer = Some(near);
        }
        if let Err(error) = task.check()
            && stage.export.is_none()
        {
            return Prepared::Failed(PipelineError::Inputs { stage: self.name_of(id), why: error.to_string() });
        }
        let Some(course) = self.courses.get_mut(id as usize) else { return Prepared::OutputsLost(Vec::new()) };
        if gone.is_empty() {
            course.holder_gone_since = None;
            return Prepared::Task(Box::new(task));
        }
        let since = *course.holder_gone_since.get_or_insert(now);
        if now.since(since) < HOLDER_PATIENCE {
            "a peer that holds its input is gone".clone_into(&mut course.note);
            return Prepared::HolderGone(REST);
        }
        course.holder_gone_since = None;
        Prepared::OutputsLost(gone)
    }

    /// Everything a node reads; or the nodes whose output is not there any more.
    fn inputs_of(&self, node: &Node) -> Result<Vec<Payload>, Vec<NodeId>> {
        let mut inputs = Vec::with_capacity(node.takes.len());
        let mut lost = Vec::new();
        for take in &node.takes {
            match take {
                Take::Input { input, element } => {
                    let found = self.spec.inputs.get(*input as usize).and_then(|it| it.elements.get(*element as usize));
                    inputs.extend(found.cloned());
                }
                Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                    Some(NodeState::Done(done)) => match &done.output {
                        Some(output) => inputs.push(output.clone()),
                        None => lost.push(*earlier),
                    },
                    // Of what was skipped nothing is read.
                    Some(NodeState::Skipped) => {}
                    Some(_) | None => lost.push(*earlier),
                },
            }
        }
        if lost.is_empty() { Ok(inputs) } else { Err(lost) }
    }

    /// What is said of everything a node reads.
    fn labels_of(&self, node: &Node) -> Labels {
        let mut all = Labels::default();
        for take in &node.takes {
            let labels = match take {
                Take::Input { input, element } => {
                    self.spec.inputs.get(*input as usize).and_then(|it| it.labels.get(*element as usize))
                }
                Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                    Some(NodeState::Done(done)) => Some(&done.labels),
                    Some(_) | None => None,
                },
            };
            labels.into_iter().for_each(|labels| all.join(labels));
        }
        all
    }

    fn held_by_who_is_gone(&self, node: &Node, me: PeerId, is_here: &dyn Fn(PeerId) -> bool) -> Vec<NodeId> {
        let is_gone = |id: &NodeId| match self.nodes.get(*id as usize) {
            Some(NodeState::Done(done)) => match &done.output {
                Some(Payload::Blob(blob)) => blob.holder != me && !is_here(blob.holder),
                Some(Payload::Inline(_)) | None => false,
            },
            Some(_) | None => false,
        };
        let outputs = node.takes.iter().filter_map(|take| match take {
            Take::Output(id) => Some(*id),
            Take::Input { .. } => None,
        });
        outputs.filter(is_gone).collect()
    }

    /// What a node reads that others hold and this peer need not have.
    fn foreign_inputs(&self, id: NodeId) -> Vec<NodeId> {
        let takes = self.graph.node(id).map(|node| node.takes.as_slice()).unwrap_or_default();
        let foreign = takes.iter().filter_map(|take| match take {
            Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                Some(NodeState::Done(done)) if done.remembered || done.is_elsewhere() => match &done.output {
                    Some(Payload::Blob(_)) => Some(*earlier),
                    Some(Payload::Inline(_)) | None => None,
                },
                Some(_) | None => None,
            },
            Take::Input { .. } => None,
        });
        foreign.collect()
    }

    /// Where the first element of what a stage is to be near to is, or was made.
    fn peer_near(&self, stage: &Stage, me: PeerId) -> Option<PeerId> {
        let near = stage.near.as_ref()?;
        if let Some(input) = self.spec.inputs.iter().find(|input| input.name == *near) {
            return match input.elements.first()? {
                Payload::Inline(_) => Some(me),
                Payload::Blob(blob) => Some(blob.holder),
            };
        }
        let index = (0u32..).zip(&self.spec.stages).find(|(_, other)| other.name == *near)?.0;
        match self.nodes.get(self.graph.nodes_of(index).start as usize)? {
            NodeState::Done(done) => Some(done.executor),
            _ => None,
        }
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

    // ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The task of a node ended.
    pub(super) fn ended(&mut self, id: NodeId, end: Result<TaskResult, TaskError>) -> Followed {
        let name = self.name_of(id);
        match end {
            Ok(result) => self.ended_with(id, name, result),
            Err(TaskError::ShuttingDown) => Followed::Nothing,
            Err(error @ (TaskError::NoCandidate { .. } | TaskError::AllDeclined { .. })) => {
                self.nobody(id, error.to_string(), Duration::ZERO)
            }
            // Its peers may have to say first what they understand; what they may not have they will not have later.
            Err(error @ TaskError::Residency { .. }) if self.rests_of(id) < DOUBTFUL_RESTS => {
                self.nobody(id, error.to_string(), Duration::ZERO)
            }
            Err(TaskError::Overloaded { held, retry_after }) => {
                let why = TaskError::Overloaded { held, retry_after }.to_string();
                self.nobody(id, why, retry_after)
            }
            Err(error @ TaskError::AttemptsExhausted { .. }) => {
                let why = error.to_string();
                self.bad_end(id, PipelineError::Task { stage: name, error }, why, EXHAUSTED_MAX)
            }
            Err(error) => {
                let why = error.to_string();
                self.bad_end(id, PipelineError::Task { stage: name, error }, why, 0)
            }
        }
    }

    fn ended_with(&mut self, id: NodeId, name: String, result: TaskResult) -> Followed {
        let stage = self.graph.node(id).map_or(0, |node| node.stage);
        let code = match &result.report.ending {
            Ending::Exited(code) if *code == 0 || self.graph.asked_for_code.contains(&stage) => *code,
            Ending::Invalid(_) => {
                let ending = result.report.ending;
                return Followed::Failed(PipelineError::Ended {
                    stage: name,
                    ending,
                    log: last_line(&result.report.log),
                });
            }
            Ending::Exited(_) | Ending::Trapped(_) | Ending::LimitHit(_) | Ending::HostFailed(_) => {
                let log = last_line(&result.report.log);
                let error = PipelineError::Ended { stage: name, ending: result.report.ending, log };
                let why = error.to_string();
                return self.bad_end(id, error, why, 0);
            }
        };
        let output_bytes = result.report.output.bytes();
        let run_us = micros(result.report.run);
        let (output, executor, labels) = (Some(result.report.output), result.executor, result.report.labels);
        let held_as = match (self.nodes.get(id as usize), &output) {
            (Some(NodeState::Running(task)), Some(Payload::Blob(blob))) if blob.holder == executor => Some(*task),
            _ => None,
        };
        let done = Done {
            exit_code: code,
            output,
            output_bytes,
            executor,
            labels,
            run_us,
            remembered: false,
            recorded: false,
            held_as,
        };
        self.done(id, done);
        Followed::Done
    }

    /// A release was made, or was not. What stands in its output is no row of anybody: of the labels that what it has read
    /// may carry, none is inherited by it. This is the one place where they end.
    pub(super) fn exported(&mut self, id: NodeId, made: Exported) -> Followed {
        let stage = self.name_of(id);
        match made.result {
            Ok(text) => {
                let (output_bytes, run_us) = (text.len() as u64, micros(made.took));
                let done = Done {
                    exit_code: 0,
                    output: Some(Payload::inline(text)),
                    output_bytes,
                    executor: made.keeper,
                    run_us,
                    remembered: false,
                    recorded: false,
                    held_as: None,
                    labels: Labels::default(),
                };
                self.done(id, done);
                Followed::Done
            }
            // A budget that is whole again some day is not waited for: what is asked then is another thing.
            Err(refused @ Refused::Spent(_)) => Followed::Failed(PipelineError::Refused { stage, refused }),
            Err(refused) if refused.is_retryable() => self.nobody(id, refused.to_string(), REST),
            Err(refused) => Followed::Failed(PipelineError::Refused { stage, refused }),
        }
    }

    fn nobody(&mut self, id: NodeId, why: String, at_least: Duration) -> Followed {
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        if course.rests >= DOUBTFUL_RESTS {
            let foreign = self.foreign_inputs(id);
            if let Some(course) = self.courses.get_mut(id as usize).filter(|_| !foreign.is_empty()) {
                course.rests = 0;
                return Followed::InputsDoubted(foreign);
            }
        }
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        let rest = REST.saturating_mul(1 << course.rests.min(8)).min(REST_MAX).max(at_least);
        course.rests += 1;
        // Nobody was given it.
        course.runs = course.runs.saturating_sub(1);
        course.note = why;
        self.set(id, NodeState::Resting);
        Followed::Rest(rest)
    }

    fn bad_end(&mut self, id: NodeId, error: PipelineError, why: String, at_least: u32) -> Followed {
        if at_least > 0 {
            let foreign = self.foreign_inputs(id);
            if !foreign.is_empty() {
                return Followed::InputsDoubted(foreign);
            }
        }
        let retries = self.stage_of(id).map_or(0, |stage| u32::from(stage.retries)).max(at_least);
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        course.failures += 1;
        course.note = why;
        if course.failures > retries {
            return Followed::Failed(error);
        }
        self.set(id, NodeState::Ready);
        Followed::Again
    }

    /// A node has its output without a run. It was made of the same bytes, of which other things may be said here.
    pub(super) fn done_as_known(&mut self, id: NodeId, mut done: Done) {
        let read = self.graph.node(id).map(|node| self.labels_of(node)).unwrap_or_default();
        let declared = self.stage_of(id).map(|stage| stage.task.labels.clone()).unwrap_or_default();
        [read, declared].iter().for_each(|labels| done.labels.join(labels));
        self.done(id, done);
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

    /// Those for whom this was the last to wait for.
    fn unlocked_by(&mut self, id: NodeId) -> Vec<NodeId> {
        let followers = self.graph.node(id).map(|node| node.before.clone()).unwrap_or_default();
        let mut unlocked = Vec::new();
        for follower in followers {
            if let Some(missing) = self.missing.get_mut(follower as usize) {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    unlocked.push(follower);
                }
            }
        }
        unlocked
    }

    /// Decides of each whether it is run, and of those that follow from it when it is not.
    fn judge_all(&mut self, mut free: Vec<NodeId>) {
        while let Some(id) = free.pop() {
            if self.nodes.get(id as usize).is_none_or(|state| *state != NodeState::Waiting) {
                continue;
            }
            if self.is_wanted(id) {
                self.set(id, NodeState::Ready);
            } else {
                self.set(id, NodeState::Skipped);
                free.extend(self.unlocked_by(id));
            }
        }
    }

    /// Whether a node is to be run, everything it waits for having ended.
    fn is_wanted(&self, id: NodeId) -> bool {
        let Some((node, stage)) = self.graph.node(id).zip(self.stage_of(id)) else { return false };
        if stage.when.as_ref().is_some_and(|when| !self.holds(when)) {
            return false;
        }
        let is_skipped = |take: &Take| match take {
            Take::Input { .. } => false,
            Take::Output(earlier) => matches!(self.nodes.get(*earlier as usize), Some(NodeState::Skipped)),
        };
        let element_skipped = stage.map.is_some() && node.takes.first().is_some_and(is_skipped);
        let all_skipped = !node.takes.is_empty() && node.takes.iter().all(is_skipped);
        !element_skipped && !all_skipped
    }

    /// Whether a condition holds. Of a stage that was skipped nothing holds.
    fn holds(&self, when: &When) -> bool {
        let Some((index, _)) = (0u32..).zip(&self.spec.stages).find(|(_, stage)| stage.name == when.stage) else {
            return false;
        };
        let mut ends = self.graph.nodes_of(index).map(|id| self.nodes.get(id as usize));
        let mut skipped = false;
        let met = ends.all(|state| match state {
            Some(NodeState::Done(done)) => meets(when, done),
            Some(_) | None => {
                skipped = true;
                false
            }
        });
        !skipped && met != when.not
    }

    // ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Lets go of outputs that nobody will read any more, of those that `id` has read; results stay.
    pub(super) fn let_go(&mut self, id: NodeId) -> Vec<(NodeId, Option<(PeerId, TaskId)>)> {
        let after = self.graph.node(id).map(|node| node.after.clone()).unwrap_or_default();
        let mut freed = Vec::new();
        for earlier in after {
            let is_final = |id: &NodeId| self.nodes.get(*id as usize).is_some_and(NodeState::is_final);
            let Some(node) = self.graph.node(earlier) else { continue };
            if node.readers.is_empty() || !node.before.iter().all(is_final) {
                continue;
            }
            if let Some(NodeState::Done(done)) = self.nodes.get_mut(earlier as usize)
                && let Some(output) = done.output.take()
            {
                self.bytes -= inline_bytes(Some(&output));
                freed.push((earlier, done.held_as.map(|task| (done.executor, task))));
            }
        }
        freed
    }

    /// The same of a node that may not have ended.
    pub(super) fn let_go_if_final(&mut self, id: NodeId) -> Vec<(NodeId, Option<(PeerId, TaskId)>)> {
        if self.nodes.get(id as usize).is_some_and(NodeState::is_final) { self.let_go(id) } else { Vec::new() }
    }

    /// Has these made again, and everything for that whose output was let go. The nodes that are open again.
    pub(super) fn make_again(&mut self, lost: Vec<NodeId>) -> Vec<NodeId> {
        let (mut to_reset, mut reset) = (lost, BTreeSet::new());
        while let Some(id) = to_reset.pop() {
            let is_done = matches!(self.nodes.get(id as usize), Some(NodeState::Done(_)));
            if !is_done || !reset.insert(id) {
                continue;
            }
            for take in self.graph.node(id).map(|node| node.takes.clone()).unwrap_or_default() {
                if let Take::Output(earlier) = take
                    && let Some(NodeState::Done(done)) = self.nodes.get(earlier as usize)
                    && done.output.is_none()
                {
                    to_reset.push(earlier);
                }
            }
        }
        for id in &reset {
            if let Some(NodeState::Done(done)) = self.nodes.get(*id as usize) {
                self.bytes -= inline_bytes(done.output.as_ref());
            }
            self.set(*id, NodeState::Waiting);
            if let Some(course) = self.courses.get_mut(*id as usize) {
                // What others said of it was of no use.
                course.asked = true;
            }
        }
        self.count_missing();
        reset.into_iter().collect()
    }

    /// Reckons anew what everything that has not begun waits for.
    fn count_missing(&mut self) {
        let mut free = Vec::new();
        for id in 0..self.nodes.len() as u32 {
            let Some(node) = self.graph.node(id) else { continue };
            let is_open = |id: &&NodeId| self.nodes.get(**id as usize).is_some_and(|state| !state.is_final());
            let count = node.after.iter().filter(is_open).count() as u32;
            if let Some(missing) = self.missing.get_mut(id as usize) {
                *missing = count;
            }
            match (self.nodes.get(id as usize), count) {
                (Some(NodeState::Ready | NodeState::Resting | NodeState::Recalling), 1..) => {
                    self.set(id, NodeState::Waiting);
                }
                (Some(NodeState::Waiting), 0) => free.push(id),
                _ => {}
            }
        }
        self.judge_all(free);
    }

    // ── What people see ─────────────────────────────────────────────────────────────────────────────────────────

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

fn meets(when: &When, done: &Done) -> bool {
    let code = when.exit_code.is_none_or(|code| code == done.exit_code);
    let output = when.output_starts_with.as_ref().is_none_or(|beginning| match &done.output {
        Some(Payload::Inline(bytes)) => bytes.starts_with(beginning.as_bytes()),
        Some(Payload::Blob(_)) | None => false,
    });
    code && output
}

fn inline_bytes(output: Option<&Payload>) -> u64 {
    match output {
        Some(Payload::Inline(bytes)) => bytes.len() as u64,
        Some(Payload::Blob(_)) | None => 0,
    }
}

/// What follows each other in memory is one payload: a reduction over a thousand small outputs is a task like any other.
fn joined(inputs: Vec<Payload>) -> Vec<Payload> {
    let small: u64 = inputs.iter().map(|input| inline_bytes(Some(input))).sum();
    let is_single = inputs.iter().filter(|input| matches!(input, Payload::Inline(_))).count() < 2;
    if is_single || small > INLINE_BYTES_MAX {
        return inputs;
    }
    let mut joined: Vec<Payload> = Vec::new();
    let mut pending = BytesMut::new();
    for input in inputs {
        match input {
            Payload::Inline(bytes) => pending.extend_from_slice(&bytes),
            blob @ Payload::Blob(_) => {
                if !pending.is_empty() {
                    joined.push(Payload::Inline(pending.split().freeze()));
                }
                joined.push(blob);
            }
        }
    }
    if !pending.is_empty() {
        joined.push(Payload::Inline(Bytes::from(pending)));
    }
    joined
}

/// Nodes on the longest way from each to an end.
fn ranks(graph: &Graph) -> Vec<u32> {
    let mut ranks = vec![0; graph.nodes.len()];
    for stage in graph.order.iter().rev() {
        for id in graph.nodes_of(*stage) {
            let before = graph.node(id).map(|node| node.before.as_slice()).unwrap_or_default();
            let longest =
                before.iter().filter_map(|next| ranks.get(*next as usize)).max().map_or(0, |rank: &u32| rank + 1);
            if let Some(rank) = ranks.get_mut(id as usize) {
                *rank = longest;
            }
        }
    }
    ranks
}

fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
#[path = "run_tests.rs"]
pub(super) mod tests;
