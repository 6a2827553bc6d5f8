//! Which peer runs a stream: the one with the greatest epoch that anybody knows of.
//!
//! ```text
//! owner, epoch e ── everything it writes, and a word twice a second ──► successor, on whose disk it is as well
//!        │ dies, and was silent for SILENT                                │ asks all it knows whether somebody did already
//!        ▼                                                                ▼
//! comes back, asks around ◄── "it is e + 2, and mine" ── takes over: epoch e + 2, before it does anything else
//!        └─► lets go
//! ```
//!
//! An owner that names another successor begins an epoch as well: one that was left behind is never taken for the newest.
//!
//! **Invariant:** an owner that hears of a greater epoch lets go; a successor takes nothing of an epoch it has left behind.
//! **Not here:** how shipments travel, and who is dead: the node's `streams::follower`.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::StreamSpec;
use crate::id::PeerId;
use crate::store::Change;

/// An owner says that it is there this often.
pub const WORD_EVERY: Duration = Duration::from_millis(500);
/// A successor takes over from an owner that is dead to its failure detector and was silent for this long.
pub const SILENT: Duration = Duration::from_millis(1_500);
/// A successor whose owner is there and was silent for so long has been replaced.
pub const REPLACED: Duration = Duration::from_secs(30);
/// A peer that was just started waits this much longer for an owner it has not heard yet: the whole site may be starting.
pub const START_GRACE: Duration = Duration::from_secs(10);
/// The greatest epoch that is believed: those that follow it stay far from where numbers end.
pub const EPOCH_MAX: u64 = u64::MAX / 2;
/// How much greater the epoch of a takeover is: greater, too, than that which an owner had just begun with a successor that has not
/// got everything yet.
pub const TAKEOVER_STEP: u64 = 2;
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
    /// Grows with each that takes over, and with each successor that is named.
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
    /// Which life of a stream of this name it is about: see [`Tenure::run`]. Senders of the version before do not say.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// This is the first piece of everything: what was there before goes. Where it is also `whole`, and of a stream that is stopped, it is
    /// forgotten: nothing of it stays.
    #[serde(rename = "a", default, skip_serializing_if = "core::ops::Not::not")]
    pub anew: bool,
    /// With this the receiver has everything: it could take over.
    #[serde(rename = "w", default, skip_serializing_if = "core::ops::Not::not")]
    pub whole: bool,
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

/// A shipment that only asks: of no epoch that there is, so that the answer is the one that is known of this run.
pub fn question(stream: &str, run: u64) -> Shipment {
    Shipment { stream: stream.to_owned(), epoch: 0, run: Some(run), anew: false, whole: false, changes: Vec::new() }
}

/// What a shipment gets as an answer before it is looked into, if it gets one; `known` is the greatest epoch known here and
/// whose it is. Should two have begun the same epoch, the greater id has it.
pub fn judge(known: Option<(u64, PeerId)>, from: PeerId, shipment: &Shipment) -> Option<Receipt> {
    let claimed = (shipment.epoch, from);
    match known {
        Some(known) if known > claimed => Some(Receipt::Stale(known.0)),
        Some(known) if known == claimed || shipment.anew => None,
        None if shipment.anew && shipment.epoch > 0 => None,
        Some(_) | None => Some(Receipt::WantsAll),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: PeerId = PeerId([5; 32]);
    const OWNER: PeerId = PeerId([6; 32]);
    const OTHER: PeerId = PeerId([7; 32]);

    #[track_caller]
    fn check(known: Option<(u64, PeerId)>, from: PeerId, epoch: u64, anew: bool, expected: Option<Receipt>) {
        let shipment = Shipment { epoch, anew, ..question("s", 1) };

        assert_eq!(judge(known, from, &shipment), expected);
    }

    #[test]
    fn an_owner_of_an_earlier_epoch_is_told_to_let_go() {
        check(Some((2, ME)), OWNER, 1, false, Some(Receipt::Stale(2)));
        check(Some((2, ME)), OWNER, 1, true, Some(Receipt::Stale(2)));
        check(Some((2, OTHER)), OWNER, 1, false, Some(Receipt::Stale(2)));
    }

    #[test]
    fn of_two_owners_of_one_epoch_the_greater_is_believed() {
        check(Some((1, OTHER)), OWNER, 1, true, Some(Receipt::Stale(1)));
        check(Some((1, ME)), OWNER, 1, true, None);
    }

    #[test]
    fn a_successor_takes_what_follows_what_it_has_and_asks_for_all_else() {
        check(Some((1, OWNER)), OWNER, 1, false, None);
        check(None, OWNER, 1, false, Some(Receipt::WantsAll));
        check(None, OWNER, 1, true, None);
        check(Some((1, OWNER)), OWNER, 2, false, Some(Receipt::WantsAll));
        check(Some((1, OWNER)), OTHER, 1, false, Some(Receipt::WantsAll));
        check(Some((1, OWNER)), OTHER, 2, true, None);
    }

    #[test]
    fn a_question_is_answered_with_the_epoch_that_is_known() {
        assert_eq!(judge(Some((3, OWNER)), OTHER, &question("s", 1)), Some(Receipt::Stale(3)));
        assert_eq!(judge(None, OTHER, &question("s", 1)), Some(Receipt::WantsAll));
    }
}
