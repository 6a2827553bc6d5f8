//! Finding a place for a task: who would run it, who is to, and who will not.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::TaskRef;
use super::load::LoadDigest;
use super::unsaid::{is_false, is_zero};
use crate::brief::Marks;
use crate::id::{BlobId, PeerId};
use crate::task::TaskState;
use crate::task::spec::TaskSpec;
use crate::time::{duration_us, optional_duration_us};

/// What a peer must know to offer for a task, without its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// The builds to choose from, and the requester's estimate of each one's work.
    #[serde(rename = "v")]
    pub variants: Vec<AskVariant>,
    /// Size of its input, in bytes.
    #[serde(rename = "i")]
    pub input_bytes: u64,
    /// Linear memory it may claim, in bytes.
    #[serde(rename = "m")]
    pub memory_bytes: u64,
    /// Time left to its deadline.
    #[serde(rename = "d", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub deadline_in: Option<Duration>,
}

/// One build in an [`Ask`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskVariant {
    /// The module.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// Its size, in bytes.
    #[serde(rename = "b")]
    pub module_bytes: u64,
    /// Work on a reference core, as the requester's experience has it.
    #[serde(rename = "w", with = "duration_us")]
    pub work: Duration,
}

/// A promise to start a task, backed by a reservation until it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Index of the build this is for.
    #[serde(rename = "v")]
    pub variant: u8,
    /// The run would start this long after the award arrives (fetching and compiling the module included).
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// The run would take this long here.
    #[serde(rename = "r", with = "duration_us")]
    pub run: Duration,
    /// The reservation stands this long.
    #[serde(rename = "x", with = "duration_us")]
    pub expires_in: Duration,
    /// Whether it holds the module already.
    #[serde(rename = "h", default)]
    pub has_module: bool,
    /// Fresh load, this reservation not counted.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}

/// An order to run a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Award {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Where the result goes.
    #[serde(rename = "h", default = "PeerId::unsaid", skip_serializing_if = "PeerId::is_unsaid")]
    pub home: PeerId,
    /// Index of the build to run.
    #[serde(rename = "v")]
    pub variant: u8,
    /// The task with its input, inline or as blobs.
    #[serde(rename = "s")]
    pub spec: TaskSpec,
    /// Work on a reference core, as home's experience has it.
    #[serde(rename = "w", with = "duration_us")]
    pub work: Duration,
    /// The same of each build, in microseconds, where there are several: who starts late may choose another.
    #[serde(rename = "ws", default, skip_serializing_if = "Vec::is_empty")]
    pub works_us: Vec<u64>,
    /// When home believes it would start; much later, and the receiver counters or forwards.
    #[serde(rename = "x", with = "duration_us")]
    pub expected_start: Duration,
    /// Home has seen the real start time and wants it nevertheless: run it or decline it.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub firm: bool,
    /// Times it was passed on already.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub hops: u8,
    /// Candidates that home would also accept, best first: a receiver forwards to no other.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<PeerId>,
    /// The same by their short ids, for a receiver that reads them.
    #[serde(rename = "as", default, skip_serializing_if = "Marks::is_empty")]
    pub near: Marks,
    /// It is on disk at home: what is here of it is kept longer while home is away.
    #[serde(rename = "k", default, skip_serializing_if = "is_false")]
    pub kept: bool,
    /// Earlier results that are safe at home, so that saying so costs no message; at most [`crate::config::ACKNOWLEDGED_MAX`].
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<TaskRef>,
    /// The same by marks, for a receiver that reads them.
    #[serde(rename = "rs", default, skip_serializing_if = "Marks::is_empty")]
    pub safe: Marks,
}

/// The award stands here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Where it stands: fetching what it lacks, queued, or running.
    #[serde(rename = "g")]
    pub state: TaskState,
    /// It will start in this time.
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// Fresh load.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}

/// The award or ask is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declined {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Why.
    #[serde(rename = "r")]
    pub reason: DeclineReason,
    /// Fresh load.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadDigest>,
}

/// Why a peer does not run a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DeclineReason {
    /// As many wait as may wait.
    #[serde(rename = "q")]
    QueueFull,
    /// Not enough memory for it.
    #[serde(rename = "m")]
    Memory {
        /// What it asked for, in bytes.
        #[serde(rename = "w")]
        wanted_bytes: u64,
        /// What there is, in bytes.
        #[serde(rename = "f")]
        free_bytes: u64,
    },
    /// It would start later than home believed; the counter-offer is reserved until it expires.
    #[serde(rename = "c")]
    Counter(Box<Offer>),
    /// This peer is shutting down.
    #[serde(rename = "l")]
    Leaving,
    /// This peer does not know the attempt that was asked about.
    #[serde(rename = "u")]
    Unknown,
    /// Its module or input could not be had.
    #[serde(rename = "f")]
    FetchFailed(String),
    /// The spec breaks a limit.
    #[serde(rename = "s")]
    Unacceptable(String),
    /// It is restricted to whole sandboxes, and this peer's system lacks a part of one.
    #[serde(rename = "b")]
    Sandbox,
}

/// The award was passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forwarded {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Who got it.
    #[serde(rename = "p")]
    pub to: PeerId,
    /// Fresh load of the one that passed it on.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}
