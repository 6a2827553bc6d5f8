//! The decision record: every candidate, each term of its cost, and what would have changed the choice.
//!
//! **Not here:** deciding. These are the types that deciding fills and `shoal explain` prints.

use serde::{Deserialize, Serialize};

use crate::certificate::Role;
use crate::id::{PeerId, TaskId};

/// Why a task ran where it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The task.
    pub task: TaskId,
    /// The attempt this was decided for.
    pub epoch: u32,
    /// How it was decided.
    pub method: Method,
    /// From acceptance to the award that was kept, in microseconds.
    pub decided_in_us: u64,
    /// Peers asked for an offer.
    pub asked: u32,
    /// λ that was used.
    pub lambda: f64,
    /// The peer it went to, if any.
    pub executor: Option<PeerId>,
    /// Every peer considered, the winner first, then by cost, excluded ones last.
    pub candidates: Vec<Candidate>,
    /// In plain words: what would have changed the choice.
    pub counterfactuals: Vec<String>,
    /// The business rules that were about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AppliedRule>,
}

/// A business rule that was about a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRule {
    /// Its name.
    pub name: String,
    /// Where it stands in the file that was deployed.
    pub line: u32,
    /// Of which set.
    pub version: u64,
    /// What it says.
    pub says: String,
}

/// How an executor was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// It stayed where it arose.
    Local,
    /// Awarded at once by what was known of the peers.
    Award,
    /// Awarded after asking for offers.
    Offers,
    /// Passed on by the peer it was awarded to.
    Forwarded,
    /// Only one peer was allowed.
    Pinned,
    /// Nobody could be found.
    None,
}

/// One peer in a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which peer.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What became of it in this decision.
    pub verdict: Verdict,
    /// Its cost by term; absent for excluded peers.
    pub cost: Option<Cost>,
    /// Which build it would run.
    pub variant: u8,
    /// What each build that the task allows would cost there, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<BuildCost>,
    /// In plain words: what stands out.
    pub note: String,
}

/// What one build of a task would cost at one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildCost {
    /// Its number in the task.
    pub variant: u8,
    /// Its name.
    pub name: String,
    /// Its declared loss, 0 to 1.
    pub declared_loss: f64,
    /// The objective, by term.
    pub cost: Cost,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The task went there.
    Won,
    /// It made an offer that was not the best.
    Offered,
    /// It was ranked by what was known of it, and not needed.
    Ranked,
    /// It said no.
    Declined,
    /// It died, or was silent.
    Lost,
    /// A hard constraint forbids it.
    Excluded,
}

/// The objective for one candidate, by term; the unit is the cost of one millisecond at weight 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// f: declared loss of the build, lateness and price.
    pub loss: f64,
    /// λ·α·t: waiting, fetching and compiling the module.
    pub wait: f64,
    /// λ·β·d: moving input and output.
    pub transfer: f64,
    /// λ·δ·c: computing.
    pub compute: f64,
    /// λ times what the rest of its pipeline costs more from there; zero for a task by itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: f64,
    /// When the result would be home, in milliseconds; not a term, but what a person compares.
    pub completion_ms: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Cost {
    /// The value of the objective.
    pub fn total(&self) -> f64 {
        self.loss + self.time() + self.ahead
    }

    /// Of that, what λ weighs of this task itself.
    pub fn time(&self) -> f64 {
        self.wait + self.transfer + self.compute
    }
}
