//! What is being done about a task.

use core::time::Duration;

use crate::id::PeerId;
use crate::message::{Outcome, TaskRef};
use crate::output::{TaskError, TaskResult};
use crate::placement::{Assessment, Candidate};

/// What is being done about a task.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nobody may run it now; it is tried again later.
    Waiting,
    /// Offers were asked for.
    Asking {
        /// The candidates, cheapest first, as known when asking.
        candidates: Vec<Candidate>,
        /// Who has not answered yet.
        open: Vec<PeerId>,
        /// Candidates as their offers have it.
        offers: Vec<Assessment>,
    },
    /// It was given to a peer, perhaps this one.
    Awarded {
        /// Whom.
        to: PeerId,
        /// Whom it may pass it on to.
        alternatives: Vec<PeerId>,
        /// How long the run was expected to take there.
        run: Duration,
        /// Questions about it that nobody has answered.
        unanswered: u8,
    },
    /// It ended well, and its large output is being fetched.
    Collecting {
        /// Who holds the output.
        from: PeerId,
        /// The end.
        outcome: Box<Outcome>,
    },
    /// It is being written to disk; it is not acknowledged yet.
    Storing,
    /// It was on disk when this peer started. Whoever runs it may still say so.
    Recovering {
        /// The latest attempt that somebody said is under way.
        held: Option<(PeerId, TaskRef)>,
    },
    /// Its end is known, and not decided yet.
    Resolving,
    /// Another peer of its council leads it.
    Elsewhere,
    /// It is over.
    Ended(Result<TaskResult, TaskError>),
}
