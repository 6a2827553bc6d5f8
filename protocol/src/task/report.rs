//! How a run ended, and what it wrote.
//!
//! **Not here:** what the end of a task is: `home/` decides that of the reports of its attempts.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::Payload;
use crate::config;
use crate::residency::Labels;
use crate::time::duration_us;

/// How a run of the module ended, with what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// Exit or the reason there is none.
    #[serde(rename = "e")]
    pub ending: Ending,
    /// Standard output.
    #[serde(rename = "o")]
    pub output: Payload,
    /// The last [`config::LOG_BYTES_MAX`] of standard error.
    #[serde(rename = "l", with = "serde_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<u8>,
    /// Time the module itself ran.
    #[serde(rename = "r", with = "duration_us")]
    pub run: Duration,
    /// Greatest linear memory, in bytes.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub memory_bytes: u64,
    /// What is said of everything that it read, and so of what it wrote.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl RunReport {
    /// The report of a task that never ran.
    pub fn without_run(ending: Ending) -> Self {
        let output = Payload::inline(Vec::new());
        Self { ending, output, log: Vec::new(), run: Duration::ZERO, memory_bytes: 0, labels: Labels::default() }
    }

    /// Whether it says no more than an executor may, so that whoever decides on the end can be told of it.
    pub fn is_within_bounds(&self) -> bool {
        let output = match &self.output {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Blob(_) => 0,
        };
        let said = match &self.ending {
            Ending::Trapped(why) | Ending::Invalid(why) | Ending::HostFailed(why) => why.len(),
            Ending::Exited(_) | Ending::LimitHit(_) => 0,
        };
        output <= config::INLINE_BYTES_MAX
            && self.log.len() <= config::LOG_BYTES_MAX
            && said <= config::ENDING_BYTES_MAX
    }
}

/// The ways a run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The module returned or called `proc_exit`.
    #[serde(rename = "x")]
    Exited(u32),
    /// It trapped: what wasmtime said.
    #[serde(rename = "t")]
    Trapped(String),
    /// It hit one of its limits.
    #[serde(rename = "l")]
    LimitHit(LimitKind),
    /// It is not a module that can be run: not wasm, no `_start`, unknown imports.
    #[serde(rename = "i")]
    Invalid(String),
    /// The machine failed it, not the module: worth another try elsewhere.
    #[serde(rename = "h")]
    HostFailed(String),
}

/// Which bound a run hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// Linear memory.
    Memory,
    /// Wall time.
    Wall,
    /// Standard output.
    Output,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
