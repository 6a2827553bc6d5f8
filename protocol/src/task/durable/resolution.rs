//! How a kept task ends, and who has a say in it.

use serde::{Deserialize, Serialize};

use crate::config::ADDRESS_BYTES_MAX;
use crate::id::PeerId;
use crate::message::Contact;
use crate::output::{TaskError, TaskResult};
use crate::sabotage::{self, Bug};
use crate::task::TaskState;

/// The end of a task, decided once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// Done, failed or cancelled.
    #[serde(rename = "s")]
    pub state: TaskState,
    /// The result, or why there is none.
    #[serde(rename = "r")]
    pub result: Result<TaskResult, TaskError>,
}

impl Resolution {
    /// Whether the task was never taken on.
    pub(crate) fn is_refusal(&self) -> bool {
        self.result.as_ref().is_err_and(TaskError::is_refusal)
    }
}

/// Those who decide on a task: its home alone, or home, guardian and witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Council {
    /// Tells councils of the same task apart, should it be submitted anew after a refusal; a later one is greater.
    #[serde(rename = "n")]
    pub term: u64,
    /// The home first, then the guardian, then the witness, with the addresses they were last reached at.
    #[serde(rename = "m")]
    pub members: Vec<Contact>,
}

/// Members of the largest council.
pub const MEMBERS_MAX: usize = 3;

impl Council {
    /// Whether it can decide anything at all: one member, or three.
    pub(super) fn is_sane(&self) -> bool {
        let distinct = |(i, member): (usize, &Contact)| self.members[..i].iter().all(|other| other.peer != member.peer);
        let known = self.members.iter().all(|member| member.address.len() <= ADDRESS_BYTES_MAX);
        matches!(self.members.len(), 1 | MEMBERS_MAX) && known && self.members.iter().enumerate().all(distinct)
    }

    /// Votes that decide: any two majorities have a member in common.
    pub(super) fn majority(&self) -> usize {
        if sabotage::is(Bug::MajorityOfOne) { 1 } else { self.members.len() / 2 + 1 }
    }

    /// Its members.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.members.iter().map(|member| member.peer)
    }

    /// Whether a peer is one of them.
    pub fn has(&self, peer: PeerId) -> bool {
        self.peers().any(|member| member == peer)
    }

    /// Those that keep the task itself: home and guardian.
    pub(super) fn with_copies(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers().take(2)
    }

    /// Who was asked by the user.
    pub(super) fn home(&self) -> Option<PeerId> {
        self.peers().next()
    }

    /// Who holds the second copy.
    pub(super) fn guardian(&self) -> Option<PeerId> {
        self.peers().nth(1)
    }
}
