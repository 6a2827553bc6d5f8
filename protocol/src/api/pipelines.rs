//! Pipelines in the local API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/pipelines` | [`PipelineRequest`] | [`PipelineView`] once it is on disk, or a [`PlanView`] (`dry_run`) |
//! | `GET /v1/pipelines?limit=` | | [`super::Listing`] of [`PipelineView`] without results, newest first |
//! | `GET /v1/pipelines/{id}?wait_ms=` | | [`PipelineView`]; waits that long for the end |
//! | `POST /v1/pipelines/{id}/cancel` | | [`PipelineView`] |
//!
//! A pipeline is a graph. What a stage *takes* is named: inputs of the pipeline and other stages share one space of names.
//! An input is a list of elements. A stage with `map` is one task for each element of that source (an input, or another
//! mapped stage, element by element); one without is one task. A task's standard input is its element, if any, and then
//! everything in `inputs`, in order: a whole list, or all outputs of a mapped stage, which makes it a reduction.
//!
//! ```json
//! {"name": "words",
//!  "inputs": {"texts": [{"text": "a b"}, {"text": "b c"}]},
//!  "stages": [
//!    {"name": "count", "task": {"variants": [{"module": "b3:…"}]}, "map": "texts"},
//!    {"name": "total", "task": {"variants": [{"module": "b3:…"}]}, "inputs": ["count"]}]}
//! ```
//!
//! `GET /v1/events` tells `{"event": "pipeline_changed", "pipeline": …, "stage": "count", "state": "running"}`; the stage is
//! absent where the pipeline as a whole changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{InputRequest, LabelsRequest, OutputView, Problem, TaskRequest, schema};
use crate::certificate::Role;
use crate::id::{PeerId, TaskId};
use crate::pipeline::spec::{StageKind, When};
use crate::pipeline::{PipelineState, StageState};
use crate::privacy::Export;
use crate::task::spec::Priority;

/// A pipeline to be run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineRequest {
    /// For listings.
    #[serde(default)]
    pub name: String,
    /// Named lists of elements.
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<InputRequest>>,
    /// What is said of inputs, by their names; input blobs that are here are labelled so from then on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelsRequest>,
    /// The stages, in any order.
    pub stages: Vec<StageRequest>,
    /// All of it must have ended this long after its acceptance, in milliseconds; each stage is told what is left.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Of every stage that names none.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// How long its results are kept, in milliseconds; 24 hours where absent. Without a deadline it has failed after this long.
    #[serde(default)]
    pub retention_ms: Option<u64>,
    /// The same key of the same submitter always names the same pipeline.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Whose key it is; the peer's own id where absent.
    #[serde(default)]
    pub submitter: Option<PeerId>,
    /// Only say where its tasks would run, and when they would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// What others call it.
    pub name: String,
    /// `process`, `transfer` or `compute` (where absent): for people; `export` for a statistic instead of a task.
    #[serde(default)]
    pub kind: StageKind,
    /// Module, arguments, limits and constraints, as for a task by itself. `inputs`, `deadline_ms`, `retries`, `durable`,
    /// `retention_ms`, `idempotency_key`, `submitter`, `start_within_ms`, `wait` and `dry_run` of it are not used. Left out
    /// where the stage is an export.
    #[serde(default)]
    pub task: TaskRequest,
    /// One task for each element of this source.
    #[serde(default)]
    pub map: Option<String>,
    /// Sources read whole, in this order.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Run only if this holds: `{"stage": "check", "exit_code": 0}`, or `"output_starts_with"`; with `"not": true`, if it
    /// does not.
    #[serde(default)]
    pub when: Option<When>,
    /// Where the first element of this source is, or was made.
    #[serde(default)]
    pub near: Option<String>,
    /// Times it is run again after its module ended badly; 0 where absent.
    #[serde(default)]
    pub retries: u8,
    /// The same module, arguments and input always give the same output: a known output is not made again.
    #[serde(default)]
    pub deterministic: bool,
    /// What it is likely to write, in bytes; what was learnt of the module where absent.
    #[serde(default)]
    pub expected_output_bytes: Option<u64>,
    /// What the keeper of a data set is asked for, of what the stage reads: `{"dataset": "street@nas", "query": "mean",
    /// "noise": {"epsilon": "0.1"}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
}

/// A pipeline, as its home peer knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub pipeline: TaskId,
    /// The name it was submitted under.
    pub name: String,
    /// Where it is in its life.
    pub state: PipelineState,
    /// Microseconds since it was accepted.
    pub age_us: u64,
    /// From its acceptance to its end, in microseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_us: Option<u64>,
    /// Time left to its deadline, in milliseconds, while it has one and has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_in_ms: Option<u64>,
    /// Its stages, as they were declared.
    pub stages: Vec<StageView>,
    /// What those stages wrote that no other takes from, one entry an element; once it is done, and asked for by its id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, Vec<ResultView>>,
    /// Why it has no good end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultView {
    /// What was written.
    pub output: OutputView,
    /// Who holds it, where it is a blob: `GET /v1/blobs/{id}?from=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<PeerId>,
}

/// A stage under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageView {
    /// Its name.
    pub name: String,
    /// What it is to people.
    pub kind: StageKind,
    /// Where it is in its life.
    pub state: StageState,
    /// The stages it waits for.
    pub after: Vec<String>,
    /// Tasks it consists of.
    pub tasks: u32,
    /// Of these, have ended well and are on disk here.
    pub done: u32,
    /// Of these, are handed out.
    pub running: u32,
    /// Of these, were not to be run.
    pub skipped: u32,
    /// Of these, were known and not run.
    pub remembered: u32,
    /// Times its tasks were handed out; more than `tasks` where some were run again.
    pub runs: u32,
    /// Time its modules ran, together, in microseconds.
    pub run_us: u64,
    /// What they wrote, in bytes.
    pub output_bytes: u64,
    /// The code of its last task that exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// Names of the peers that ran them; some of them, where they are many.
    pub peers: Vec<String>,
    /// What it is waiting for, where that is not the ordinary course.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Where the tasks of a pipeline would run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// The name in the request.
    pub name: String,
    /// How it was made: `list` (list scheduling), `search` (improved by a local search).
    pub method: String,
    /// When all of it would have ended, in milliseconds from now.
    pub completion_ms: f64,
    /// Bytes that would move from one peer to another.
    pub moved_bytes: u64,
    /// Of these, between an edge peer and a cloud peer.
    pub between_tiers_bytes: u64,
    /// Whether that is within the deadline; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_deadline: Option<bool>,
    /// The tasks, in the order of their begin.
    pub tasks: Vec<PlannedTask>,
    /// Stages that nobody here may run now, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_peer: Vec<WithoutPeer>,
}

/// One task of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Of which stage.
    pub stage: String,
    /// Which of its tasks.
    pub element: u32,
    /// Where.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What it reads, in bytes.
    pub input_bytes: u64,
    /// Of these, what must be brought there, and from whom.
    pub from: Vec<PlannedTransfer>,
    /// What it would write.
    pub output_bytes: u64,
    /// Milliseconds from now.
    pub start_ms: f64,
    /// The same.
    pub end_ms: f64,
}

/// Bytes from one peer to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTransfer {
    /// The name of who has them.
    pub peer: String,
    /// How many.
    pub bytes: u64,
}

/// A stage that nobody here may run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithoutPeer {
    /// Which.
    pub stage: String,
    /// Why, counted.
    pub why: String,
}
