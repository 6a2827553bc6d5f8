//! Pipelines: graphs of tasks over blobs, run by the peer they were handed in at.
//!
//! ```text
//! submitted ─► graph checked ─► on disk ─► acknowledged ─► ready tasks to the requester ─► their ends ─► on disk
//!                                                ▲                        │                    │
//!                                                └── what waited for them ┴────────────────────┘ … ─► done | failed | cancelled
//! start ─► what is on disk: tasks that have ended are not run again
//! ```
//!
//! A stage's task is an ordinary task in memory; what lasts is the pipeline's own record of which have ended with what. A task
//! may begin before the record of what it reads is on disk: whoever asks is told that a task has *ended* only once that is
//! written, and a power cut before then costs one more run, never a wrong result.
//!
//! **Invariant:** every map here is bounded by the constants below and those of `graph.rs`.
//! **Not here:** where a task runs (`placement/`, helped by `plan.rs`), and how it gets there (`task/requester/`).

pub mod error;
pub mod graph;
mod looking;
pub mod memo;
pub mod plan;
mod record;
mod restoring;
mod run;
mod shown;
pub mod spec;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::config::RETENTION_MAX;
use crate::id::{BlobId, PeerId, TaskId};
use crate::output::{Event, Outbox, Output, TaskError, TaskResult};
use crate::peer::Holding;
use crate::privacy::{Export, Refused};
use crate::residency::Labels;
use crate::store::Change;
use crate::task::deadlines::Deadlines;
use crate::task::spec::{Payload, TaskSpec};
use crate::time::{Time, micros};

pub use self::error::PipelineError;
use self::graph::{Graph, GraphError, NodeId};
use self::memo::{Known, Memo, MemoKey};
pub(crate) use self::record::is_of_a_pipeline;
use self::record::{EndRecord, NodeRecord, PipelineRecord, Tally};
use self::run::{Followed, NodeState, Prepared, Run};
use self::spec::{PipelineId, PipelineSpec};

/// Pipelines that have not ended. Each has at most 64 tasks out, so that all together fill what a peer holds of tasks.
pub const OPEN_MAX: usize = 256;
/// Pipelines that have ended and can still be asked for; the oldest go first.
pub const ENDED_MAX: usize = 512;
/// Bytes of inputs and outputs in memory, of all pipelines.
pub const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Tasks of pipelines ended or begun that a pipeline may have while others share the peer: see [`graph::NODES_MAX`].
pub const NODES_MAX: usize = 16 * graph::NODES_MAX;
/// A record that could not be written is tried again after this long.
const REWRITE: Duration = Duration::from_secs(5);
/// A result is kept this long at least.
const RETENTION_MIN: Duration = Duration::from_secs(1);

/// Where a pipeline is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PipelineState {
    /// It is being written down.
    Accepted,
    /// It is under way.
    Running,
    /// All of it has ended well.
    Done,
    /// A stage failed it.
    Failed,
    /// Its user withdrew it.
    Cancelled,
}

impl PipelineState {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Where a stage is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// For other stages, or for somebody who can run it.
    Waiting,
    /// Some of its tasks are handed out, or have ended.
    Running,
    /// All its tasks have ended.
    Done,
    /// It was not to be run.
    Skipped,
    /// It has failed, and the pipeline by it.
    Failed,
}

/// A pipeline as a user hands it in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSubmission {
    /// What its user calls it.
    pub name: String,
    /// What is to be done.
    pub spec: PipelineSpec,
    /// How long its results are kept after its end.
    pub retention: Duration,
}

/// What was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// A pipeline that was handed in.
    Taken(PipelineId),
    /// The end of one of its tasks.
    Node(PipelineId, NodeId),
    /// Its own end.
    Ended(PipelineId),
    /// What nobody waits for.
    Nothing,
}

/// What the peer is to do for pipelines.
#[derive(Debug)]
pub(crate) enum Order {
    /// Write this.
    Write(Vec<Change>, Written),
    /// A task of a user is not wanted any more.
    Cancel(TaskId),
    /// The output that this peer holds for a task is not needed any more.
    LetGo { holder: PeerId, task: TaskId },
    /// Its keepers are to remember this.
    Remember(MemoKey, Known),
}

