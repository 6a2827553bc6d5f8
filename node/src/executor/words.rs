//! What the daemon and a worker say to each other, in CBOR: both are the same program, so there are no versions.
//!
//! ```text
//! daemon ──Begin──────────────► worker      once; then, of one that runs tasks, any number of
//!        ◄─────────────Ready──              │ Run (with files) ─► bytes… Ended | Aborted | Unloadable
//!                                           │ Abort, at any time; Tend (with a file), between two runs
//!                                           or, of one that compiles, once
//!                                           │ Compile (with a file) ─► bytes… Compiled | Unfit
//! ```
//!
//! **Invariant:** of what a worker says after its first task, nothing is believed beyond its form: lengths, times and
//! sizes are held to what the daemon knows itself.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_protocol::api::SandboxPart;
use shoal_protocol::id::TaskId;
use shoal_protocol::task::report::Ending;
use shoal_protocol::time::duration_us;

use crate::blobs::BlobKey;

/// The first word to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Begin {
    /// Run tasks.
    #[serde(rename = "r")]
    Run {
        /// Linear memory of the largest task.
        #[serde(rename = "m")]
        memory_bytes_max: u64,
    },
    /// Compile one module.
    #[serde(rename = "c")]
    Compile,
}

/// A worker is locked down and waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Compiler, settings and processor: compiled code of another hash is of no use.
    #[serde(rename = "s", with = "serde_bytes")]
    pub(super) settings: [u8; 32],
    /// What holds it.
    #[serde(rename = "p")]
    pub(super) parts: Vec<SandboxPart>,
}

/// To a worker that runs tasks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run this.
    #[serde(rename = "r")]
    Run(Box<Run>),
    /// Stop that run, if it is not over.
    #[serde(rename = "a")]
    Abort(u64),
    /// Load and drop modules while nothing is to be run; there is no answer.
    #[serde(rename = "t")]
    Tend(Tend),
}

/// What a worker is to hold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tend {
    /// What it is to know the module as whose code comes with this.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(super) load: Option<u32>,
    /// Modules that will not be asked for again.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) drop: Vec<u32>,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// Counts the runs of this worker.
    #[serde(rename = "n")]
    pub(super) number: u64,
    /// What the worker knows the module as.
    #[serde(rename = "m")]
    pub(super) module: u32,
    /// Whether its code comes with this, as the first file.
    #[serde(rename = "l", default, skip_serializing_if = "is_false")]
    pub(super) load: bool,
    /// Modules that will not be asked for again.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) drop: Vec<u32>,
    /// What random numbers follow from.
    #[serde(rename = "t")]
    pub(super) task: TaskId,
    /// Its answer is compared with those of other runs: its clocks show nothing of this machine.
    #[serde(rename = "c", default, skip_serializing_if = "is_false")]
    pub(super) is_compared: bool,
    /// Arguments after the program's name.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    /// Standard input.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Piece>,
    /// Linear memory, in bytes.
    #[serde(rename = "b")]
    pub(super) memory_bytes: u64,
    /// Wall time.
    #[serde(rename = "w", with = "duration_us")]
    pub(super) wall: Duration,
    /// Standard output, in bytes.
    #[serde(rename = "o")]
    pub(super) output_bytes: u64,
}

/// A part of standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Piece {
    /// These bytes.
    #[serde(rename = "i")]
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The next file, from where it stands.
    #[serde(rename = "f")]
    File,
    /// The same, sealed with this key.
    #[serde(rename = "s")]
    Sealed(BlobKey),
}

/// From a worker that runs tasks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The run is over. What it wrote went before, in packets of bytes.
    #[serde(rename = "e")]
    Ended(Ended),
    /// The run was stopped.
    #[serde(rename = "a")]
    Aborted,
    /// The module's code cannot be used.
    #[serde(rename = "u")]
    Unloadable(String),
}

/// How a run ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    #[serde(rename = "e")]
    pub(super) ending: Ending,
    /// Standard output, where it is small.
    #[serde(rename = "o", with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) output: Vec<u8>,
    /// The end of standard error.
    #[serde(rename = "l", with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) log: Vec<u8>,
    /// Short runs are shorter than the microseconds that peers tell each other.
    #[serde(rename = "r")]
    pub(super) run_ns: u64,
    #[serde(rename = "m")]
    pub(super) memory_bytes: u64,
}

/// From a worker that compiles. The code went before, in packets of bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Compiled {
    /// All of it.
    #[serde(rename = "c")]
    Whole,
    /// No peer could run this.
    #[serde(rename = "u")]
    Unfit(String),
    /// This one cannot.
    #[serde(rename = "h")]
    Failed(String),
}

fn is_false(value: &bool) -> bool {
    !value
}
