//! The three ways the same work is done, side by side.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the jobs of a phase may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Wherever the peers see fit.
    Mesh,
    /// Only at cloud peers.
    Cloud,
    /// Only at the peer it was handed in at.
    Local,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mesh => "mesh",
            Self::Cloud => "all cloud",
            Self::Local => "all local",
        })
    }
}