/// What came of a stage that is a release.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) keeper: PeerId,
    pub(crate) took: Duration,
    pub(crate) result: Result<String, Refused>,
}

/// A task to be handed to the requester.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) pipeline: PipelineId,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    /// What others may know its output by, unless they were asked already.
    pub(crate) memo: Option<MemoKey>,
    /// It is no task, but this.
    pub(crate) export: Option<Export>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Wake(PipelineId, NodeId),
    Lifetime(PipelineId),
    Forget(PipelineId),
    Rewrite(PipelineId),
}

/// A pipeline that has ended.
#[derive(Debug)]
struct Ended {
    spec: PipelineSpec,
    error: Option<PipelineError>,
    total_us: u64,
    until_unix_ms: u64,
    tallies: Vec<Tally>,
    results: BTreeMap<u32, Vec<Payload>>,
    bytes: u64,
    /// Nodes that stand on disk.
    recorded: Vec<NodeId>,
}

/// An output that keepers are asked for.
#[derive(Debug)]
struct Recall {
    waiting: Vec<(PipelineId, NodeId)>,
    unanswered: usize,
}

#[derive(Debug)]
enum Phase {
    /// It is on its way to the disk.
    Storing(Box<Run>),
    Open(Box<Run>),
    /// Its end is on its way to the disk: nobody is told before it is there.
    Ending(Box<Run>, Box<Ended>),
    Ended(Box<Ended>),
}

#[derive(Debug)]
struct Held {
    name: String,
    retention: Duration,
    accepted_unix_ms: u64,
    turn: u64,
    /// Of its inputs, in memory.
    input_bytes: u64,
    phase: Phase,
}

impl Held {
    fn run(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => Some(run),
            Phase::Ended(_) => None,
        }
    }

    fn open(&mut self) -> Option<&mut Run> {
        match &mut self.phase {
            Phase::Open(run) => Some(run),
            Phase::Storing(_) | Phase::Ending(..) | Phase::Ended(_) => None,
        }
    }

    fn bytes(&self) -> u64 {
        let outputs = match &self.phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => run.bytes,
            Phase::Ended(ended) => ended.bytes,
        };
        self.input_bytes.saturating_add(outputs)
    }
}

/// What pipelines are told of the rest of the peer.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) now: Time,
    /// The date now, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    pub(crate) is_here: &'a dyn Fn(PeerId) -> bool,
}

/// All pipelines of this peer's users.
#[derive(Debug)]
pub(crate) struct Pipelines {
    me: PeerId,
    boot: u32,
    held: BTreeMap<PipelineId, Held>,
    by_turn: BTreeMap<u64, PipelineId>,
    by_task: BTreeMap<TaskId, (PipelineId, NodeId)>,
    due: Deadlines<Due>,
    orders: VecDeque<Order>,
    /// Open ones with something to hand out, perhaps.
    stirred: BTreeSet<PipelineId>,
    pub(crate) memo: Memo,
    /// What is asked of keepers, how many of them have not answered, and by which it is to be remembered later.
    recalls: BTreeMap<MemoKey, Recall>,
    keys: BTreeMap<(PipelineId, NodeId), MemoKey>,
    turns: u64,
    leaving: bool,
    /// Tasks that ended well, since the start.
    pub(crate) tasks_done: u64,
    /// Tasks that were not run since their output was known.
    pub(crate) recalled: u64,
    /// Tasks whose output had to be made again.
    pub(crate) made_again: u64,
}

