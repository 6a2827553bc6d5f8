//! The book a home peer keeps of its users' tasks: their specs, states, decisions and results.
//!
//! **Invariant:** bounded: unfinished tasks by admission, finished ones by number and by the bytes of their results; those
//! that are on disk by [`crate::config::KEPT_TASKS_MAX`], which forgets none before its time.
//! **Not here:** what is done about a task. That is `requester/`.

mod book;
mod early;
mod entry;
mod phase;
mod promise;

pub(crate) use self::book::Book;
pub(crate) use self::early::Early;
pub(crate) use self::entry::{HomeTask, WAITS_FOR_BETTER};
pub(crate) use self::phase::Phase;
pub(crate) use self::promise::Promise;

/// Candidates named in an award, to which a full executor may pass it on.
pub(crate) const ALTERNATIVES_MAX: usize = 8;
