//! A city's day over unequal uplinks: what do business rules make of the bytes, the waits and the cost?
//!
//! ```text
//! METR-LA speeds ─► city.rs: readings, recordings, forecasts of every five minutes ─┐
//!                                           rules.rs: the city's rules ─► on, off ──┼─► run.rs: the peers that shoald ships
//!                                                       everything to the cloud ────┘        └─► bytes, waits, cost, shares
//! ```
//!
//! A day takes 72 minutes here: five minutes of the city are fifteen seconds.
//!
//! **Invariant:** the three runs of one seed have the same tasks at the same times; what crossed an uplink is counted by the
//! network, not by the peers.
//! **Not here:** deciding anything a peer decides.

mod city;
mod rules;
mod run;

use core::ops::Range;

use serde::Serialize;

pub use self::city::CityError;
pub use self::run::Outcome;

/// What holds for the tasks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The city's rules.
    On,
    /// None: the cost decides alone.
    Off,
    /// Everything is sent to the cloud.
    AllCloud,
}

/// The three of them, side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    pub seed: u64,
    /// Of the day, in hours.
    pub hours: [usize; 2],
    pub runs: Vec<Outcome>,
    /// WAN bytes with the rules, as a share of those with everything in the cloud.
    pub wan_bytes_of_all_cloud: Option<f64>,
    /// What is not as it has to be.
    pub broken: Vec<String>,
}

/// What of all-to-cloud's bytes may cross the WAN with the rules.
const WAN_SHARE_MAX: f64 = 0.5;

/// Runs the hours of a day in these modes.
pub fn compare(seed: u64, hours: Range<usize>, modes: &[Mode]) -> Result<Comparison, CityError> {
    let day = city::Day::read(seed, hours.clone())?;
    let runs: Vec<Outcome> = modes.iter().map(|mode| run::run(&day, *mode, seed)).collect::<Result<_, _>>()?;
    let of = |mode: Mode| runs.iter().find(|run| run.mode == mode);
    let mut broken = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    for run in &runs {
        must(run.unfinished == 0, format!("{:?}: {} tasks have no result", run.mode, run.unfinished));
    }
    let mut ratio = None;
    if let Some(on) = of(Mode::On) {
        for share in &on.shares {
            let (taken, allowed) = (share.taken, share.allowed);
            must(taken <= allowed, format!("{} took {taken:.3} of an uplink, and may take {allowed}", share.what));
        }
        for other in [of(Mode::Off), of(Mode::AllCloud)].into_iter().flatten() {
            let (on, other_ms) = (on.p99_ms, other.p99_ms);
            must(on <= other_ms, format!("p99 is {on:.0} ms with the rules, {other_ms:.0} ms with {:?}", other.mode));
        }
        if let Some(all) = of(Mode::AllCloud) {
            let share = on.wan_bytes as f64 / all.wan_bytes.max(1) as f64;
            must(share <= WAN_SHARE_MAX, format!("{share:.2} of the bytes of all-to-cloud cross the WAN"));
            ratio = Some(share);
        }
    }
    Ok(Comparison {
        schema: "shoal/v1",
        seed,
        hours: [hours.start, hours.end],
        runs,
        wan_bytes_of_all_cloud: ratio,
        broken,
    })
}