impl Pipelines {
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            me,
            boot: 0,
            held: BTreeMap::new(),
            by_turn: BTreeMap::new(),
            by_task: BTreeMap::new(),
            due: Deadlines::default(),
            orders: VecDeque::new(),
            stirred: BTreeSet::new(),
            memo: Memo::default(),
            recalls: BTreeMap::new(),
            keys: BTreeMap::new(),
            turns: 0,
            leaving: false,
            tasks_done: 0,
            made_again: 0,
            recalled: 0,
        }
    }

    /// What pipelines take up here, beside what they may.
    pub(crate) fn holdings(&self) -> [Holding; 4] {
        let open = self.held.values().filter(|held| held.run().is_some()).count();
        let holding = |what, held, max| Holding { what, held, max };
        [
            holding("unfinished pipelines", open, OPEN_MAX),
            holding("finished pipelines", self.held.len() - open, ENDED_MAX),
            holding("known outputs", self.memo.len(), memo::ENTRIES_MAX),
            // One output may be on its way while the bound is reached.
            holding(
                "bytes of pipelines",
                self.bytes() as usize,
                (BYTES_MAX + crate::config::OUTPUT_BYTES_MAX) as usize,
            ),
        ]
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.due.next()
    }

    /// What is to be done, oldest first.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn bytes(&self) -> u64 {
        self.held.values().map(Held::bytes).fold(0, u64::saturating_add)
    }

    // ── Users ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a pipeline in; the same id again is the same pipeline.
    pub(crate) fn submit(
        &mut self,
        around: Around<'_>,
        has_store: bool,
        pipeline: PipelineId,
        given: PipelineSubmission,
        out: &mut Outbox,
    ) {
        let answer = |result| Output::PipelineAnswered { pipeline, result };
        match self.held.get(&pipeline).map(|held| &held.phase) {
            // The answer to the first submission is an answer to this one.
            Some(Phase::Storing(_)) => return,
            Some(Phase::Open(_) | Phase::Ending(..) | Phase::Ended(_)) => return out.push(answer(Ok(()))),
            None => {}
        }
        let graph = match self.admit(has_store, &given) {
            Ok(graph) => graph,
            Err(error) => return out.push(answer(Err(error))),
        };
        let PipelineSubmission { name, spec, retention } = given;
        let retention = retention.clamp(RETENTION_MIN, RETENTION_MAX);
        let record = PipelineRecord { name, spec, accepted_unix_ms: around.unix_ms, retention, end: None };
        self.orders.push_back(Order::Write(vec![record::put_pipeline(pipeline, &record)], Written::Taken(pipeline)));
        let PipelineRecord { name, spec, .. } = record;
        out.push(Output::Keep { task: pipeline, blobs: blobs_of(&spec, self.me) });
        let run = Run::new(around.now, Duration::ZERO, spec, graph);
        self.due.set(Due::Lifetime(pipeline), around.now + run.lifetime(retention));
        self.enter(pipeline, name, retention, around.unix_ms, Phase::Storing(Box::new(run)));
        self.tell(pipeline, None, "accepted", None, out);
    }

    fn admit(&self, has_store: bool, given: &PipelineSubmission) -> Result<Graph, TaskError> {
        if self.leaving {
            return Err(TaskError::ShuttingDown);
        }
        if !has_store {
            return Err(TaskError::NotStored { why: "this peer has no store".into() });
        }
        let graph = Graph::of(&given.spec).map_err(|error| TaskError::NotStored { why: error.to_string() })?;
        let held = self.held.values().filter(|held| held.run().is_some()).count();
        let nodes = self.held.values().filter_map(Held::run).map(|run| run.nodes.len()).sum::<usize>();
        let bytes = self.bytes().saturating_add(input_bytes(&given.spec));
        if held >= OPEN_MAX || nodes + graph.nodes.len() > NODES_MAX || bytes > BYTES_MAX {
            return Err(TaskError::Overloaded { held, retry_after: Duration::from_secs(1) });
        }
        Ok(graph)
    }

    fn enter(&mut self, id: PipelineId, name: String, retention: Duration, accepted_unix_ms: u64, phase: Phase) {
        self.turns += 1;
        self.by_turn.insert(self.turns, id);
        let input_bytes = match &phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => input_bytes(&run.spec),
            Phase::Ended(_) => 0,
        };
        self.held.insert(id, Held { name, retention, accepted_unix_ms, turn: self.turns, input_bytes, phase });
    }

    /// A user withdraws a pipeline.
    pub(crate) fn cancel(&mut self, around: Around<'_>, pipeline: PipelineId, out: &mut Outbox) {
        if self.held.get(&pipeline).is_some_and(|held| held.run().is_some()) {
            self.end(around, pipeline, Some(PipelineError::Cancelled), out);
        }
    }

    /// This peer is going: what is under way goes on at its next start.
    pub(crate) fn shut_down(&mut self) {
        self.leaving = true;
    }

    // ── The store ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Something is on disk, or is not.
    pub(crate) fn written(&mut self, around: Around<'_>, what: Written, result: Result<(), String>, out: &mut Outbox) {
        match (what, result) {
            (Written::Taken(pipeline), Ok(())) => {
                let Some(held) = self.held.get_mut(&pipeline) else { return };
                let Phase::Storing(_) = &held.phase else { return };
                let phase = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
                if let Phase::Storing(run) = phase {
                    held.phase = Phase::Open(run);
                }
                self.stirred.insert(pipeline);
                out.push(Output::PipelineAnswered { pipeline, result: Ok(()) });
                self.tell(pipeline, None, "running", None, out);
            }
            (Written::Taken(pipeline), Err(why)) => {
                self.forget(pipeline, out);
                out.push(Output::PipelineAnswered { pipeline, result: Err(TaskError::NotStored { why }) });
            }
            (Written::Node(pipeline, node), Ok(())) => self.recorded(pipeline, node, out),
            (Written::Ended(pipeline), Ok(())) => self.end_is_written(pipeline, out),
            (Written::Ended(pipeline), Err(_)) => self.due.set(Due::Rewrite(pipeline), around.now + REWRITE),
            // It goes on in memory; whoever asks is not told that it has ended.
            (Written::Node(..), Err(_)) | (Written::Nothing, _) => {}
        }
    }

    fn recorded(&mut self, pipeline: PipelineId, node: NodeId, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let Some(NodeState::Done(done)) = run.nodes.get_mut(node as usize) else { return };
        done.recorded = true;
        let Some(stage) = run.graph.node(node).map(|node| node.stage) else { return };
        let is_recorded = |id: NodeId| match run.nodes.get(id as usize) {
            Some(NodeState::Done(done)) => done.recorded,
            Some(NodeState::Skipped) => true,
            Some(_) | None => false,
        };
        if run.graph.nodes_of(stage).all(is_recorded) {
            let name = run.stage_of(node).map(|stage| stage.name.clone());
            self.tell(pipeline, name, "done", None, out);
        }
    }

    // ── Tasks ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// The next task to be handed out.
    pub(crate) fn next_errand(&mut self, around: Around<'_>, out: &mut Outbox) -> Option<Errand> {
        while let Some(pipeline) = self.stirred.first().copied().filter(|_| !self.leaving) {
            let next = self.held.get_mut(&pipeline).and_then(Held::open).and_then(|run| Some((run.next_ready()?, run)));
            let Some((node, run)) = next else {
                self.stirred.remove(&pipeline);
                continue;
            };
            match run.prepare(around.now, node, self.me, around.is_here) {
                Prepared::Task(spec) => {
                    let export = run.stage_of(node).and_then(|stage| stage.export.clone());
                    let is_deterministic = run.stage_of(node).is_some_and(|stage| stage.deterministic);
                    let memo = MemoKey::of(&spec).filter(|_| is_deterministic && !run.was_asked_for(node));
                    let name = self.title(pipeline, node);
                    return Some(Errand { pipeline, node, name, spec: *spec, memo, export });
                }
                Prepared::HolderGone(rest) => {
                    run.rest(node);
                    self.due.set(Due::Wake(pipeline, node), around.now + rest);
                }
                Prepared::OutputsLost(lost) => self.make_again(pipeline, node, lost, out),
                Prepared::Failed(error) => self.end(around, pipeline, Some(error), out),
            }
        }
        None
    }

    /// `words/count#3`, for listings of tasks.
    /// What its user calls a pipeline.
    pub(crate) fn name_of(&self, pipeline: PipelineId) -> &str {
        self.held.get(&pipeline).map_or("", |held| held.name.as_str())
    }

    fn title(&self, pipeline: PipelineId, node: NodeId) -> String {
        let Some(held) = self.held.get(&pipeline) else { return String::new() };
        let stage = held.run().map(|run| run.name_of(node)).unwrap_or_default();
        if held.name.is_empty() { stage } else { format!("{}/{stage}", held.name) }
    }

    /// What a task is to be called: no two starts of this peer, and no two runs, have the same name for one.
    pub(crate) fn begin(&mut self, pipeline: PipelineId, node: NodeId, out: &mut Outbox) -> TaskId {
        let handed = self.held.get(&pipeline).and_then(Held::run).map_or(0, |run| run.handed(node));
        let mut key = pipeline.0.to_vec();
        key.extend(node.to_be_bytes());
        key.extend(self.boot.to_be_bytes());
        key.extend(handed.to_be_bytes());
        let task = TaskId::derive(self.me, &key);
        self.by_task.insert(task, (pipeline, node));
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return task };
        run.started(node, task);
        let is_first = run.graph.node(node).is_some_and(|it| {
            let siblings = run.graph.nodes_of(it.stage);
            siblings.clone().all(|id| {
                id == node || matches!(run.nodes.get(id as usize), Some(NodeState::Ready | NodeState::Waiting))
            })
        });
        if is_first && handed == 0 {
            let name = run.stage_of(node).map(|stage| stage.name.clone());
            self.tell(pipeline, name, "running", None, out);
        }
        task
    }

    /// Keepers are asked for an output, so many of them.
    pub(crate) fn asked(&mut self, around: Around<'_>, errand: &Errand, key: MemoKey, keepers: usize) {
        let at = (errand.pipeline, errand.node);
        let recall = self.recalls.entry(key).or_insert_with(|| Recall { waiting: Vec::new(), unanswered: keepers });
        recall.waiting.push(at);
        if let Some(run) = self.held.get_mut(&at.0).and_then(Held::open) {
            run.recalling(at.1);
            self.due.set(Due::Wake(at.0, at.1), around.now + memo::PATIENCE);
        }
    }

    /// Whether a keeper was asked for this and has not answered, so that it need not be asked again.
    pub(crate) fn is_asked(&self, key: MemoKey) -> bool {
        self.recalls.contains_key(&key)
    }

    /// What a keeper knows.
    pub(crate) fn told(&mut self, around: Around<'_>, key: MemoKey, known: Option<Known>, out: &mut Outbox) {
        // Whoever holds it must be there to give it.
        let is_had = |known: &Known| known.holder().is_none_or(|holder| holder == self.me || (around.is_here)(holder));
        let known = known.filter(is_had);
        let Some(recall) = self.recalls.get_mut(&key) else { return };
        recall.unanswered = recall.unanswered.saturating_sub(1);
        if known.is_none() && recall.unanswered > 0 {
            return;
        }
        let Some(recall) = self.recalls.remove(&key) else { return };
        for (pipeline, node) in recall.waiting {
            self.due.clear(&Due::Wake(pipeline, node));
            match &known {
                Some(known) => self.known(around, pipeline, node, known.clone(), out),
                None => self.wake(pipeline, node),
            }
        }
        if let Some(known) = known {
            self.memo.remember(key, known);
        }
    }

    /// The output of a task is known: it need not be run.
    pub(crate) fn known(
        &mut self,
        around: Around<'_>,
        pipeline: PipelineId,
        node: NodeId,
        known: Known,
        out: &mut Outbox,
    ) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        if run.is_open_to_known(node) {
            self.recalled += 1;
            run.done_as_known(node, known.done());
            self.done(around, pipeline, node, out);
        }
    }

    /// By which the output of a task is to be remembered when it has one.
    pub(crate) fn remember_by(&mut self, pipeline: PipelineId, node: NodeId, key: MemoKey) {
        self.keys.insert((pipeline, node), key);
    }

    fn wake(&mut self, pipeline: PipelineId, node: NodeId) {
        if let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) {
            run.wake(node);
            self.stirred.insert(pipeline);
        }
    }

    /// A task that was handed out has ended.
    pub(crate) fn ended(
        &mut self,
        around: Around<'_>,
        task: TaskId,
        end: Result<TaskResult, TaskError>,
        out: &mut Outbox,
    ) {
        let Some((pipeline, node)) = self.by_task.remove(&task) else { return };
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let followed = run.ended(node, end);
        self.follow(around, pipeline, node, followed, out);
    }

    /// A keeper has answered a stage that is a release, or has not.
    pub(crate) fn exported(&mut self, around: Around<'_>, task: TaskId, made: Exported, out: &mut Outbox) {
        let Some((pipeline, node)) = self.by_task.remove(&task) else { return };
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let followed = run.exported(node, made);
        self.follow(around, pipeline, node, followed, out);
    }

    fn follow(&mut self, around: Around<'_>, pipeline: PipelineId, node: NodeId, followed: Followed, out: &mut Outbox) {
        match followed {
            Followed::Done => self.done(around, pipeline, node, out),
            Followed::Again => drop(self.stirred.insert(pipeline)),
            Followed::Rest(rest) => self.due.set(Due::Wake(pipeline, node), around.now + rest),
            Followed::Failed(error) => self.end(around, pipeline, Some(error), out),
            Followed::InputsDoubted(lost) => self.make_again(pipeline, node, lost, out),
            Followed::Nothing => {}
        }
    }

    fn done(&mut self, around: Around<'_>, pipeline: PipelineId, node: NodeId, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let Some(NodeState::Done(done)) = run.nodes.get(node as usize) else { return };
        let Some(output) = done.output.clone() else { return };
        if let Payload::Blob(blob) = &output
            && blob.holder == self.me
        {
            out.push(Output::Keep { task: keeper(pipeline, node), blobs: vec![blob.id] });
        }
        let record = NodeRecord {
            exit_code: done.exit_code,
            output,
            executor: done.executor,
            run_us: done.run_us,
            runs: run.runs_of(node),
            remembered: done.remembered,
            held_as: done.held_as,
            labels: done.labels.clone(),
        };
        let change = record::put_node(pipeline, node, &record);
        self.orders.push_back(Order::Write(vec![change], Written::Node(pipeline, node)));
        if let Some(key) = self.keys.remove(&(pipeline, node))
            && let Some(known) = Known::of(done).filter(|known| !done.remembered && known.lasts(self.me))
        {
            self.memo.remember(key, known.clone());
            self.orders.push_back(Order::Remember(key, known));
        }
        for (freed, held) in run.let_go(node) {
            out.push(Output::Forget { task: keeper(pipeline, freed) });
            self.orders.extend(held.map(|(holder, task)| Order::LetGo { holder, task }));
        }
        let (is_over, bytes, stage) = (run.is_over(), self.bytes(), self.title(pipeline, node));
        self.tasks_done += 1;
        self.stirred.insert(pipeline);
        if is_over {
            self.end(around, pipeline, None, out);
        } else if bytes > BYTES_MAX {
            let error = PipelineError::TooMuch { stage, bytes, limit: BYTES_MAX };
            self.end(around, pipeline, Some(error), out);
        }
    }

    fn make_again(&mut self, pipeline: PipelineId, reader: NodeId, lost: Vec<NodeId>, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        run.rest(reader);
        let mut reset = run.make_again(lost);
        // Whatever happened meanwhile: it is looked at again.
        run.wake(reader);
        reset.retain(|node| *node != reader);
        self.made_again += reset.len() as u64;
        for node in &reset {
            out.push(Output::Forget { task: keeper(pipeline, *node) });
        }
        let changes = reset.iter().map(|node| record::delete_node(pipeline, *node)).collect();
        self.orders.push_back(Order::Write(changes, Written::Nothing));
    }

    // ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn end(&mut self, around: Around<'_>, pipeline: PipelineId, error: Option<PipelineError>, out: &mut Outbox) {
        let Some(held) = self.held.get_mut(&pipeline) else { return };
        let (Phase::Storing(run) | Phase::Open(run)) = &held.phase else { return };
        for (task, node) in run.running() {
            self.by_task.remove(&task);
            self.due.clear(&Due::Wake(pipeline, node));
            self.orders.push_back(Order::Cancel(task));
        }
        (0..run.nodes.len() as u32).for_each(|node| self.due.clear(&Due::Wake(pipeline, node)));
        self.keys.retain(|(of, _), _| *of != pipeline);
        let is_done = error.is_none();
        let results = if is_done { run.results() } else { BTreeMap::new() };
        let kept: BTreeSet<NodeId> = results.keys().flat_map(|stage| run.graph.nodes_of(*stage)).collect();
        let (gone, recorded): (Vec<NodeId>, Vec<NodeId>) = run.done_nodes().partition(|node| !kept.contains(node));
        let mut spec = run.spec.clone();
        spec.inputs.iter_mut().for_each(|input| input.elements.clear());
        let retention = u64::try_from(held.retention.as_millis()).unwrap_or(u64::MAX);
        let ended = Ended {
            error,
            total_us: micros(run.age(around.now)),
            until_unix_ms: around.unix_ms.saturating_add(retention),
            tallies: run.tallies(),
            bytes: run.result_bytes(&results),
            results,
            recorded,
            spec,
        };
        let mut changes = vec![record::put_pipeline(pipeline, &held.record(&ended))];
        changes.extend(gone.iter().map(|node| record::delete_node(pipeline, *node)));
        self.orders.push_back(Order::Write(changes, Written::Ended(pipeline)));
        gone.iter().for_each(|node| out.push(Output::Forget { task: keeper(pipeline, *node) }));
        out.push(Output::Forget { task: pipeline });
        for (holder, task) in run.held_elsewhere() {
            self.orders.push_back(Order::LetGo { holder, task });
        }
        held.input_bytes = 0;
        let before = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
        if let Phase::Storing(run) | Phase::Open(run) = before {
            held.phase = Phase::Ending(run, Box::new(ended));
        }
        self.stirred.remove(&pipeline);
        self.due.clear(&Due::Lifetime(pipeline));
        self.due.set(Due::Forget(pipeline), around.now + held.retention);
    }

    fn end_is_written(&mut self, pipeline: PipelineId, out: &mut Outbox) {
        let Some(held) = self.held.get_mut(&pipeline) else { return };
        let before = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
        let Phase::Ending(_, ended) = before else {
            held.phase = before;
            return;
        };
        let (state, note) = (ended.state(), ended.error.as_ref().map(ToString::to_string));
        held.phase = Phase::Ended(ended);
        let word = match state {
            PipelineState::Done => "done",
            PipelineState::Cancelled => "cancelled",
            PipelineState::Failed | PipelineState::Accepted | PipelineState::Running => "failed",
        };
        self.tell(pipeline, None, word, note, out);
        out.push(Output::PipelineEnded { pipeline });
        self.forget_the_oldest(out);
    }

    fn forget_the_oldest(&mut self, out: &mut Outbox) {
        let ended = self.by_turn.values().filter(|id| self.held.get(id).is_some_and(|held| held.run().is_none()));
        let ended: Vec<PipelineId> = ended.copied().collect();
        let over = ended.len().saturating_sub(ENDED_MAX);
        for id in ended.into_iter().take(over) {
            self.forget(id, out);
        }
    }

    fn forget(&mut self, pipeline: PipelineId, out: &mut Outbox) {
        let Some(held) = self.held.remove(&pipeline) else { return };
        self.by_turn.remove(&held.turn);
        self.stirred.remove(&pipeline);
        for due in [Due::Lifetime(pipeline), Due::Forget(pipeline), Due::Rewrite(pipeline)] {
            self.due.clear(&due);
        }
        out.push(Output::Forget { task: pipeline });
        let mut changes = vec![record::delete_pipeline(pipeline)];
        if let Phase::Ended(ended) | Phase::Ending(_, ended) = held.phase {
            for node in ended.recorded {
                out.push(Output::Forget { task: keeper(pipeline, node) });
                changes.push(record::delete_node(pipeline, node));
            }
        }
        self.orders.push_back(Order::Write(changes, Written::Nothing));
    }

    /// Does what is due.
    pub(crate) fn timer(&mut self, around: Around<'_>, out: &mut Outbox) {
        while let Some(due) = self.due.pop_due(around.now) {
            match due {
                Due::Wake(pipeline, node) => {
                    self.recalls.retain(|_, recall| {
                        recall.waiting.retain(|waiting| *waiting != (pipeline, node));
                        !recall.waiting.is_empty()
                    });
                    self.wake(pipeline, node);
                }
                Due::Lifetime(pipeline) => {
                    let Some((held, run)) = self.held.get(&pipeline).and_then(|held| Some((held, held.run()?))) else {
                        continue;
                    };
                    let (after, open) = (run.lifetime(held.retention), run.open_stages());
                    self.end(around, pipeline, Some(PipelineError::DeadlinePassed { after, open }), out);
                }
                Due::Forget(pipeline) => self.forget(pipeline, out),
                Due::Rewrite(pipeline) => {
                    let Some(held) = self.held.get(&pipeline) else { continue };
                    let Phase::Ending(_, ended) = &held.phase else { continue };
                    let change = record::put_pipeline(pipeline, &held.record(ended));
                    self.orders.push_back(Order::Write(vec![change], Written::Ended(pipeline)));
                }
            }
        }
    }

    fn tell(&self, pipeline: PipelineId, stage: Option<String>, state: &str, note: Option<String>, out: &mut Outbox) {
        out.notify(Event::PipelineChanged { pipeline, stage, state: state.to_owned(), note });
    }
}

