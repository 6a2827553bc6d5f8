//! Who holds which blobs, as far as this peer has seen: who read them for it, keeps what it wrote for it, or says so.
//!
//! It is memory, not truth: a holder may have made room since. Whoever believes it wrongly looks elsewhere and is late by a
//! round trip, so nothing is done to keep it exact.
//!
//! **Invariant:** bounded by [`BLOBS_MAX`] and [`HOLDERS_MAX`]; the blob that nobody asked about for longest goes first.

use std::collections::BTreeMap;

use crate::id::{BlobId, PeerId};
use crate::residency::Labels;

/// Blobs whose holders are remembered: the inputs of the unfinished tasks of a busy home.
const BLOBS_MAX: usize = 4_096;
/// Holders remembered of one blob: more than anybody fetches from, so that a few may be gone.
const HOLDERS_MAX: usize = 16;

#[derive(Debug)]
struct Known {
    bytes: u64,
    /// The one that was seen last comes last.
    peers: Vec<PeerId>,
    used: u64,
    /// What holders say of it.
    labels: Labels,
}

/// Which peers hold which blobs.
#[derive(Debug, Default)]
pub struct Holders {
    blobs: BTreeMap<BlobId, Known>,
    by_use: BTreeMap<u64, BlobId>,
    uses: u64,
}

impl Holders {
    /// A peer has been seen to hold a blob.
    pub fn note(&mut self, peer: PeerId, blob: BlobId, bytes: u64) {
        self.uses += 1;
        let used = self.uses;
        if self.blobs.len() >= BLOBS_MAX
            && !self.blobs.contains_key(&blob)
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.blobs.remove(&oldest);
        }
        let known = self.blobs.entry(blob).or_insert_with(|| Known {
            bytes,
            peers: Vec::new(),
            used,
            labels: Labels::default(),
        });
        self.by_use.remove(&known.used);
        self.by_use.insert(used, blob);
        known.used = used;
        known.bytes = bytes;
        known.peers.retain(|holder| *holder != peer);
        if known.peers.len() >= HOLDERS_MAX {
            known.peers.remove(0);
        }
        known.peers.push(peer);
    }

    /// What is said of a blob that somebody holds.
    pub fn labelled(&mut self, blob: BlobId, labels: &Labels) {
        if let Some(known) = self.blobs.get_mut(&blob) {
            known.labels.join(labels);
        }
    }

    /// What holders of a blob have said of it; its holders enforce it, whatever is known here.
    pub fn labels_of(&self, blob: BlobId) -> Labels {
        self.blobs.get(&blob).map(|known| known.labels.clone()).unwrap_or_default()
    }

    /// A peer that may come back empty holds nothing.
    pub fn peer_lost(&mut self, peer: PeerId) {
        for known in self.blobs.values_mut() {
            known.peers.retain(|holder| *holder != peer);
        }
    }

    /// Those that hold a blob.
    pub fn of(&self, blob: BlobId) -> &[PeerId] {
        self.blobs.get(&blob).map_or(&[], |known| &known.peers)
    }

    /// The size of a blob that somebody was seen to hold.
    pub fn bytes_of(&self, blob: BlobId) -> Option<u64> {
        self.blobs.get(&blob).filter(|known| !known.peers.is_empty()).map(|known| known.bytes)
    }

    /// Blobs whose holders are remembered, and how many there may be.
    pub(crate) fn held_and_max(&self) -> (usize, usize) {
        (self.blobs.len(), BLOBS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn blob(n: usize) -> BlobId {
        BlobId::of(&n.to_le_bytes())
    }

    #[test]
    fn the_newest_holders_of_the_blobs_used_last_are_remembered() {
        let mut holders = Holders::default();
        for n in 0..=HOLDERS_MAX as u8 {
            holders.note(peer(n), blob(0), 7);
        }
        assert_eq!(holders.of(blob(0)).len(), HOLDERS_MAX);
        assert!(!holders.of(blob(0)).contains(&peer(0)));

        for n in 1..BLOBS_MAX {
            holders.note(peer(1), blob(n), 7);
        }
        holders.note(peer(1), blob(0), 7);
        holders.note(peer(1), blob(BLOBS_MAX), 7);

        assert_eq!(holders.held_and_max(), (BLOBS_MAX, BLOBS_MAX));
        assert!(holders.of(blob(1)).is_empty(), "it was not used for longest");
        assert_eq!(holders.by_use.len(), BLOBS_MAX);
        assert_eq!(holders.bytes_of(blob(0)), Some(7));
    }

    #[test]
    fn who_is_lost_holds_nothing() {
        let mut holders = Holders::default();
        holders.note(peer(1), blob(0), 7);

        holders.peer_lost(peer(1));

        assert!(holders.of(blob(0)).is_empty());
        assert_eq!(holders.bytes_of(blob(0)), None);
    }
}
