//! Which blobs are here, who uses them, and which go first.
//!
//! **Invariant:** `used + reserved` is at most the quota after [`Index::make_room`]; a pinned blob is never chosen.
//! **Not here:** files.

use std::collections::BTreeMap;
use std::time::SystemTime;

use shoal_protocol::id::BlobId;

use super::BlobError;

/// What a file looked like when its content was last checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    pins: u32,
    used_at: u64,
    verified: Option<Fingerprint>,
    /// Whether it is known to survive a power cut.
    durable: bool,
}

#[derive(Debug)]
pub(super) struct Index {
    quota: u64,
    used: u64,
    reserved: u64,
    entries: BTreeMap<BlobId, Entry>,
    by_use: BTreeMap<u64, BlobId>,
    uses: u64,
}

impl Index {
    pub(super) fn new(quota: u64) -> Self {
        Self { quota, used: 0, reserved: 0, entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn insert(&mut self, id: BlobId, bytes: u64, verified: Option<Fingerprint>) {
        if self.entries.contains_key(&id) {
            self.touch(id);
            return;
        }
        self.uses += 1;
        self.used += bytes;
        self.by_use.insert(self.uses, id);
        self.entries.insert(id, Entry { bytes, pins: 0, used_at: self.uses, verified, durable: false });
    }

    pub(super) fn remove(&mut self, id: BlobId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.used -= entry.bytes;
            self.by_use.remove(&entry.used_at);
        }
    }

    pub(super) fn touch(&mut self, id: BlobId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        self.uses += 1;
        self.by_use.remove(&entry.used_at);
        entry.used_at = self.uses;
        self.by_use.insert(self.uses, id);
        true
    }

    pub(super) fn pin(&mut self, id: BlobId) -> bool {
        let here = self.touch(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.pins += 1;
        }
        here
    }

    pub(super) fn unpin(&mut self, id: BlobId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            // A blob set aside and stored again while pinned starts without pins.
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    pub(super) fn verified(&self, id: BlobId) -> Option<Fingerprint> {
        self.entries.get(&id)?.verified
    }

    pub(super) fn set_verified(&mut self, id: BlobId, fingerprint: Fingerprint) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.verified = Some(fingerprint);
        }
    }

    pub(super) fn is_durable(&self, id: BlobId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.durable)
    }

    pub(super) fn set_durable(&mut self, id: BlobId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.durable = true;
        }
    }

    pub(super) fn bytes_of(&self, id: BlobId) -> Option<u64> {
        self.entries.get(&id).map(|entry| entry.bytes)
    }

    pub(super) fn list(&self) -> Vec<(BlobId, u64)> {
        self.entries.iter().map(|(id, entry)| (*id, entry.bytes)).collect()
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        (self.used + self.reserved, self.quota)
    }

    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// Forgets the longest unused blobs until `bytes` more fit; all or none.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<Vec<BlobId>, BlobError> {
        let mut surplus = (self.used + self.reserved).saturating_add(bytes).saturating_sub(self.quota);
        let mut chosen = Vec::new();
        for id in self.by_use.values() {
            if surplus == 0 {
                break;
            }
            if let Some(entry) = self.entries.get(id).filter(|entry| entry.pins == 0) {
                surplus = surplus.saturating_sub(entry.bytes);
                chosen.push(*id);
            }
        }
        if surplus > 0 {
            let evictable: u64 = chosen.iter().filter_map(|id| self.bytes_of(*id)).sum();
            let held = self.used + self.reserved - evictable;
            return Err(BlobError::NoRoom { needed: bytes, held, quota: self.quota });
        }
        for id in &chosen {
            self.remove(*id);
        }
        Ok(chosen)
    }
}
