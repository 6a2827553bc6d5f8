//! A peer as it sees itself: its mesh, its work, and what stands in its way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PeerView, schema};
use crate::id::MeshId;

/// This peer and its mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Software version.
    pub version: String,
    /// The mesh's name in this peer's configuration.
    pub mesh_name: String,
    /// The mesh.
    pub mesh: MeshId,
    /// This peer, as it sees itself.
    pub me: PeerView,
    /// Microseconds since start.
    pub uptime_us: u64,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Its neighbours, this peer not included.
    pub peers: Vec<PeerView>,
    /// Tasks by state: of users of this peer.
    pub tasks: TaskCounts,
    /// What holds the worker processes that tasks run in here.
    #[serde(default)]
    pub sandbox: Vec<SandboxPart>,
    /// Things worth a person's attention, each with the next command.
    pub warnings: Vec<String>,
    /// Counters since start, by name: frames, bytes, refusals, drops.
    pub counters: BTreeMap<String, u64>,
}

/// One of the things that hold a worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPart {
    /// `parent`, `limits`, `privileges`, `files` or `syscalls`.
    pub name: String,
    /// Whether it is in force; a peer that lacks a part declines work that is marked `restricted`.
    pub enforced: bool,
    /// How, or why not.
    pub detail: String,
}

/// Something about a machine that a peer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: `sandbox: files`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What it matters for.
    pub why: String,
    /// What to do where it is not as it should be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// Tasks of users of this peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Not finished, and running somewhere.
    pub running: u64,
    /// Not finished, and not running yet.
    pub waiting: u64,
    /// Done since start.
    pub done: u64,
    /// Failed since start.
    pub failed: u64,
    /// Cancelled since start.
    pub cancelled: u64,
    /// Runs made here for anyone since start.
    pub executed_here: u64,
}