impl Ended {
    fn nothing() -> Self {
        Self {
            spec: PipelineSpec::default(),
            error: None,
            total_us: 0,
            until_unix_ms: 0,
            tallies: Vec::new(),
            results: BTreeMap::new(),
            bytes: 0,
            recorded: Vec::new(),
        }
    }

    fn state(&self) -> PipelineState {
        match &self.error {
            None => PipelineState::Done,
            Some(PipelineError::Cancelled) => PipelineState::Cancelled,
            Some(_) => PipelineState::Failed,
        }
    }
}

impl Held {
    fn record(&self, ended: &Ended) -> PipelineRecord {
        let end = EndRecord {
            error: ended.error.clone(),
            total_us: ended.total_us,
            until_unix_ms: ended.until_unix_ms,
            tallies: ended.tallies.clone(),
        };
        PipelineRecord {
            name: self.name.clone(),
            spec: ended.spec.clone(),
            accepted_unix_ms: self.accepted_unix_ms,
            retention: self.retention,
            end: Some(end),
        }
    }
}

/// In whose name the output of a node is kept in the local store.
fn keeper(pipeline: PipelineId, node: NodeId) -> TaskId {
    TaskId::derive(PeerId([0; 32]), &[pipeline.0.as_slice(), &node.to_be_bytes()].concat())
}

