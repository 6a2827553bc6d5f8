//! Data that moves only where it may: labels, the one rule that reads them, and what carries them.
//!
//! ```text
//! owner ─ signs ─► manifest (blob, size, labels) ─ travels before the bytes ─► whoever holds the blob enforces it
//! user ─ labels ─► TaskSpec ─► run ─► RunReport: labels of everything it read ─► result, remembered output, record
//!                     └─ each message that carries data is asked for its labels at the door of the peer (`peer/door.rs`)
//! ```
//!
//! **Invariant:** [`may_receive`] is the only place that decides; placement asks it to choose, the door and the blob server ask
//! it again before a byte leaves. What two labels say together is what both allow, so labels of many inputs never loosen.
//! **Not here:** dates. Whoever has a clock looks at [`Labels::is_over`].

mod carried;
mod labels;
mod manifest;
mod rule;
#[cfg(test)]
mod tests;

pub use labels::{CLASSES_MAX, LABEL_BYTES_MAX, LabelError, Labels, PLACES_MAX};
pub use manifest::{MANIFESTS_PER_BLOB_MAX, Manifest, ManifestError, SignedManifest};
pub use rule::{Denial, RESIDENCY, Receiver, SITE, may_receive};
