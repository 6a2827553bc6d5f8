//! Verbs about this peer and this program.

pub(crate) mod bench;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod shutdown;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod version;
