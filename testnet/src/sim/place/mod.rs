//! Placement against a yardstick: the same arrivals, works and network for every policy, and the figures that came of it.
//!
//! A *case* is three tables: nodes, round-trip times, tasks. A policy turns it into a [`Run`]. The model:
//!
//! - A task runs on one core for `work_ms / speed`. Where it arose it needs no network.
//! - Elsewhere its input waits for the origin's uplink (first in, first out), crosses it, and travels RTT/2. Its output takes
//!   its size over the executor's uplink, without a queue, and RTT/2 back.
//! - A control message takes RTT/2 and no bandwidth; it is counted, in messages and in bytes.
//! - `rtt(a, b)/2` is the way from a to b. A pair with an unknown cell in either direction cannot reach each other.
//! - Completion is result at the origin less arrival. The first fifth of the tasks warms up and is not counted.
//!
//! **Invariant:** every policy's result passes the same check, which knows the model and nothing of the policy.

pub mod bounds;
mod case;
mod faults;
pub mod generate;
pub mod mesh;
mod physics;
mod references;
mod run;
mod summary;
mod verify;

#[cfg(test)]
mod fixtures;

pub use case::{Case, NodeSpec, TaskLine, Tier};
pub use faults::{Change, Fault, Faults};
pub use physics::{Uplinks, output_ms, run_ms, transfer_ms};
pub use run::{Completion, Control, Execution, Run, completions_csv};
pub use summary::Summary;
pub use verify::{Violation, verify};

/// Who decides where tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The peers that `shoald` ships.
    Shoal,
    /// Knows every work and every core's next free time; takes what is best for each task as it arises.
    Clairvoyant,
    /// The same, but minds what a task takes from the others: each node's core time has a price.
    PricedClairvoyant,
    /// Every task where it arose.
    Local,
    /// Every task at the cloud node that would be fastest if it were idle.
    Cloud,
    /// Any node.
    Random,
    /// The shorter queue of two random nodes.
    PowerOfTwo,
    /// Reservations at four random nodes of the view; the first with a free core gets the task.
    Sparrow,
    /// The best of the view by what was said up to half a second ago.
    StaleArgmin,
    /// The best bid of everyone.
    BroadcastAuction,
}

impl Policy {
    pub const ALL: [Self; 10] = [
        Self::Shoal,
        Self::Clairvoyant,
        Self::Local,
        Self::Cloud,
        Self::Random,
        Self::PowerOfTwo,
        Self::Sparrow,
        Self::StaleArgmin,
        Self::BroadcastAuction,
        Self::PricedClairvoyant,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shoal => "shoal",
            Self::Clairvoyant => "clairvoyant",
            Self::PricedClairvoyant => "priced-clairvoyant",
            Self::Local => "local",
            Self::Cloud => "cloud",
            Self::Random => "random",
            Self::PowerOfTwo => "power-of-two",
            Self::Sparrow => "sparrow",
            Self::StaleArgmin => "stale-argmin",
            Self::BroadcastAuction => "broadcast-auction",
        }
    }

    /// Whether it knows what nobody can.
    pub fn is_clairvoyant(self) -> bool {
        matches!(self, Self::Clairvoyant | Self::PricedClairvoyant)
    }

    /// Whether it is defined where nodes crash.
    pub fn stands_crashes(self) -> bool {
        self == Self::Shoal || self.is_clairvoyant()
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// Why a policy cannot be run on a case.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("the case has no cloud node")]
    NoCloud,
    #[error("the policy {} is not defined where nodes crash", policy.name())]
    Faults { policy: Policy },
    /// A defect of the simulator, never of the input.
    #[error("the run breaks the model: {0}")]
    Violation(#[from] Violation),
}

impl PlaceError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoCloud => "give a node the tier `cloud`, or choose another policy".into(),
            Self::Faults { .. } => "shoal and the clairvoyants are; or leave out --kill-cloud-at and --churn".into(),
            Self::Violation(_) => "report this with the three files, the policy and the seed".into(),
        }
    }
}

/// Places the tasks of a case, and checks the result against the model.
pub fn place(case: &Case, policy: Policy, faults: &Faults, seed: u64) -> Result<Run, PlaceError> {
    if !faults.is_empty() && !policy.stands_crashes() {
        return Err(PlaceError::Faults { policy });
    }
    let run = match policy {
        Policy::Shoal => mesh::run(case, seed, faults),
        Policy::Clairvoyant => references::clairvoyant(case, faults),
        Policy::PricedClairvoyant => references::priced_clairvoyant(case, faults),
        Policy::Local => references::local(case),
        Policy::Cloud if case.clouds().next().is_none() => return Err(PlaceError::NoCloud),
        Policy::Cloud => references::cloud(case),
        Policy::Random => references::random(case, seed),
        Policy::PowerOfTwo => references::power_of_two(case, seed),
        Policy::Sparrow => references::sparrow(case, seed),
        Policy::StaleArgmin => references::stale_argmin(case, seed),
        Policy::BroadcastAuction => references::broadcast_auction(case),
    };
    verify(case, faults, &run)?;
    Ok(run)
}
