//! What is noted down of a run, for a script to look at.

use core::time::Duration;

use shoal_protocol::message::TaskRef;
use shoal_protocol::output::{Judgement, PeerState, TaskError, TaskResult};
use shoal_protocol::task::durable::Found;
use shoal_protocol::{PeerId, TaskId, Time};

/// How a task of the script ended, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Time,
    /// With what.
    pub result: Result<TaskResult, TaskError>,
}

/// A run in a sandbox, whatever became of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Which attempt.
    pub attempt: TaskRef,
    /// Where.
    pub index: usize,
    /// From when.
    pub start: Time,
    /// Until when, or until its machine crashed.
    pub end: Time,
}

/// An award that was sent to another peer, by a home or by who passed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awarded {
    /// When.
    pub at: Time,
    /// Which attempt.
    pub attempt: TaskRef,
    /// To whom.
    pub to: usize,
}

/// Data that crossed an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// When the last of it left.
    pub left: Time,
    /// How long it took before that.
    pub span: Duration,
    /// Whose uplink.
    pub from: usize,
    /// For whom.
    pub to: usize,
    /// How much.
    pub bytes: u64,
}

/// What one peer holds against another from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When.
    pub at: Time,
    /// Who.
    pub by: usize,
    /// Whom.
    pub about: PeerId,
    /// What follows.
    pub judgement: Judgement,
}

/// A change in what one peer believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belief {
    /// When.
    pub at: Time,
    /// Who believes it.
    pub index: usize,
    /// Of whom.
    pub about: PeerId,
    /// What.
    pub state: PeerState,
}

/// Something that the users of one peer came to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When.
    pub at: Time,
    /// By which peer.
    pub index: usize,
    /// What.
    pub news: TaskNews,
}

/// What users are told of kept tasks.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskNews {
    /// It is kept as was asked.
    Acknowledged(TaskId),
    /// It ended.
    Finished(TaskId, Box<Result<TaskResult, TaskError>>),
    /// What was asked for under this ticket.
    Found(u64, Option<Box<Found>>),
    /// A record of it cannot be read.
    Damaged(Option<TaskId>),
    /// Something was not said to a neighbour.
    Withheld {
        /// To whom.
        from: PeerId,
        /// What kind of message.
        what: String,
        /// Why not.
        why: String,
    },
}
