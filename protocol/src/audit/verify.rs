//! Whether a log is as it was written.

use super::{Chain, Entry, Happening, Hash, Head};
use crate::id::PeerId;

/// Entries that are written before the head is: as many may be there beyond it when a machine has lost its power.
const BEYOND_HEAD_MAX: u64 = 256;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line was changed, or never written by that peer.
    #[error("the line after entry {after} is not an entry of this log: {why}")]
    BadEntry {
        /// The entry before it.
        after: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Entries were removed, or moved.
    #[error("entry {after} is followed by entry {found}: something between was removed, or moved")]
    Missing {
        /// The last good one.
        after: u64,
        /// What follows it.
        found: u64,
    },
    /// A good entry of this peer, of another log.
    #[error("entry {seq} does not follow the one before it: it is of another log")]
    Unchained {
        /// Which.
        seq: u64,
    },
    /// There is no head.
    #[error("there is no head: whether entries at the end were removed cannot be told")]
    NoHead,
    /// The head was changed, or is not this peer's.
    #[error("the head cannot be believed: {why}")]
    BadHead {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The log is another peer's.
    #[error("it is signed by {found}, not by {expected}")]
    OtherSigner {
        /// Who should have written it.
        expected: PeerId,
        /// Who has.
        found: PeerId,
    },
    /// Entries at the end were removed.
    #[error("it ends with entry {found}, and had {expected}: the end was cut off")]
    CutEnd {
        /// The last there should be.
        expected: u64,
        /// The last there is.
        found: u64,
    },
    /// Entries at the beginning were removed.
    #[error("it begins with entry {found} instead of {expected}: the beginning was cut off")]
    CutBeginning {
        /// The first there should be.
        expected: u64,
        /// The first there is.
        found: u64,
    },
    /// The head is of another log.
    #[error("entry {seq} is not the one that the head is of: the log was written anew")]
    OtherLog {
        /// The entry.
        seq: u64,
    },
    /// The peer itself found the log damaged, and says so.
    #[error("entry {seq} says that the log before it was damaged: {why}")]
    Damaged {
        /// The entry.
        seq: u64,
        /// What was wrong.
        why: String,
    },
}

/// A log that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The hash of each entry's line.
    hashes: Vec<Hash>,
    /// What it says, oldest first.
    pub entries: Vec<Entry>,
    /// Where it stands: the head that was given, or a later one when the power went before that was written.
    pub head: Head,
    /// The last line was begun and not ended, as a loss of power leaves it.
    pub torn: bool,
}

impl Verified {
    /// The hash of the line of an entry.
    pub fn hash_of(&self, seq: u64) -> Option<Hash> {
        let at = usize::try_from(seq.checked_sub(self.head.first)?).ok()?;
        self.hashes.get(at).copied()
    }
}

/// Checks the text of a log, all its files after each other, against its head. `signer` is the peer that must have written
/// it; without, the one that the head names.
pub fn verify(log: &str, head: Option<&str>, signer: Option<PeerId>) -> Result<Verified, Fault> {
    let head = Head::read(head.ok_or(Fault::NoHead)?.trim_end_matches('\n'), signer)?;
    let (whole, rest) = log.rsplit_once('\n').unwrap_or(("", log));
    let mut chain = Chain::new();
    let (mut entries, mut hashes) = (Vec::<Entry>::new(), Vec::new());
    for line in whole.split('\n').filter(|_| !whole.is_empty()) {
        let entry = chain.read(line, head.peer)?;
        if let Happening::LogDamaged { why } = &entry.happening {
            return Err(Fault::Damaged { seq: entry.seq, why: why.clone() });
        }
        hashes.push(Hash::of(line.as_bytes()));
        entries.push(entry);
    }
    let first = entries.first().map_or(0, |entry| entry.seq);
    if chain.last() < head.last {
        return Err(Fault::CutEnd { expected: head.last, found: chain.last() });
    }
    // More than there should be: an old file was not removed yet.
    if first > head.first {
        return Err(Fault::CutBeginning { expected: head.first, found: first });
    }
    let beyond = chain.last() - head.last;
    let verified = Verified { hashes, head: chain.head(head.peer, first), entries, torn: !rest.is_empty() };
    // An empty log has no entry, and its head the hash of none.
    let is_of_head = head.last == 0 || verified.hash_of(head.last) == Some(head.hash);
    if is_of_head && beyond <= BEYOND_HEAD_MAX { Ok(verified) } else { Err(Fault::OtherLog { seq: head.last }) }
}

#[cfg(test)]
mod tests;
