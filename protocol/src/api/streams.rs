//! Streams in the local API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/streams` | [`StreamRequest`] | [`StreamView`] once it is on disk; a stopped stream of that name goes on where it was |
//! | `GET /v1/streams` | | [`super::Listing`] of [`StreamView`], by name |
//! | `GET /v1/streams/{name}` | | [`StreamView`] |
//! | `POST /v1/streams/{name}/stop?forget=` | | [`StreamView`]; with `forget`, what it had taken and not published is gone |
//! | `POST /v1/streams/{name}/records` | lines of text | [`TakenView`] once they are on disk; 429 with `Retry-After` while there is no room |
//!
//! `records` takes `Idempotency-Key`: the same key is taken once. `?feed=NAME&from=N` says instead that the first line is the
//! N-th (from 0) of a feed: lines that were taken are passed over, and the answer says how many of it have been. An empty
//! body asks only that.

use serde::{Deserialize, Serialize};

use super::{PipelineRequest, TaskRequest, schema};
use crate::id::PeerId;
use crate::stream::{SinkSpec, SourceSpec, WindowRule};

/// A stream to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRequest {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Where records come from.
    pub source: SourceSpec,
    /// How they are cut into windows.
    pub window: WindowRule,
    /// What is run on each window, which is its standard input: module, arguments, limits and constraints as for a task by
    /// itself. This, or `pipeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRequest>,
    /// A pipeline that is run on each window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineRequest>,
    /// The input of the pipeline that a window is; `window` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Where results go.
    pub sink: SinkSpec,
    /// Where records go that came too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<SinkSpec>,
    /// Peers that have a record on disk before it is acknowledged: 1 where absent, or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<u8>,
}

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Records come in.
    Running,
    /// It was started again, or taken over, and asks whether another peer runs it.
    Asking,
    /// Its source or its sink cannot be reached; it is tried again.
    Waiting,
    /// Its user has stopped it.
    Stopped,
    /// It cannot go on without its user.
    Failed,
    /// Another peer runs it; this one would take over.
    Standby,
}

/// A stream, as this peer knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// What it is called.
    pub name: String,
    /// Where it is in its life.
    pub state: StreamState,
    /// Who runs it.
    pub owner: PeerId,
    /// The name of that peer.
    pub owner_name: String,
    /// Who would take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<PeerId>,
    /// The name of that peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor_name: Option<String>,
    /// Grows with each takeover, and with each successor that is named.
    pub epoch: u64,
    /// Peers that have a record on disk before it is acknowledged.
    pub durable: u8,
    /// Where records come from.
    pub source: SourceSpec,
    /// Where results go.
    pub sink: SinkSpec,
    /// Records taken, since it was first started.
    pub records: u64,
    /// Records taken a second, over the last seconds.
    pub records_per_s: f64,
    /// Records that the source sent again and that had been taken; since this peer runs it.
    pub repeated: u64,
    /// Records that were too large, or otherwise no records; since this peer runs it.
    pub refused: u64,
    /// Records that came too late for their window, or said no time.
    pub late: u64,
    /// Of these, said no time.
    pub timeless: u64,
    /// Windows published.
    pub windows: u64,
    /// Of these, were published with an error in place of a result.
    pub failed: u64,
    /// Windows that are open.
    pub open_windows: u64,
    /// Records in them.
    pub open_records: u64,
    /// Windows that are run, or wait to be, or to be published.
    pub pending_windows: u64,
    /// Bytes of records held.
    pub held_bytes: u64,
    /// Times the source was reached.
    pub connections: u64,
    /// What is wrong, or waited for, where something is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of records that were handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Records taken now.
    pub taken: u64,
    /// They had been taken before.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub known: bool,
    /// Lines of the feed that have been taken, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed_lines: Option<u64>,
}
