//! What users were told of one task.

use core::fmt::Debug;

use shoal_protocol::task::durable::Durability;
use shoal_protocol::{TaskState, Time};

/// How a task ended, as far as a user can tell one end from another.
pub(crate) trait End: PartialEq + Debug {
    fn state(&self) -> TaskState;
}

/// An end as somebody was told of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer<E> {
    pub(crate) at: Time,
    pub(crate) by: usize,
    pub(crate) end: E,
}

/// One task, as its user sees it.
#[derive(Debug, Clone)]
pub(crate) struct Entry<E> {
    pub(crate) home: usize,
    pub(crate) durability: Durability,
    pub(crate) acknowledged: Option<Time>,
    /// Told that it was not taken on, at least once.
    pub(crate) refused: bool,
    pub(crate) cancelled: bool,
    /// Every end that was told, refusals left out.
    pub(crate) answers: Vec<Answer<E>>,
    /// A peer said that its record cannot be read.
    pub(crate) said_damaged: bool,
}

impl<E> Entry<E> {
    pub(crate) fn new(home: usize, durability: Durability) -> Self {
        Self {
            home,
            durability,
            acknowledged: None,
            refused: false,
            cancelled: false,
            answers: Vec::new(),
            said_damaged: false,
        }
    }
}
