//! What came of a run. Keys that the simulator's chaos prints too mean the same there.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde::Serialize;

use super::plan::Fault;
use crate::cluster::Network;
use crate::promises::Violation;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: String,
    pub seed: u64,
    pub seeds: u64,
    pub peers: usize,
    /// How long faults went on.
    pub seconds: f64,
    pub network: Network,
    pub tasks_submitted: u64,
    pub tasks_acknowledged: u64,
    /// Of which the faults destroyed more copies than the promise stands.
    pub tasks_beyond_promise: u64,
    /// Acknowledged, not beyond the promise, and without an end.
    pub tasks_lost: u64,
    /// Of which two ends were told.
    pub tasks_committed_twice: u64,
    /// Tasks in memory, and those that were answered: promised is neither.
    pub invoked: u64,
    pub invoked_answered: u64,
    pub faults: BTreeMap<Fault, u64>,
    /// Kinds of faults that this machine does not allow, and why.
    pub impossible: BTreeMap<Fault, String>,
    pub violations: Vec<Violation>,
    /// From the end of the last fault until all peers saw each other; absent when they never did.
    pub converged_ms: Option<f64>,
    pub wall_s: f64,
    /// Kept when a promise was broken, or when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<PathBuf>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<14} {value}");
        let network = match &self.network {
            Network::Emulated => "emulated links",
            Network::Loopback { .. } => "loopback",
        };
        line("seed", format!("{}: {} peers on {network}, {:.0} s of faults", self.seed, self.peers, self.seconds))?;
        line(
            "tasks",
            format!(
                "{} handed in, {} acknowledged, {} of them destroyed beyond what is promised",
                self.tasks_submitted, self.tasks_acknowledged, self.tasks_beyond_promise
            ),
        )?;
        line("", format!("{} lost, {} committed twice", self.tasks_lost, self.tasks_committed_twice))?;
        line("in memory", format!("{} of {} answered", self.invoked_answered, self.invoked))?;
        for (fault, count) in &self.faults {
            line("fault", format!("{count:>7} × {}", name(*fault)))?;
        }
        for (fault, why) in &self.impossible {
            line("no fault", format!("{}: {why}", name(*fault)))?;
        }
        let converged =
            self.converged_ms.map_or("never".into(), |ms| format!("{:.2} s after the last fault", ms / 1_000.0));
        line("converged", converged)?;
        for violation in &self.violations {
            line("BROKEN", format!("{:?}: {}", violation.promise, violation.what))?;
        }
        if let Some(history) = &self.history {
            line("history", history.display().to_string())?;
        }
        let broken = self.violations.len();
        line("promises", if broken == 0 { "all kept".into() } else { format!("{broken} broken") })
    }
}

/// As people say it.
pub(super) fn name(fault: Fault) -> String {
    // A name without fields.
    let name = serde_json::to_value(fault).ok().and_then(|name| Some(name.as_str()?.replace('_', " ")));
    name.unwrap_or_default()
}
