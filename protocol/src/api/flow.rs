//! What flows out of a peer, as its API shows it.

use serde::{Deserialize, Serialize};

use super::schema;
use crate::id::PeerId;

/// `GET /v1/flow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// The uplink, in bits a second, as the configuration has it.
    pub uplink_bits_per_s: u64,
    /// What is left of it beside blobs that others fetch here.
    pub uplink_left_bits_per_s: u64,
    /// To other sites and to the cloud.
    pub wan: RateView,
    /// Within the site.
    pub lan: RateView,
    /// By class, pipeline or name of what it belongs to; the busiest first.
    pub sources: Vec<SourceFlow>,
    /// By neighbour; the busiest first.
    pub links: Vec<LinkFlow>,
}

/// How much flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RateView {
    /// Bytes a second over the last ten seconds.
    pub now_bytes_per_s: f64,
    /// Bytes a second over the last five minutes.
    pub lately_bytes_per_s: f64,
    /// Bytes since the start.
    pub bytes: u64,
}

/// What one source sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFlow {
    /// Its name.
    pub source: String,
    /// How much.
    #[serde(flatten)]
    pub rate: RateView,
}

/// What goes to one neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkFlow {
    /// Which.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Whether the way leads to another site or the cloud.
    pub wan: bool,
    /// How much.
    #[serde(flatten)]
    pub rate: RateView,
}
