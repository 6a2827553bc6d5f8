//! Which blobs are here, whole or in part, who uses them, and which go first: what nobody is bringing here any more, then
//! what was not used for longest.
//!
//! **Invariant:** `used + reserved` is at most the quota where [`Index::evict`] says so; a pinned blob, or one that is on its
//! way, is never chosen.
//! **Not here:** files.

use std::collections::BTreeMap;
use std::time::SystemTime;

use shoal_protocol::id::BlobId;

use super::BlobError;
use super::holds::Held;
use super::partial::footprint;

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

/// A blob that is here in part.
#[derive(Debug)]
struct Part {
    bytes: u64,
    footprint: u64,
    used_at: u64,
    /// Somebody is bringing the rest of it.
    is_taken: bool,
}

/// What has to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evicted {
    Blob(BlobId),
    Part(BlobId),
}

/// Blobs in part that nobody is bringing; the oldest go.
const IDLE_PARTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Index {
    quota: u64,
    used: u64,
    reserved: u64,
    entries: BTreeMap<BlobId, Entry>,
    by_use: BTreeMap<u64, BlobId>,
    parts: BTreeMap<BlobId, Part>,
    /// What stays on purpose.
    held: BTreeMap<BlobId, Held>,
    uses: u64,
}

impl Index {
    pub(super) fn new(quota: u64) -> Self {
        Self {
            quota,
            used: 0,
            reserved: 0,
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            parts: BTreeMap::new(),
            held: BTreeMap::new(),
            uses: 0,
        }
    }

    pub(super) fn insert(&mut self, id: BlobId, bytes: u64, verified: Option<Fingerprint>) {
        if self.touch(id) {
            // The file under it is another one, whose bytes may not be on the disk yet.
            self.entries.entry(id).and_modify(|entry| (entry.durable, entry.verified) = (false, verified));
            return;
        }
        self.uses += 1;
        self.used += footprint(bytes);
        self.by_use.insert(self.uses, id);
        self.entries.insert(id, Entry { bytes, pins: 0, used_at: self.uses, verified, durable: false });
    }

