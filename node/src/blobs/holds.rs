//! Blobs that stay on purpose: users have pinned them, or homes of tasks have a lease on an output that was left here.
//!
//! ```text
//! pin ─────────────────────────► until it is unpinned
//! output kept here ─► lease ───► until its home lets it go, or its time is over
//! ```
//!
//! **Invariant:** what a user pinned is on disk before the user is told; what is on disk is held again after a restart; leases
//! together take at most half of the quota, so that no home fills another peer's disk.
//! **Not here:** pins of this process alone, for what it reads or runs just now. Those are in the index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use shoal_protocol::cbor;
use shoal_protocol::id::{BlobId, PeerId, TaskId};

use super::partial::footprint;
use super::seal::{Keys, Small};
use super::{BlobError, BlobStore};
use crate::small_file;

/// Version of the file.
const VERSION: u8 = 1;
/// Blobs that users may pin.
const PINS_MAX: usize = 16_384;
/// Outputs that may be left here.
const LEASES_MAX: usize = 4_096;
/// Those of one home, so that there is always room for another's.
const LEASES_PER_HOME_MAX: usize = LEASES_MAX / 2;

/// Why a blob stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// A user has pinned it.
    pub pinned: bool,
    /// Tasks whose homes have a lease on it.
    pub leases: usize,
}

impl Held {
    /// Whether anything keeps it.
    pub fn is_held(self) -> bool {
        self.pinned || self.leases > 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    #[serde(rename = "h")]
    home: PeerId,
    #[serde(rename = "t")]
    task: TaskId,
    #[serde(rename = "b")]
    blob: BlobId,
    /// The date of its end.
    #[serde(rename = "u")]
    until_unix_s: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "p", default)]
    pins: Vec<BlobId>,
    #[serde(rename = "l", default)]
    leases: Vec<Lease>,
}

/// What is held.
#[derive(Debug)]
pub(super) struct Holds {
    pins: BTreeSet<BlobId>,
    leases: BTreeMap<(PeerId, TaskId), Lease>,
}

impl Holds {
    /// What was held when the daemon ended. A file that cannot be read is an error: what a person pinned must not go unnoticed.
    /// It is sealed, but for one that the version before wrote.
    pub(super) fn open(path: &Path, keys: &Keys) -> Result<Self, BlobError> {
        let record = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(BlobError::io("read", path)(error)),
            Ok(bytes) => {
                let record: Option<Record> = match Keys::is_sealed(&bytes) {
                    true => keys.open(Small::Holds, &bytes).and_then(|record| cbor::decode(&record).ok()),
                    false => cbor::decode(&bytes).ok(),
                };
                let known = record.filter(|record| record.version == VERSION);
                Some(known.ok_or_else(|| BlobError::HoldsDamaged { path: path.to_owned() })?)
            }
        };
        let Record { pins, leases, .. } =
            record.unwrap_or(Record { version: VERSION, pins: Vec::new(), leases: Vec::new() });
        let leases = leases.into_iter().take(LEASES_MAX).map(|lease| ((lease.home, lease.task), lease)).collect();
        Ok(Self { pins: pins.into_iter().take(PINS_MAX).collect(), leases })
    }

    pub(super) fn pinned(&self) -> &BTreeSet<BlobId> {
        &self.pins
    }

    /// Why each blob stays that does.
    pub(super) fn all(&self) -> BTreeMap<BlobId, Held> {
        let mut all: BTreeMap<BlobId, Held> = BTreeMap::new();
        for blob in &self.pins {
            all.entry(*blob).or_default().pinned = true;
        }
        for lease in self.leases.values() {
            all.entry(lease.blob).or_default().leases += 1;
        }
        all
    }

    /// Why one blob stays.
    fn of(&self, blob: BlobId) -> Held {
        let leases = self.leases.values().filter(|lease| lease.blob == blob).count();
        Held { pinned: self.pins.contains(&blob), leases }
    }

    /// A user wants it to stay.
    pub(super) fn pin(&mut self, blob: BlobId) -> Result<(), BlobError> {
        if self.pins.len() >= PINS_MAX && !self.pins.contains(&blob) {
            return Err(BlobError::TooManyHeld { max: PINS_MAX });
        }
        self.pins.insert(blob);
        Ok(())
    }

    /// A user does not need it any more; whether it was pinned.
    pub(super) fn unpin(&mut self, blob: BlobId) -> bool {
        self.pins.remove(&blob)
    }

    /// The home of a task needs its output until then; whether that was not known.
    pub(super) fn lease(
        &mut self,
        home: PeerId,
        task: TaskId,
        blob: BlobId,
        until_unix_s: u64,
    ) -> Result<bool, BlobError> {
        if !self.leases.contains_key(&(home, task)) {
            let of_home = (home, TaskId([0; 16]))..=(home, TaskId([u8::MAX; 16]));
            if self.leases.len() >= LEASES_MAX || self.leases.range(of_home).count() >= LEASES_PER_HOME_MAX {
                return Err(BlobError::TooManyHeld { max: LEASES_MAX });
            }
        }
        let lease = Lease { home, task, blob, until_unix_s };
        Ok(self.leases.insert((home, task), lease) != Some(lease))
    }

    /// The blob that the home of a task has a lease on.
    pub(super) fn leased(&self, home: PeerId, task: TaskId) -> Option<BlobId> {
        self.leases.get(&(home, task)).map(|lease| lease.blob)
    }

    /// Its home does not need it any more; whether it had it.
    pub(super) fn release(&mut self, home: PeerId, task: TaskId) -> bool {
        self.leases.remove(&(home, task)).is_some()
    }

    /// Whether anything has been held long enough.
    fn has_lapsed(&self, now_unix_s: u64) -> bool {
        self.leases.values().any(|lease| lease.until_unix_s <= now_unix_s)
    }

    /// Lets go what has been held long enough; whether there was any.
    pub(super) fn expire(&mut self, now_unix_s: u64) -> bool {
        let before = self.leases.len();
        self.leases.retain(|_, lease| lease.until_unix_s > now_unix_s);
        self.leases.len() < before
    }

    /// As it is written.
    pub(super) fn record(&self) -> Vec<u8> {
        cbor::encode(&Record {
            version: VERSION,
            pins: self.pins.iter().copied().collect(),
            leases: self.leases.values().copied().collect(),
        })
    }
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct HoldsFile(pub(super) PathBuf);

