//! How a task is kept, and for how long.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{RETENTION_DEFAULT, RETENTION_MAX};
use crate::task::spec::TaskSpec;
use crate::time::duration_us;

/// Where a task is kept before its submission is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In memory: `shoal run`, whose user is there and may ask again.
    #[default]
    Memory,
    /// On the disk of its home.
    Disk,
    /// On the disks of its home and of a guardian elsewhere, either of which may be lost.
    Guarded,
}

impl Durability {
    /// On how many disks it is.
    pub fn copies(self) -> u8 {
        match self {
            Self::Memory => 0,
            Self::Disk => 1,
            Self::Guarded => 2,
        }
    }

    /// What `--durable N` means: copies on disk.
    pub fn of_copies(copies: u8) -> Option<Self> {
        match copies {
            0 => Some(Self::Memory),
            1 => Some(Self::Disk),
            2 => Some(Self::Guarded),
            _ => None,
        }
    }
}

/// How a task is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Where.
    pub durability: Durability,
    /// A result is kept this long after the end; at most [`crate::config::RETENTION_MAX`]. A task that has no deadline and
    /// no end ends as failed after this long.
    #[serde(with = "duration_us")]
    pub retention: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { durability: Durability::Memory, retention: RETENTION_DEFAULT }
    }
}

/// A task ends by its deadline, or else within its retention.
pub(crate) fn lifetime(spec: &TaskSpec, keeping: &Keeping) -> Duration {
    spec.deadline.unwrap_or(keeping.retention).min(RETENTION_MAX)
}
