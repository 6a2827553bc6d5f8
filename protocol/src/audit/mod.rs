//! The audit log: what happened at a peer that somebody may ask about later, so that it shows when it was changed since.
//!
//! ```text
//! audit.log.1        audit.log                                 audit.head
//! … ─► entry 811 ──► entry 812 ─► entry 813 ─► entry 814 ◄──── "811 to 814, and this is the hash of 814"
//! ```
//!
//! An entry is a line of JSON: its number, its date, what happened, the hash of the line before it, and the peer's signature
//! over all of that. A line that was changed, removed, added or moved breaks a hash, a number or a signature. A cut at either
//! end breaks none of them: that is what the head is for, a signed line of its own beside the log, written after each entry.
//!
//! **What this does not stop.** Whoever can read the node's key (its user, and root) can write another log and sign it, and
//! whoever can write the directory can put back an older log together with the older head of it. Both show to whoever has
//! noted a head elsewhere: the daemon says it in its own log when it starts and ends, and `shoal audit verify` prints it.
//!
//! **Invariant:** a line is what its entry is written as and nothing else, so there is no byte of it that does not count.
//! **Not here:** files, and what is worth an entry: `node/src/audit/`.

mod chain;
mod entry;
pub mod files;
mod verify;

pub use chain::{Chain, Hash, Head};
pub use entry::{Entry, Happening};
pub use verify::{Fault, Verified, verify};
