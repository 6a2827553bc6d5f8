//! What lies on the disk: ciphertext, each file under a key of its own, under names that say nothing.
//!
//! ```text
//! store.key ─┬─► names      objects/NAME = keyed BLAKE3 of the blob's name, cut to twenty bytes
//!            └─► wraps ─► header of a file: its own key, what it holds, how much ─► content: AES-256 in counter mode
//! ```
//!
//! Content has no tag of its own: it is read at any place, and every byte of it is checked against the blob's name or its
//! tree before it is believed, as it was before it was sealed. Lists and manifests are small and are sealed as a whole.
//!
//! **Invariant:** one key seals one content, so that no stretch of a key stream ever covers two. Whoever has the disk and
//! not the key can neither read a blob nor find out whether one that he knows is there.
//! **Not here:** when a file is erased (`erase.rs`), and files of the version before, which were clear (`upgrade.rs`).

mod cipher;
mod file;
mod header;
mod keys;

pub(crate) use cipher::{BlobKey, Cipher};
pub(super) use file::{Content, Sealed};
pub(super) use header::{Beginning, HEADER_BYTES, Header};
pub(super) use keys::{Keys, Small};
