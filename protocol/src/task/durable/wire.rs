//! What the members of a council say to each other about a task.
//!
//! ```text
//! home ── Guard ──► guardian ── Guarded ──► home                         the second copy
//! leader ── Propose ──► members ── Accepted | Refused ──► leader         the end, decided by a majority
//! leader ── Resolved ──► members ── Known ──► leader                     the end, told
//! heir ── Prepare ──► members ── Promised | Refused | Resolved ──► heir  a leader that is gone is followed
//! returned ── Inquire ──► members ── Standing | Resolved ──► returned    what has happened meanwhile?
//! ```

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Keeping;
use super::acceptor::{Ballot, Vote};
use super::resolution::{Council, Resolution};
use crate::id::TaskId;
use crate::task::spec::TaskSpec;
use crate::time::duration_us;

/// One such word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Counsel {
    /// Keep a copy of this task, and take it over if its home is lost.
    #[serde(rename = "gu")]
    Guard(Box<Guard>),
    /// The copy is on disk; or why it is not.
    #[serde(rename = "gd")]
    Guarded(Guarded),
    /// I would lead: its leader is gone.
    #[serde(rename = "pr")]
    Prepare(Prepare),
    /// I accept nothing below that ballot any more; this I had accepted before.
    #[serde(rename = "pd")]
    Promised(Box<Promised>),
    /// Let it end like this.
    #[serde(rename = "po")]
    Propose(Box<Propose>),
    /// That is my vote, and it is on disk.
    #[serde(rename = "ac")]
    Accepted(Voted),
    /// No: I am bound otherwise.
    #[serde(rename = "re")]
    Refused(Refused),
    /// It has ended, like this.
    #[serde(rename = "rs")]
    Resolved(Box<Resolved>),
    /// I know how it ended, and it is on disk.
    #[serde(rename = "kn")]
    Known(Case),
    /// I was away, or one of us was: do I still lead these? At most [`INQUIRED_MAX`].
    #[serde(rename = "in")]
    Inquire(Vec<Case>),
    /// My user withdraws it: you lead it.
    #[serde(rename = "wi")]
    Withdraw(Case),
    /// This is the highest ballot that I know of.
    #[serde(rename = "st")]
    Standing(Standing),
}

/// Tasks in one [`Counsel::Inquire`].
pub const INQUIRED_MAX: usize = 64;

impl Counsel {
    /// Its kind, for counters and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Guard(_) => "guard",
            Self::Guarded(_) => "guarded",
            Self::Prepare(_) => "prepare",
            Self::Promised(_) => "promised",
            Self::Propose(_) => "propose",
            Self::Accepted(_) => "vote",
            Self::Refused(_) => "refused",
            Self::Resolved(_) => "resolved",
            Self::Known(_) => "known",
            Self::Inquire(_) => "inquire",
            Self::Withdraw(_) => "withdraw",
            Self::Standing(_) => "standing",
        }
    }
}

/// One task before one council.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Case {
    /// The task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// The term of its council.
    #[serde(rename = "n")]
    pub term: u64,
}

/// A copy of a task for its guardian.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Who decides on it.
    #[serde(rename = "c")]
    pub council: Council,
    /// What its user calls it.
    #[serde(rename = "m")]
    pub name: String,
    /// What to run.
    #[serde(rename = "s")]
    pub spec: TaskSpec,
    /// How it is kept.
    #[serde(rename = "k")]
    pub keeping: Keeping,
    /// Time since it was submitted.
    #[serde(rename = "a", with = "duration_us")]
    pub age: Duration,
}

/// The answer to a [`Guard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// Why it is not kept; nothing when it is.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A bid for the lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Who decides on it: a witness may hear of it for the first time.
    #[serde(rename = "c")]
    pub council: Council,
    /// The bid.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// What is promised need not be remembered longer.
    #[serde(rename = "x", with = "duration_us")]
    pub expires_in: Duration,
    /// Its leader is here and says that it does not lead: it need not be gone to be followed.
    #[serde(rename = "l", default, skip_serializing_if = "is_false")]
    pub leader_gave_up: bool,
    /// Time since it was submitted: whose store is younger may have lost what it said.
    #[serde(rename = "a", default, skip_serializing_if = "Duration::is_zero", with = "duration_us")]
    pub age: Duration,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The answer to a [`Prepare`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promised {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// The bid.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// What was accepted before, if anything was.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Vote>,
}

/// A resolution to vote on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propose {
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Who decides on it.
    #[serde(rename = "c")]
    pub council: Council,
    /// In which ballot, and what.
    #[serde(rename = "v")]
    pub vote: Vote,
    /// The vote need not be remembered longer.
    #[serde(rename = "x", with = "duration_us")]
    pub expires_in: Duration,
    /// Time since the task was submitted: whose store is younger may have lost what it said.
    #[serde(rename = "a", default, skip_serializing_if = "Duration::is_zero", with = "duration_us")]
    pub age: Duration,
}

/// A ballot in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// The ballot.
    #[serde(rename = "b")]
    pub ballot: Ballot,
}

/// The answer to a [`Counsel::Inquire`] about a task that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// The highest ballot known.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// A copy of the task is here.
    #[serde(rename = "h", default)]
    pub holds: bool,
    /// It is led from here, or a bid for that is under way.
    #[serde(rename = "l", default)]
    pub leads: bool,
}

/// A bid or a proposal is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// What was promised to somebody else.
    #[serde(rename = "p")]
    pub promised: Ballot,
    /// That one is here: there is nothing to take over.
    #[serde(rename = "h", default)]
    pub leader_is_here: bool,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// Which.
    #[serde(rename = "c")]
    pub case: Case,
    /// The ballot it was decided in.
    #[serde(rename = "b")]
    pub ballot: Ballot,
    /// The end; left out for those whose vote says it.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}
