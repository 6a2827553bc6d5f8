//! How many instances of which modules a peer keeps ready, by the calls that are made and run here.
//!
//! ```text
//! first call ─► 1 ─► ⌈rate × run time × headroom⌉, at most the cores ─► 1 for a minute ─► … ─► idle time over ─► none
//! ```
//!
//! Little's law says how many are busy at a time. A module is wanted here for the calls of users here, which are then run
//! here, and for those of others that were placed here: whichever of both is more.
//!
//! **Invariant:** bounded by [`WARM_MAX`]; what was not called for longest goes first. Without calls nothing is kept.
//! **Not here:** fetching, compiling and giving back; the peer orders that.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::BlobId;
use crate::time::Time;

/// Modules that are kept ready at one peer.
pub const WARM_MAX: usize = 32;
/// Rates are those of about so long.
const RATE_MEMORY: Duration = Duration::from_secs(10);
/// Calls do not come evenly.
const HEADROOM: f64 = 1.5;
/// How much the latest run changes what is taken for usual.
const RUN_GAIN: f64 = 0.1;

/// A rate whose past fades.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    /// Events, each fading over [`RATE_MEMORY`].
    events: f64,
    at: Time,
}

impl Rate {
    fn events(&self, now: Time) -> f64 {
        self.events * (-now.since(self.at).as_secs_f64() / RATE_MEMORY.as_secs_f64()).exp()
    }

    fn add(&mut self, now: Time) {
        *self = Self { events: self.events(now) + 1.0, at: now };
    }

    fn per_s(&self, now: Time) -> f64 {
        self.events(now) / RATE_MEMORY.as_secs_f64()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Demand {
    /// Calls of users here.
    made: Rate,
    /// Runs here.
    ran: Rate,
    run_s: f64,
    last: Time,
}

/// The modules that are wanted here.
#[derive(Debug)]
pub struct Warmth {
    modules: BTreeMap<BlobId, Demand>,
    idle: Duration,
    cores: u16,
}

impl Warmth {
    /// Nothing is wanted yet; what is not called for `idle` is not wanted any more.
    pub fn new(cores: u16, idle: Duration) -> Self {
        Self { modules: BTreeMap::new(), idle, cores: cores.max(1) }
    }

    /// A user here calls it.
    pub fn called(&mut self, now: Time, module: BlobId) {
        let demand = self.wanted(now, module);
        demand.made.add(now);
    }

    /// It is run here, for whomever.
    pub fn ran(&mut self, now: Time, module: BlobId) {
        let demand = self.wanted(now, module);
        demand.ran.add(now);
    }

    /// How long a run took, here or elsewhere.
    pub fn took(&mut self, module: BlobId, run: Duration) {
        if let Some(demand) = self.modules.get_mut(&module) {
            let run_s = run.as_secs_f64();
            let gain = if demand.run_s == 0.0 { 1.0 } else { RUN_GAIN };
            demand.run_s += gain * (run_s - demand.run_s);
        }
    }

    fn wanted(&mut self, now: Time, module: BlobId) -> &mut Demand {
        if self.modules.len() >= WARM_MAX && !self.modules.contains_key(&module) {
            let longest = self.modules.iter().min_by_key(|(id, demand)| (demand.last, **id)).map(|(id, _)| *id);
            longest.map(|id| self.modules.remove(&id));
        }
        let none = Demand { made: Rate::default(), ran: Rate::default(), run_s: 0.0, last: now };
        let demand = self.modules.entry(module).or_insert(none);
        demand.last = now;
        demand
    }

    /// How many of each are wanted; what is not called any more is forgotten.
    pub fn instances(&mut self, now: Time) -> BTreeMap<BlobId, u16> {
        let idle = self.idle;
        self.modules.retain(|_, demand| now.since(demand.last) < idle);
        self.modules.iter().map(|(module, demand)| (*module, self.wanted_of(now, demand))).collect()
    }

    /// How many of one module are wanted.
    pub fn instances_of(&self, now: Time, module: BlobId) -> u16 {
        let demand = self.modules.get(&module).filter(|demand| now.since(demand.last) < self.idle);
        demand.map_or(0, |demand| self.wanted_of(now, demand))
    }

    fn wanted_of(&self, now: Time, demand: &Demand) -> u16 {
        let per_s = demand.made.per_s(now).max(demand.ran.per_s(now));
        let busy = (per_s * demand.run_s * HEADROOM).ceil();
        // The cast saturates; what is no number is none.
        (busy as u16).clamp(1, self.cores)
    }

    /// Whether anything is wanted.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULE: BlobId = BlobId([1; 32]);
    const IDLE: Duration = Duration::from_secs(300);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    /// After `rate` calls a second for a minute, each of which takes `run_ms`.
    fn after_a_minute(rate: u64, run_ms: u64) -> (Warmth, Time) {
        let mut warmth = Warmth::new(8, IDLE);
        for n in 0..60 * rate {
            warmth.called(at(n * 1_000 / rate), MODULE);
            warmth.took(MODULE, Duration::from_millis(run_ms));
        }
        (warmth, at(60_000))
    }

    #[test]
    fn as_many_are_wanted_as_are_busy_and_half_as_many_more() {
        for (rate, run_ms, wanted) in [(1, 1, 1), (10, 100, 2), (20, 100, 3), (100, 100, 8)] {
            let (warmth, now) = after_a_minute(rate, run_ms);
            assert_eq!(warmth.instances_of(now, MODULE), wanted, "{rate} a second of {run_ms} ms");
        }
    }

    #[test]
    fn one_is_wanted_with_the_first_call_and_none_when_nobody_calls_any_more() {
        let mut warmth = Warmth::new(8, IDLE);
        assert_eq!(warmth.instances_of(at(0), MODULE), 0);

        warmth.ran(at(0), MODULE);

        assert_eq!(warmth.instances(at(299_999)), BTreeMap::from([(MODULE, 1)]));
        assert_eq!(warmth.instances(at(300_000)), BTreeMap::new());
        assert!(warmth.is_empty());
    }

    #[test]
    fn load_that_is_over_leaves_one_until_the_idle_time_is_over() {
        let (mut warmth, now) = after_a_minute(100, 100);

        assert_eq!(warmth.instances_of(now + Duration::from_secs(60), MODULE), 1);
        assert!(warmth.instances(now + IDLE).is_empty());
    }

    #[test]
    fn the_module_that_was_not_called_for_longest_makes_room() {
        let mut warmth = Warmth::new(1, IDLE);
        let module = |n: usize| BlobId([n as u8; 32]);
        (0..=WARM_MAX).for_each(|n| warmth.called(at(n as u64), module(n)));

        assert_eq!(warmth.instances_of(at(100), module(0)), 0);
        assert_eq!(warmth.instances(at(100)).len(), WARM_MAX);
    }

    proptest! {
        #[test]
        fn never_more_than_the_cores_and_none_after_the_idle_time(calls in prop::collection::vec((0..100_000u64, 0..10_000u64), 1..200), cores in 1..64u16) {
            let mut warmth = Warmth::new(cores, IDLE);
            let mut sorted = calls;
            sorted.sort_unstable();
            for (ms, run_ms) in &sorted {
                warmth.called(at(*ms), MODULE);
                warmth.took(MODULE, Duration::from_millis(*run_ms));
                prop_assert!((1..=cores).contains(&warmth.instances_of(at(*ms), MODULE)));
            }
            prop_assert!(warmth.instances(at(100_000) + IDLE).is_empty());
        }
    }
}