impl HoldsFile {
    /// Blocks for two fsyncs.
    pub(super) fn write(&self, record: Vec<u8>, keys: &Keys) -> Result<(), BlobError> {
        let written = keys.seal(Small::Holds, record).and_then(|sealed| small_file::replace(&self.0, &sealed, 0o600));
        written.map_err(BlobError::io("write", &self.0))
    }
}

impl BlobStore {
    /// Keeps a blob until [`Self::unpin_for_user`], over restarts and power cuts. Blocks for a few fsyncs.
    pub fn pin_for_user(&self, id: BlobId) -> Result<(), BlobError> {
        let _pin = self.pin(id)?;
        self.make_durable(&[id])?;
        let was = self.held(id).pinned;
        self.change_holds(&[id], |holds| holds.pin(id))?;
        self.save_holds().inspect_err(|_| {
            if !was {
                self.change_holds(&[id], |holds| holds.unpin(id));
            }
        })
    }

    /// What users have pinned.
    pub fn pinned(&self) -> BTreeSet<BlobId> {
        self.holds().pinned().clone()
    }

    /// Lets it go again; whether it was pinned. Blocks for an fsync.
    pub fn unpin_for_user(&self, id: BlobId) -> Result<bool, BlobError> {
        let was = self.change_holds(&[id], |holds| holds.unpin(id));
        self.save_holds().map(|()| was)
    }

    /// An output that is to stay here until a date, for the home of its task; the one that stays already where none is named.
    /// Outputs together may take half of the quota. It outlives the daemon after the next [`Self::save_holds`]; whether there is
    /// anything to save.
    pub fn lease(
        &self,
        home: PeerId,
        task: TaskId,
        blob: Option<BlobId>,
        until_unix_s: u64,
    ) -> Result<bool, BlobError> {
        let known = self.holds().leased(home, task);
        let Some(id) = blob.or(known) else { return Ok(false) };
        let _pin = self.pin(id)?;
        if !self.held(id).is_held() {
            let bytes = self.stat(id).map_or(0, footprint);
            let (pinned, leased) = self.index().held_bytes();
            let (_, quota) = self.usage();
            if leased.saturating_add(bytes) > quota / 2 {
                return Err(BlobError::NoRoom { needed: bytes, held: pinned + leased, quota, pinned, leased });
            }
        }
        let changed = [id, known.unwrap_or(id)];
        self.change_holds(&changed, |holds| holds.lease(home, task, id, until_unix_s))
    }

    /// The home of a task does not need its output any more; whether it did.
    pub fn release_lease(&self, home: PeerId, task: TaskId) -> bool {
        let Some(id) = self.holds().leased(home, task) else { return false };
        self.change_holds(&[id], |holds| holds.release(home, task))
    }

    /// Lets outputs go whose time is over; whether there were any.
    pub fn expire_leases(&self, now_unix_s: u64) -> bool {
        let mut holds = self.holds();
        if !holds.has_lapsed(now_unix_s) {
            return false;
        }
        let has_expired = holds.expire(now_unix_s);
        self.index().set_held(holds.all());
        has_expired
    }

    /// Writes down what is held. Blocks for an fsync.
    pub fn save_holds(&self) -> Result<(), BlobError> {
        self.save_holds_when(|| ())
    }

    /// The same; says when it is its turn to write: what changes after that takes another call.
    pub(crate) fn save_holds_when(&self, begins: impl FnOnce()) -> Result<(), BlobError> {
        let file = self.0.holds_file.lock().unwrap_or_else(PoisonError::into_inner);
        begins();
        // Taken once it is our turn to write: the last to write writes the newest.
        let record = self.holds().record();
        file.write(record, &self.0.keys)
    }

    /// Why a blob stays, if it does.
    pub fn held(&self, id: BlobId) -> Held {
        self.index().held(id)
    }

    /// Changes why these blobs stay.
    pub(super) fn change_holds<T>(&self, of: &[BlobId], change: impl FnOnce(&mut Holds) -> T) -> T {
        let mut holds = self.holds();
        let changed = change(&mut holds);
        let mut index = self.index();
        of.iter().for_each(|id| index.set_held_of(*id, holds.of(*id)));
        changed
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        // Each change is complete before anything that could panic.
        self.0.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
