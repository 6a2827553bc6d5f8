//! A pipeline as its user states it: named inputs, and stages that take from inputs and from each other.
//!
//! **Invariant:** a [`PipelineSpec`] that is run has been checked by [`super::graph::Graph::of`].
//! **Not here:** where a pipeline is in its life (`run.rs`).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::privacy::Export;
use crate::residency::Labels;
use crate::task::spec::{Payload, Priority, TaskSpec};
use crate::time::optional_duration_us;

/// A pipeline's id: derived as those of tasks are, so that blobs are kept in its name as in that of a task.
pub type PipelineId = TaskId;

/// A graph of stages over blobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// What stages may take beside the outputs of others.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<PipelineInput>,
    /// What is to be done.
    #[serde(rename = "s")]
    pub stages: Vec<Stage>,
    /// All of it must have ended this long after its acceptance; each stage is told what is left.
    #[serde(rename = "d", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// Of every stage that names none.
    #[serde(rename = "y", default)]
    pub priority: Priority,
}

/// A named list of payloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineInput {
    /// What stages call it.
    #[serde(rename = "n")]
    pub name: String,
    /// One task an element where a stage is mapped over it; all of them, in order, where it is taken as a whole.
    #[serde(rename = "e")]
    pub elements: Vec<Payload>,
    /// What is said of each element, in their order; nothing of any where this is shorter.
    #[serde(rename = "lb", default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Labels>,
}

/// One stage: a task, or one for each element of what it is mapped over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What others call it, and people.
    #[serde(rename = "n")]
    pub name: String,
    /// What it is to people.
    #[serde(rename = "k", default)]
    pub kind: StageKind,
    /// The task, without its input and its deadline; one without a module where it is an export.
    #[serde(rename = "t")]
    pub task: TaskSpec,
    /// One task for each element of this source, which comes first in its standard input.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// Sources read whole, in this order: all outputs of a mapped stage, which makes this a reduction.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// It is run if this holds, and skipped otherwise.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Where the first element of this source was made or is held, while that peer is there.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub near: Option<String>,
    /// Times it is run again after its module ended badly. Executors that are lost are another matter: see
    /// [`TaskSpec::retries`].
    #[serde(rename = "r", default)]
    pub retries: u8,
    /// The same module, arguments and input always give the same output: one that is known is not made again.
    #[serde(rename = "c", default, skip_serializing_if = "core::ops::Not::not")]
    pub deterministic: bool,
    /// What it is likely to write, in bytes; what was learnt of the module where absent.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub expected_output_bytes: Option<u64>,
    /// It is no task, but a statistic that the keeper of a data set makes of what it reads.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
}

/// What a stage is to people. All but exports are tasks, and none of them is treated differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// It prepares data where they are.
    #[serde(alias = "p")]
    Process,
    /// It makes data ready for the way: packs, encrypts, picks.
    #[serde(alias = "t")]
    Transfer,
    /// It computes.
    #[default]
    #[serde(alias = "c")]
    Compute,
    /// It lets a statistic leave within a privacy budget.
    #[serde(alias = "e")]
    Export,
}

/// What must have come of another stage for this one to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Which stage; of a mapped one, every task.
    #[serde(rename = "stage")]
    pub stage: String,
    /// The code it exited with. A stage that is asked for its code does not fail by it.
    #[serde(rename = "exit_code", default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// What its output begins with; only an output that is carried along is looked into.
    #[serde(rename = "output_starts_with", default, skip_serializing_if = "Option::is_none")]
    pub output_starts_with: Option<String>,
    /// It is run if the rest does *not* hold.
    #[serde(rename = "not", default, skip_serializing_if = "core::ops::Not::not")]
    pub not: bool,
}
