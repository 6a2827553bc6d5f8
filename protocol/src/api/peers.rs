//! Peers as another one sees them: their load, how far they are, and how they are reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema;
use crate::certificate::Role;
use crate::id::PeerId;
use crate::output::PeerState;

/// A peer, as this one sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its id.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its signed labels.
    pub labels: BTreeMap<String, String>,
    /// What we believe of it.
    pub state: PeerState,
    /// Round trip over the last samples, in milliseconds: median.
    pub rtt_p50_ms: Option<f64>,
    /// The same: 99th percentile.
    pub rtt_p99_ms: Option<f64>,
    /// What the coordinates predict, in milliseconds.
    pub rtt_predicted_ms: Option<f64>,
    /// Packets on the way to it that are lost, in percent, as its connection has measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
    /// Its load, as last heard.
    pub load: Option<LoadView>,
    /// Attempts we gave it that ended well, of all that ended, in percent.
    pub ok_percent: Option<f64>,
    /// Microseconds since it was last heard.
    pub heard_us_ago: Option<u64>,
    /// Address of the connection, when we dialled it.
    pub address: Option<String>,
    /// How the connection gets there; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathView>,
}

/// How a connection gets to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathView {
    /// From machine to machine.
    Direct,
    /// Through another member, which cannot read it.
    Relayed,
}

impl core::fmt::Display for PathView {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        })
    }
}

/// Load of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadView {
    /// A task arriving now would start in this many milliseconds.
    pub start_in_ms: f64,
    /// Tasks it runs at once.
    pub cores: u16,
    /// Running tasks.
    pub running: u16,
    /// Waiting tasks.
    pub queued: u16,
    /// Tasks that may wait.
    pub queue_max: u16,
    /// Host CPU in use, in percent.
    pub cpu_percent: u8,
    /// Speed of a core relative to the reference core.
    pub speed: f64,
    /// Memory free for tasks, in bytes.
    pub memory_free_bytes: u64,
    /// Memory given to tasks, in bytes.
    pub memory_bytes: u64,
    /// Microseconds since it was heard.
    pub age_us: u64,
}

/// A round trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// To whom.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// How long, in milliseconds; absent when there was no answer within a second.
    pub rtt_ms: Option<f64>,
    /// How the connection gets there; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathView>,
}

/// The distance of two peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RttView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Measured, when this peer is one of them, in milliseconds.
    pub measured_ms: Option<f64>,
    /// Predicted from coordinates, in milliseconds.
    pub predicted_ms: Option<f64>,
}
