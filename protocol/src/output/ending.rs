//! How a task ended: its result and where its time went, or why it has none.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::PeerId;
use crate::task::report::RunReport;

/// A finished task, as its user sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// How the module ended, and what it wrote.
    pub report: RunReport,
    /// Where it ran.
    pub executor: PeerId,
    /// Which build was run.
    pub variant: u8,
    /// Attempts it took.
    pub attempts: u32,
    /// Runs that gave this answer, where runs were compared; 0 where its executor was believed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub agreed: u8,
    /// Where the time went.
    pub timings: Timings,
}

fn is_zero(value: &u8) -> bool {
    *value == 0
}

/// Where a task's time went, as its home peer saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From acceptance to the award that was kept.
    pub placing_us: u64,
    /// Fetching and preparing at the executor.
    pub prepare_us: u64,
    /// Waiting in the executor's queue.
    pub queued_us: u64,
    /// Running.
    pub run_us: u64,
    /// From acceptance to the result at home.
    pub total_us: u64,
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TaskError {
    /// The policy excludes every peer there is.
    #[error("no peer can run this task: {excluded} of {candidates} peers are excluded ({reasons})")]
    NoCandidate {
        /// Peers considered.
        candidates: usize,
        /// Peers that policy excludes.
        excluded: usize,
        /// The reasons, counted.
        reasons: String,
    },
    /// Those that could run it may not have what it reads, or may not give back what it writes.
    #[error("no peer may run this task on data labelled {labels}: of {candidates} peers, {reasons}")]
    Residency {
        /// What is said of the data.
        labels: String,
        /// Peers considered.
        candidates: usize,
        /// Why each is excluded, counted.
        reasons: String,
    },
    /// Every peer that may run it said no.
    #[error("no peer accepted the task: {asked} were asked, {reasons}")]
    AllDeclined {
        /// Peers asked.
        asked: usize,
        /// The reasons, counted.
        reasons: String,
    },
    /// Too much is waiting here already.
    #[error("more is asked for than can be done: {held} tasks of this peer's users are unfinished")]
    Overloaded {
        /// Unfinished tasks of its users.
        held: usize,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The user cancelled it.
    #[error("the task was cancelled")]
    Cancelled,
    /// Attempts kept dying with their executors.
    #[error("the task was tried {attempts} times; last: {last}")]
    AttemptsExhausted {
        /// How often.
        attempts: u32,
        /// How the last one ended.
        last: String,
    },
    /// Those that ran it do not agree on its answer.
    #[error("{runs} runs of the task gave {answers} answers, and none often enough")]
    Unverified {
        /// Runs that came to an end.
        runs: usize,
        /// Different answers.
        answers: usize,
    },
    /// The daemon is shutting down.
    #[error("this peer is shutting down")]
    ShuttingDown,
    /// Its record could not be written.
    #[error("the task cannot be kept: {why}")]
    NotStored {
        /// What the disk said.
        why: String,
    },
    /// Nobody holds a second copy of its record.
    #[error("no other peer keeps a copy of the task: {}{reasons}{}", if *asked > 0 { format!("{asked} were asked (") } else { String::new() }, if *asked > 0 { ")" } else { "" })]
    NoGuardian {
        /// Peers asked.
        asked: usize,
        /// Why not.
        reasons: String,
    },
    /// It had no result by its deadline, or by the end of its retention.
    #[error("the task had no result within {after:?}")]
    DeadlinePassed {
        /// From acceptance.
        after: Duration,
    },
    /// This peer does not know well enough who is revoked.
    #[error("the youngest revocation list here is older than {} h", crate::membership::REVOCATIONS_FRESH.as_secs() / 3_600)]
    RevocationsStale,
    /// What this peer kept of it cannot be read.
    #[error("the record of the task cannot be read: {why}")]
    RecordDamaged {
        /// What is wrong with it.
        why: String,
    },
}

impl TaskError {
    /// Whether the task was never taken on: a refusal, not the end of an accepted task.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::NotStored { .. }
            | Self::NoGuardian { .. }
            | Self::RevocationsStale => true,
            Self::NoCandidate { .. }
            | Self::Residency { .. }
            | Self::AllDeclined { .. }
            | Self::Cancelled
            | Self::AttemptsExhausted { .. }
            | Self::Unverified { .. }
            | Self::DeadlinePassed { .. }
            | Self::RecordDamaged { .. } => false,
        }
    }
}
