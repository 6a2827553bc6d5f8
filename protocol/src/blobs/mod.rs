//! Blobs as far as peers speak of them: who is known to hold which, and asking those around for one.
//!
//! **Not here:** bytes. The driver has the store and brings blobs over streams of their own.

mod holders;
mod wants;

pub use self::holders::Holders;
pub use self::wants::BLOBS_PER_MESSAGE_MAX;
pub(crate) use self::wants::Wants;
