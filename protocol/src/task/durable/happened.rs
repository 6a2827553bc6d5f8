//! What the requesting half has to act on.

use super::{KeptTask, Resolution};
use crate::id::TaskId;
use crate::output::TaskError;

/// What the requesting half has to act on.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A submitted task is kept as asked: it is acknowledged, and may be placed.
    Admitted(TaskId),
    /// A submitted task is not kept.
    Refused(TaskId, TaskError),
    /// This peer leads a task from now on: with it, unless it is in the book.
    Leads(TaskId, Option<Box<KeptTask>>),
    /// Another leads it.
    Deposed(TaskId),
    /// It has ended.
    Resolved(TaskId, Box<Resolution>),
    /// Its user withdrew it, at the home that does not lead it any more.
    Withdrawn(TaskId),
    /// The guardian lacks its copy: [`super::Durable::guard_again`].
    CopyWanted(TaskId),
    /// Everything about it is forgotten.
    Forgotten(TaskId),
    /// A task of a user of this peer was on disk.
    Restored(TaskId, Box<KeptTask>, Restored),
    /// A record of a task cannot be read.
    Damaged(TaskId, String),
}

/// How a restored task stood.
#[derive(Debug)]
pub(crate) enum Restored {
    /// Not ended, and led from here. What is running of it may still be adopted.
    Open,
    /// Its end was proposed, and is proposed again.
    Proposed,
    /// Led by another.
    Elsewhere,
    /// Ended.
    Ended(Box<Resolution>),
}
