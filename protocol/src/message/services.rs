//! Services on their way from peer to peer, and where they are ready to be called.

use serde::{Deserialize, Serialize};

use crate::id::BlobId;
use crate::service::{IndexEntry, SignedService};

/// What is said of services; to those only who say in their pings that they read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServicesWord {
    /// This is what I hold; send me what of it is older than yours, or missing.
    #[serde(rename = "i")]
    Index(Vec<IndexEntry>),
    /// That is this.
    #[serde(rename = "h")]
    Here(Vec<SignedService>),
    /// These modules are ready to be called at my place, and no others of services; at most [`crate::service::WARM_MAX`].
    #[serde(rename = "w")]
    Warm(Vec<WarmModule>),
}

/// A module of a service that is ready to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmModule {
    /// Which.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// How many instances are kept.
    #[serde(rename = "n")]
    pub instances: u16,
}
