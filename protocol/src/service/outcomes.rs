//! How the calls that were made here ended, by version; and when a version that comes in is not to be called any more.
//!
//! ```text
//! calls of the new version: ≥ 20, > 5 % of them fail, > 3 × the share of the old one ─► held back here
//!                                                     a new generation ─────────────────► counted anew
//! ```
//!
//! Each peer judges by the calls it has made itself: what fails with the data of one place may be right with that of another.
//!
//! **Invariant:** bounded by the services there are, and by [`VERSIONS_MAX`] versions and [`TIMES_MAX`] times of each; only
//! what the module did counts as its failure.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::name::ServiceName;
use super::record::{ServiceRecord, VERSIONS_MAX};
use crate::task::report::Ending;
use crate::time::micros;

/// Calls of the new version before it is judged.
const CALLS_MIN: u64 = 20;
/// A smaller share of failures is no reason.
const FAILING_SHARE: f64 = 0.05;
/// Nor is one that is not clearly above that of the version before.
const FAILING_TIMES: f64 = 3.0;
/// Times of calls that are remembered of each version.
const TIMES_MAX: usize = 256;

/// The calls of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Those that ended.
    pub calls: u64,
    /// Of those, which the module failed.
    pub failures: u64,
    /// The latest, from the request to the answer.
    times_us: VecDeque<u32>,
}

impl Tally {
    fn failing_share(&self) -> f64 {
        self.failures as f64 / self.calls.max(1) as f64
    }

    /// Of the latest calls, the time that this share of them took at most.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let mut sorted: Vec<u32> = self.times_us.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map(|us| Duration::from_micros(u64::from(*us)))
    }
}

/// The calls of one service.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counted {
    generation: u64,
    versions: BTreeMap<u32, Tally>,
    /// The version that is not called any more.
    held_back: Option<u32>,
}

/// The calls that were made here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    services: BTreeMap<ServiceName, Counted>,
}

impl Outcomes {
    /// The version that comes in and is held back here, if it is.
    pub fn held_back(&self, record: &ServiceRecord) -> Option<u32> {
        self.of(record)?.held_back
    }

    /// The calls of a version, since the record that is in force was.
    pub fn tally(&self, record: &ServiceRecord, version: u32) -> Option<&Tally> {
        self.of(record)?.versions.get(&version)
    }

    fn of(&self, record: &ServiceRecord) -> Option<&Counted> {
        self.services.get(&record.name).filter(|counted| counted.generation == record.generation)
    }

    /// A call ended; whether the version that comes in is held back from now on.
    pub fn ended(&mut self, record: &ServiceRecord, version: u32, ending: &Ending, took: Duration) -> bool {
        let failed = match ending {
            Ending::Exited(0) => false,
            Ending::Exited(_) | Ending::Trapped(_) | Ending::LimitHit(_) | Ending::Invalid(_) => true,
            // That machine failed, not the module.
            Ending::HostFailed(_) => return false,
        };
        let counted = self.services.entry(record.name.clone()).or_default();
        if counted.generation != record.generation {
            *counted = Counted { generation: record.generation, ..Counted::default() };
        }
        if counted.versions.len() >= VERSIONS_MAX && !counted.versions.contains_key(&version) {
            return false;
        }
        let tally = counted.versions.entry(version).or_default();
        tally.calls += 1;
        tally.failures += u64::from(failed);
        if tally.times_us.len() >= TIMES_MAX {
            tally.times_us.pop_front();
        }
        tally.times_us.push_back(u32::try_from(micros(took)).unwrap_or(u32::MAX));
        let coming = record.rollout.as_ref().map(|rollout| rollout.to);
        let holds =
            coming == Some(version) && counted.held_back.is_none() && counted.is_failing(version, record.current);
        if holds {
            counted.held_back = coming;
        }
        holds
    }

    /// Forgets what is there no more.
    pub fn keep_only(&mut self, is_there: impl Fn(&ServiceName) -> bool) {
        self.services.retain(|name, _| is_there(name));
    }
}

impl Counted {
    fn is_failing(&self, new: u32, old: u32) -> bool {
        let Some(of_new) = self.versions.get(&new) else { return false };
        let of_old = self.versions.get(&old).map_or(0.0, Tally::failing_share);
        let share = of_new.failing_share();
        of_new.calls >= CALLS_MIN && share > FAILING_SHARE && share > FAILING_TIMES * of_old
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::rolled_out;
    use super::*;

    const OK: Ending = Ending::Exited(0);
    const FAILED: Ending = Ending::Exited(1);
    const TOOK: Duration = Duration::from_micros(100);

    fn call(outcomes: &mut Outcomes, record: &ServiceRecord, version: u32, ending: &Ending) -> bool {
        outcomes.ended(record, version, ending, TOOK)
    }

    #[test]
    fn a_new_version_that_fails_is_held_back_after_twenty_calls_and_a_new_generation_is_counted_anew() {
        let (mut outcomes, record) = (Outcomes::default(), rolled_out("ocr", 2));
        (0..100).for_each(|_| assert!(!call(&mut outcomes, &record, 1, &OK)));

        let held: Vec<usize> = (1..=30).filter(|_| call(&mut outcomes, &record, 2, &FAILED)).collect();

        assert_eq!(held, [20], "once");
        assert_eq!(outcomes.held_back(&record), Some(2));
        let tally = outcomes.tally(&record, 2).unwrap();
        assert_eq!((tally.calls, tally.failures, tally.quantile(0.5)), (30, 30, Some(TOOK)));
        assert_eq!(outcomes.held_back(&rolled_out("ocr", 3)), None);
    }

    #[test]
    fn what_fails_as_the_old_one_does_is_not_the_new_ones_fault() {
        let (mut outcomes, record) = (Outcomes::default(), rolled_out("ocr", 2));
        for n in 0..100 {
            let ending = if n % 4 == 0 { &FAILED } else { &OK };
            call(&mut outcomes, &record, 1, ending);
            call(&mut outcomes, &record, 2, ending);
        }

        assert_eq!(outcomes.held_back(&record), None);
    }

    #[test]
    fn a_machine_that_failed_is_no_failure_of_the_module_and_the_old_version_is_never_held_back() {
        let (mut outcomes, record) = (Outcomes::default(), rolled_out("ocr", 2));
        for _ in 0..100 {
            call(&mut outcomes, &record, 2, &Ending::HostFailed("no memory".into()));
            call(&mut outcomes, &record, 1, &FAILED);
        }

        assert_eq!(outcomes.held_back(&record), None);
        assert_eq!(outcomes.tally(&record, 2), None);
    }

    proptest! {
        #[test]
        fn a_version_with_few_failures_is_never_held_back(endings in prop::collection::vec(0..100u8, 0..300)) {
            let (mut outcomes, record) = (Outcomes::default(), rolled_out("ocr", 2));
            let mut failures = 0;
            for (calls, roll) in (1u64..).zip(&endings) {
                // As many as may be and not one more.
                let fails = *roll < 50 && (failures + 1) as f64 <= FAILING_SHARE * calls as f64;
                failures += u64::from(fails);
                let holds = call(&mut outcomes, &record, 2, if fails { &FAILED } else { &OK });
                prop_assert!(!holds);
            }
        }
    }
}
