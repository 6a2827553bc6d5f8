//! Blobs on disk: bytes named by their BLAKE3 hash, within a quota, the least recently used going first.
//!
//! ```text
//! writer ───► temporary file ─► hash and size agree ─┬► renamed into place ─► read, served, evicted ─► erased
//! download ─► partial file ─► every group verified ──┘
//! ```
//!
//! A writer that fails leaves nothing behind; a download leaves what was verified, and is gone on with later. Everything that
//! lies on the disk is sealed (`seal/`).
//!
//! | file | one question |
//! |---|---|
//! | `open.rs`, `found.rs`, `unlock.rs`, `upgrade.rs` | what lies here at the start, and under which key? |
//! | `put.rs`, `writer.rs`, `durable.rs` | how does a blob get its name, and when does it survive a power cut? |
//! | `reader.rs`, `slices.rs`, `tree.rs` | how is it read, whole or in pieces that prove themselves? |
//! | `incoming.rs`, `partial.rs`, `transfer/` | what is here of one that has not come yet, and how does it come? |
//! | `room.rs`, `index.rs`, `holds.rs` | who takes room, who makes it, and what stays on purpose? |
//! | `manifests.rs` | what do its owners say of it, and is its time over? |
//! | `aside.rs`, `remove.rs`, `erase.rs` | how does one go, and what is left of it? |
//!
//! **Invariant:** a name that can be looked up stands for a file that was complete when it got its name; bytes that no
//! longer hash to their name are set aside and never handed out.
//! **Not here:** who may have a blob (policy, in the protocol) and the network (`transfer/` takes any stream).

mod aside;
mod durable;
mod erase;
mod error;
mod found;
mod holds;
mod incoming;
mod index;
mod manifests;
mod open;
mod partial;
mod put;
mod reader;
mod remove;
mod room;
mod seal;
mod slices;
mod transfer;
mod tree;
mod unlock;
mod upgrade;
mod writer;

#[cfg(test)]
mod tests;

pub use error::BlobError;
pub use holds::Held;
pub use reader::BlobReader;
pub use room::Pin;
pub use transfer::{Arriving, Asker, BlobServer, Download, Pace, ServeLimits, TransferError, fetch};
pub use unlock::Sealing;
pub use writer::BlobWriter;

pub(crate) use erase::erase_file;
pub(crate) use seal::{BlobKey, Cipher};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use shoal_protocol::certificate::SecretKey;
use shoal_protocol::id::BlobId;

use erase::Eraser;
use holds::{Holds, HoldsFile};
use index::{Fingerprint, Index};
use manifests::Manifests;
use partial::Partial;
use seal::Keys;

/// Unit of reading and hashing.
const CHUNK_BYTES: usize = 128 * 1024;

/// What a blob is called and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The hash of its content.
    pub id: BlobId,
    /// Its size.
    pub bytes: u64,
}

/// The store; clones share it.
#[derive(Debug, Clone)]
pub struct BlobStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: Arc<Keys>,
    eraser: Eraser,
    /// Whole blobs.
    objects: PathBuf,
    /// Their trees, of those that were fetched or served: made again where one is missing.
    trees: PathBuf,
    /// Files that are being written.
    partial: PathBuf,
    /// Blobs that are here in part.
    incoming: PathBuf,
    set_aside: PathBuf,
    /// Those of which the version before wrote the file, and which are not sealed yet. Locked after the index.
    clear: Mutex<BTreeSet<BlobId>>,
    index: Mutex<Index>,
    /// Those that somebody brings or reads.
    live: Mutex<BTreeMap<BlobId, Weak<Partial>>>,
    /// Locked before the index, where both are.
    holds: Mutex<Holds>,
    /// Locked before what is held.
    holds_file: Mutex<HoldsFile>,
    /// Locked before the index, where both are.
    manifests: Mutex<Manifests>,
    /// Who writes a manifest; locked before them.
    labelling: Mutex<()>,
    /// Who labels blobs here.
    owner: OnceLock<SecretKey>,
    /// Bytes that came over streams and were verified, since the start.
    fetched: AtomicU64,
}

impl BlobStore {
    /// Bytes that came over streams and were verified, since the store was opened.
    pub fn fetched_bytes(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    /// The size of a blob that is here.
    pub fn stat(&self, id: BlobId) -> Option<u64> {
        let bytes = self.index().bytes_of(id)?;
        (!self.is_over(id)).then_some(bytes)
    }

    /// All blobs, in the order of their names.
    pub fn list(&self) -> Vec<(BlobId, u64)> {
        self.index().list()
    }

    /// A key for something else that is kept beside these blobs.
    pub(crate) fn derived_key(&self, context: &str) -> [u8; 32] {
        self.0.keys.derived(context)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Each change of the index is complete before anything that could panic.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.0.objects.join(self.0.keys.name(id))
    }

    /// Where its bytes are on the disk.
    #[cfg(test)]
    pub(crate) fn file_of(&self, id: BlobId) -> PathBuf {
        self.path(id)
    }

    fn tree_path(&self, id: BlobId) -> PathBuf {
        self.0.trees.join(self.0.keys.name(id))
    }
}

fn fingerprint(file: &File) -> io::Result<Fingerprint> {
    let metadata = file.metadata()?;
    Ok(Fingerprint { bytes: metadata.len(), modified: metadata.modified()? })
}
