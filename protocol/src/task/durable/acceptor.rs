//! What one member of a council promises: single-decree Paxos (Lamport, "Paxos Made Simple"), the acceptor's half.
//!
//! **Invariant:** a promise is never broken: once a ballot was promised, nothing of a lower ballot is accepted.
//! **Not here:** writing it down. Nothing that this says may leave the peer before it is on disk.

use serde::{Deserialize, Serialize};

use super::resolution::Resolution;
use crate::id::PeerId;
use crate::sabotage::{self, Bug};

/// A bid for the lead: later rounds win, and no two peers ever own the same ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// 0 is the home's, which leads from the start without asking; each takeover has a greater one.
    #[serde(rename = "r")]
    pub round: u32,
    /// Who leads by it.
    #[serde(rename = "o")]
    pub owner: PeerId,
}

/// A resolution and the ballot it was accepted in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// In which ballot.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// For what.
    #[serde(rename = "v")]
    pub resolution: Resolution,
}

/// The memory of one member about one task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Acceptor {
    pub(super) promised: Ballot,
    pub(super) accepted: Option<Vote>,
}

impl Acceptor {
    /// Before anybody bids, the home leads.
    pub(super) fn new(home: PeerId) -> Self {
        Self { promised: Ballot { round: 0, owner: home }, accepted: None }
    }

    /// Promises to accept nothing below `ballot`; false when a higher one was promised.
    pub(super) fn promise(&mut self, ballot: Ballot) -> bool {
        if ballot < self.promised {
            return false;
        }
        self.promised = ballot;
        true
    }

    /// Accepts a resolution, unless that would break a promise.
    pub(super) fn accept(&mut self, ballot: Ballot, resolution: Resolution) -> bool {
        if ballot < self.promised && !sabotage::is(Bug::UnfencedVote) {
            return false;
        }
        self.promised = ballot;
        self.accepted = Some(Vote { ballot, resolution });
        true
    }
}

/// What whoever leads by new promises must propose: what may have been decided already, or else whatever it wants.
pub(super) fn bound_to<'a>(promises: impl Iterator<Item = &'a Option<Vote>>) -> Option<Resolution> {
    if sabotage::is(Bug::ForgottenEnd) {
        return None;
    }
    promises.flatten().max_by_key(|vote| vote.ballot).map(|vote| vote.resolution.clone())
}
