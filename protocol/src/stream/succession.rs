//! Which peer runs a stream: the one with the greatest epoch that anybody knows of.
//!
//! ```text
//! owner, epoch e ── everything it writes, and a word a second ──► successor, on whose disk it is as well
//!        │ dies, and was silent for SILENT                             │
//!        ▼                                                             ▼
//! comes back, asks its successor ◄── "it is e + 1, and mine" ── takes over: epoch e + 1, before it does anything else
//!        └─► lets go
//! ```
//!
//! **Invariant:** an owner that hears of a greater epoch lets go; a successor says no word for an epoch it has left behind.
//! **Not here:** how shipments travel, and who is dead: the node's `streams::successor`.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::StreamSpec;
use crate::id::PeerId;
use crate::store::Change;

/// An owner says that it is there this often.
pub const WORD_EVERY: Duration = Duration::from_millis(500);
/// A successor takes over from an owner that is dead to its failure detector and was silent for this long.
pub const SILENT: Duration = Duration::from_millis(1_500);
/// An owner that was started again waits this long for its successor to say whether it still is one.
pub const ASK_FOR: Duration = Duration::from_secs(3);
/// Bytes of changes in one shipment.
pub const SHIPMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who runs a stream, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenure {
    /// The stream.
    #[serde(rename = "s")]
    pub spec: StreamSpec,
    /// Grows by one with each that takes over.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// Told apart from an earlier stream of the same name, whose results may be where its own go.
    #[serde(rename = "r")]
    pub run: u64,
    /// Who runs it.
    #[serde(rename = "o")]
    pub owner: PeerId,
    /// Who would take over.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<PeerId>,
    /// Its user has stopped it.
    #[serde(rename = "h", default, skip_serializing_if = "core::ops::Not::not")]
    pub stopped: bool,
}

/// What an owner sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    /// Of which stream.
    #[serde(rename = "s")]
    pub stream: String,
    /// The sender's epoch.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// This is the first piece of everything: what was there before goes.
    #[serde(rename = "a", default, skip_serializing_if = "core::ops::Not::not")]
    pub anew: bool,
    /// Changes of its store.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What it hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receipt {
    /// It is on this peer's disk.
    #[serde(rename = "k")]
    Kept,
    /// The stream is another's, since that epoch.
    #[serde(rename = "s")]
    Stale(u64),
    /// This peer does not have what came before: everything is to be sent.
    #[serde(rename = "w")]
    WantsAll,
    /// It does not take over such a stream, for this reason.
    #[serde(rename = "n")]
    Refused(String),
}

/// What a shipment of this epoch gets as an answer, when the greatest epoch known here is `known`.
pub fn judge(known: Option<u64>, owner_is_me: bool, shipment: &Shipment) -> Option<Receipt> {
    match known {
        Some(known) if known > shipment.epoch || (known == shipment.epoch && owner_is_me) => Some(Receipt::Stale(known)),
        Some(known) if known == shipment.epoch || shipment.anew => None,
        None if shipment.anew => None,
        Some(_) | None => Some(Receipt::WantsAll),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: Option<u64>, owner_is_me: bool, epoch: u64, anew: bool, expected: Option<Receipt>) {
        let shipment = Shipment { stream: "s".into(), epoch, anew, changes: Vec::new() };

        assert_eq!(judge(known, owner_is_me, &shipment), expected);
    }

    #[test]
    fn an_owner_of_an_earlier_epoch_is_told_to_let_go() {
        check(Some(2), true, 1, false, Some(Receipt::Stale(2)));
        check(Some(2), true, 1, true, Some(Receipt::Stale(2)));
        check(Some(2), false, 1, false, Some(Receipt::Stale(2)));
    }

    #[test]
    fn two_owners_of_one_epoch_are_not_believed() {
        check(Some(1), true, 1, false, Some(Receipt::Stale(1)));
    }

    #[test]
    fn a_successor_takes_what_follows_what_it_has_and_asks_for_all_else() {
        check(Some(1), false, 1, false, None);
        check(None, false, 1, false, Some(Receipt::WantsAll));
        check(None, false, 1, true, None);
        check(Some(1), false, 2, false, Some(Receipt::WantsAll));
        check(Some(1), false, 2, true, None);
    }
}