    pub(super) fn remove(&mut self, id: BlobId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.used -= footprint(entry.bytes);
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

    /// A blob of which a part is here, or soon will be; its room has been made.
    pub(super) fn insert_part(&mut self, id: BlobId, bytes: u64, is_taken: bool) {
        self.remove_part(id);
        self.uses += 1;
        let footprint = footprint(bytes);
        self.used += footprint;
        self.parts.insert(id, Part { bytes, footprint, used_at: self.uses, is_taken });
    }

    pub(super) fn remove_part(&mut self, id: BlobId) {
        if let Some(part) = self.parts.remove(&id) {
            self.used -= part.footprint;
        }
    }

    /// The size of a blob that is here in part.
    pub(super) fn part_of(&self, id: BlobId) -> Option<u64> {
        self.parts.get(&id).map(|part| part.bytes)
    }

    /// All blobs that are here in part.
    pub(super) fn parts(&self) -> Vec<(BlobId, u64)> {
        self.parts.iter().map(|(id, part)| (*id, part.bytes)).collect()
    }

    /// Gives the part of a blob to one who brings the rest; nothing where there is none, or somebody has it.
    pub(super) fn take_part(&mut self, id: BlobId) -> Option<u64> {
        let part = self.parts.get_mut(&id).filter(|part| !part.is_taken)?;
        part.is_taken = true;
        Some(part.bytes)
    }

    pub(super) fn is_part_taken(&self, id: BlobId) -> bool {
        self.parts.get(&id).is_some_and(|part| part.is_taken)
    }

    /// Nobody brings the rest any more; returns the parts that are too many.
    pub(super) fn lay_down_part(&mut self, id: BlobId) -> Vec<Evicted> {
        let Some(part) = self.parts.get_mut(&id) else { return Vec::new() };
        self.uses += 1;
        part.is_taken = false;
        part.used_at = self.uses;
        let idle = self.idle_parts();
        let surplus = idle.len().saturating_sub(IDLE_PARTS_MAX);
        let oldest: Vec<BlobId> = idle.into_iter().take(surplus).collect();
        oldest.into_iter().inspect(|id| self.remove_part(*id)).map(Evicted::Part).collect()
    }

    /// The longest unused first.
    fn idle_parts(&self) -> Vec<BlobId> {
        let mut idle: Vec<_> = self.parts.iter().filter(|(_, part)| !part.is_taken).collect();
        idle.sort_by_key(|(_, part)| part.used_at);
        idle.into_iter().map(|(id, _)| *id).collect()
    }

    /// The rest of a blob has come.
    pub(super) fn arrived(&mut self, id: BlobId, bytes: u64, fingerprint: Fingerprint) {
        self.remove_part(id);
        self.insert(id, bytes, Some(fingerprint));
        self.set_verified(id, fingerprint);
    }

    /// Whether `bytes` more fit once everything has gone that may; the error says what stays.
    pub(super) fn can_fit(&self, bytes: u64) -> Result<(), BlobError> {
        let (mut surplus, mut evictable) = (self.surplus(bytes), 0);
        if surplus == 0 {
            return Ok(());
        }
        for candidate in self.candidates() {
            let freed = self.footprint_of(candidate);
            evictable += freed;
            surplus = surplus.saturating_sub(freed);
            if surplus == 0 {
                return Ok(());
            }
        }
        let held = self.used + self.reserved - evictable;
        let (pinned, leased) = self.held_bytes();
        Err(BlobError::NoRoom { needed: bytes, held, quota: self.quota, pinned, leased })
    }

    /// Forgets what may go until `bytes` more fit, or so many are forgotten: what is to be taken away, and whether they fit.
    pub(super) fn evict(&mut self, bytes: u64, count_max: usize) -> (Vec<Evicted>, bool) {
        let mut surplus = self.surplus(bytes);
        if surplus == 0 {
            return (Vec::new(), true);
        }
        let mut chosen = Vec::new();
        for candidate in self.candidates().take(count_max) {
            surplus = surplus.saturating_sub(self.footprint_of(candidate));
            chosen.push(candidate);
            if surplus == 0 {
                break;
            }
        }
        for candidate in &chosen {
            match candidate {
                Evicted::Blob(id) => self.remove(*id),
                Evicted::Part(id) => self.remove_part(*id),
            }
        }
        (chosen, surplus == 0)
    }

    /// What is over the quota with `bytes` more.
    fn surplus(&self, bytes: u64) -> u64 {
        (self.used + self.reserved).saturating_add(bytes).saturating_sub(self.quota)
    }

    /// What may go, in order: parts that nobody is bringing the rest of, and then the longest unused blobs.
    fn candidates(&self) -> impl Iterator<Item = Evicted> {
        let parts = self.idle_parts().into_iter().map(Evicted::Part);
        parts.chain(self.by_use.values().map(|id| Evicted::Blob(*id)).filter(|chosen| self.may_go(*chosen)))
    }

    /// Whether somebody here reads it, or needs it for a task.
    pub(super) fn is_in_use(&self, id: BlobId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.pins > 0)
    }

    /// What stays on purpose, from now on.
    pub(super) fn set_held(&mut self, held: BTreeMap<BlobId, Held>) {
        self.held = held;
    }

    /// Why one blob stays, from now on, if it does.
    pub(super) fn set_held_of(&mut self, id: BlobId, held: Held) {
        if held.is_held() {
            self.held.insert(id, held);
        } else {
            self.held.remove(&id);
        }
    }

    pub(super) fn held(&self, id: BlobId) -> Held {
        self.held.get(&id).copied().unwrap_or_default()
    }

    /// Bytes that are pinned by users, and of the others those that are outputs left here.
    pub(super) fn held_bytes(&self) -> (u64, u64) {
        let mut bytes = (0, 0);
        for (id, held) in &self.held {
            let counter = if held.pinned { &mut bytes.0 } else { &mut bytes.1 };
            *counter += self.bytes_of(*id).map_or(0, footprint);
        }
        bytes
    }

    fn may_go(&self, candidate: Evicted) -> bool {
        match candidate {
            Evicted::Blob(id) => !self.is_in_use(id) && !self.held.contains_key(&id),
            Evicted::Part(id) => !self.is_part_taken(id),
        }
    }

    fn footprint_of(&self, candidate: Evicted) -> u64 {
        match candidate {
            Evicted::Blob(id) => self.bytes_of(id).map_or(0, footprint),
            Evicted::Part(id) => self.parts.get(&id).map_or(0, |part| part.footprint),
        }
    }
}
