//! A task as a user hands it in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::certificate::Role;
use crate::id::{BlobId, PeerId};
use crate::task::spec::{CloudUse, Priority};

/// A task to be run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// Builds of the module, already in the peer's blob store.
    pub variants: Vec<VariantRequest>,
    /// Arguments after the program name.
    #[serde(default)]
    pub args: Vec<String>,
    /// Standard input, in order.
    #[serde(default)]
    pub inputs: Vec<InputRequest>,
    /// Linear memory, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Wall time of the run, in milliseconds.
    #[serde(default)]
    pub wall_ms: Option<u64>,
    /// Standard output, in bytes.
    #[serde(default)]
    pub output_bytes: Option<u64>,
    /// Time after which the answer is worth less, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Labels the executor must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The role it must have.
    #[serde(default)]
    pub role: Option<Role>,
    /// How cloud peers may be used; the peer's own configuration where absent.
    #[serde(default)]
    pub cloud: Option<CloudUse>,
    /// Only here.
    #[serde(default)]
    pub local_only: bool,
    /// Only at this peer: a name, an id, or a prefix.
    #[serde(default)]
    pub peer: Option<String>,
    /// Only where the sandbox is whole: a peer whose system lacks a part of it declines.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub restricted: bool,
    /// No variant with a greater declared loss.
    #[serde(default)]
    pub loss_max: Option<f64>,
    /// The same said otherwise: no variant with a smaller accuracy, which is 1 less its loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_accuracy: Option<f64>,
    /// λ for this task.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// How long it is expected to run on a reference core; without it the module's earlier runs say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<f64>,
    /// Attempts after the first where an executor is lost, or fails it: 0 to 7, 7 where absent. A module that ends with an
    /// error has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Which of those that wait it goes before: `high`, `normal` (where absent) or `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How long it may be expected to wait for a core, in milliseconds; where it would wait longer it is refused as overload.
    /// Where absent, a task in memory is refused while the mesh is offered more than it can do and this is no burst that
    /// passes; a task on disk waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// How its answer is made sure of: `never` (where absent), `auto`, `sample:P`, `quorum:K/N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Copies on disk before it is acknowledged: 0 (in memory), 1 (here), 2 (here and at a guardian elsewhere).
    #[serde(default)]
    pub durable: u8,
    /// How long its result is kept, in milliseconds; 24 hours where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Its output stays as a blob where it was made, whatever its size, for as long as its result is kept, so that a task that
    /// reads it runs near it. It is lost with that peer, also where `durable` is not 0.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub keep_output: bool,
    /// Where its inputs may be: regions (`eu`) and sites (`site:street-9`). It is run there only, and what it writes goes there
    /// only. Input blobs that are here are labelled so from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// What kind of data its inputs are, and what it writes: `personal`. The first is also what business rules know it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<String>,
    /// The same key of the same submitter always names the same task.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Whose key it is: 32 bytes that only the user knows, written like a peer's id. With them the same user finds its
    /// task from any peer; the peer's own id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<PeerId>,
    /// Answer when it has ended, not when it is accepted.
    #[serde(default)]
    pub wait: bool,
    /// Only say where it would run.
    #[serde(default)]
    pub dry_run: bool,
    /// For listings; the module's file name, usually.
    #[serde(default)]
    pub name: String,
}

/// One build of a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantRequest {
    /// `full`, `int8`.
    #[serde(default)]
    pub name: String,
    /// The module.
    pub module: BlobId,
    /// Declared loss, 0 to 1.
    #[serde(default)]
    pub loss: f64,
}

/// A piece of standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputRequest {
    /// UTF-8 text.
    Text(String),
    /// Base64 of the bytes (standard alphabet, padded).
    Base64(String),
    /// A blob in the peer's store.
    Blob(BlobId),
}
