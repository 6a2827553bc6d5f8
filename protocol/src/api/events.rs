//! The stream of news.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema;
use crate::id::PeerId;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Counts the events of this run of the daemon.
    pub sequence: u64,
    /// Microseconds since the daemon's start.
    pub at_us: u64,
    /// The news; its fields stand beside these.
    #[serde(flatten)]
    pub event: crate::output::Event,
    /// Names of the peers spoken of, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<PeerId, String>,
}