/// Everything of a pipeline of this peer that must be in the local store to run it from its begin.
pub fn blobs_of(spec: &PipelineSpec, me: PeerId) -> Vec<BlobId> {
    let modules = spec.stages.iter().flat_map(|stage| &stage.task.variants).map(|variant| variant.module);
    let elements = spec.inputs.iter().flat_map(|input| &input.elements).filter_map(|element| match element {
        // What stayed elsewhere is not copied for that: it may be lost with its peer.
        Payload::Blob(blob) => Some(blob.id).filter(|_| blob.holder == me),
        Payload::Inline(_) => None,
    });
    modules.chain(elements).collect::<BTreeSet<_>>().into_iter().collect()
}

fn input_bytes(spec: &PipelineSpec) -> u64 {
    let of = |element: &Payload| match element {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    };
    spec.inputs.iter().flat_map(|input| &input.elements).map(of).fold(0, u64::saturating_add)
}

/// What is said of all that each task of a pipeline would read, and so of what it would write, in the order of the graph's nodes.
pub fn labels_of(spec: &PipelineSpec, graph: &Graph) -> Vec<Labels> {
    let mut all = vec![Labels::default(); graph.nodes.len()];
    for stage in &graph.order {
        for id in graph.nodes_of(*stage) {
            let Some(node) = graph.node(id) else { continue };
            let declared = spec.stages.get(*stage as usize).map(|stage| stage.task.labels.clone());
            let mut labels = declared.unwrap_or_default();
            for take in &node.takes {
                let of = match take {
                    graph::Take::Input { input, element } => {
                        spec.inputs.get(*input as usize).and_then(|it| it.labels.get(*element as usize)).cloned()
                    }
                    graph::Take::Output(earlier) if is_export(spec, graph, *earlier) => None,
                    graph::Take::Output(earlier) => all.get(*earlier as usize).map(Labels::of_output),
                };
                of.iter().for_each(|of| labels.join(of));
            }
            if let Some(slot) = all.get_mut(id as usize) {
                *slot = labels;
            }
        }
    }
    all
}

/// Whether a node is a release, whose output is no row of anybody.
fn is_export(spec: &PipelineSpec, graph: &Graph, id: NodeId) -> bool {
    let stage = graph.node(id).and_then(|node| spec.stages.get(node.stage as usize));
    stage.is_some_and(|stage| stage.export.is_some())
}

/// Why a pipeline cannot be taken as it is.
pub fn check(spec: &PipelineSpec) -> Result<Graph, GraphError> {
    Graph::of(spec)
}
