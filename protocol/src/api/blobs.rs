//! Blobs: what is in the store, and who else has it.

use serde::{Deserialize, Serialize};

use super::{LabelsView, schema};
use crate::id::{BlobId, PeerId};

/// A blob in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub id: BlobId,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Whether it has been compiled as a module here.
    #[serde(default)]
    pub is_module: bool,
    /// Whether a user has pinned it.
    #[serde(default)]
    pub pinned: bool,
    /// Whether all of it is here; of the rest something was fetched, and the rest of it is fetched when it is wanted.
    #[serde(default = "yes")]
    pub complete: bool,
    /// What its owners say of it.
    #[serde(default, skip_serializing_if = "LabelsView::is_empty")]
    pub labels: LabelsView,
}

fn yes() -> bool {
    true
}

/// Everything that is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobStat {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub id: BlobId,
    /// Its size, in bytes, if anybody within reach knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether all of it is here.
    pub local: bool,
    /// Of a blob that is here in part, about how many bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_bytes: Option<u64>,
    /// Whether it is known to survive a power cut here.
    pub durable: bool,
    /// Whether a user has pinned it here.
    pub pinned: bool,
    /// Tasks of other peers whose output it is, and for which it stays here.
    pub leases: usize,
    /// Whether it has been compiled as a module here.
    pub is_module: bool,
    /// Other peers that are known to hold it.
    pub holders: Vec<HolderView>,
    /// What its owners say of it.
    #[serde(default, skip_serializing_if = "LabelsView::is_empty")]
    pub labels: LabelsView,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<HolderView>,
}

/// A peer that holds a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// Its id.
    pub peer: PeerId,
    /// Its name, or the beginning of its id.
    pub name: String,
}
