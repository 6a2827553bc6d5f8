//! Results that their homes have not confirmed, within a bound on their number and on their bytes.
//!
//! **Invariant:** beyond the bound the oldest goes: its home asks after it, hears that it is not known, and has it run again.

use core::ops::RangeInclusive;
use std::collections::BTreeMap;

use crate::config::{UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_MAX};
use crate::id::PeerId;
use crate::message::{Outcome, TaskRef};
use crate::task::report::Ending;
use crate::task::spec::Payload;

/// What a result takes up beside what its module wrote.
const RESULT_BYTES: usize = 512;

/// A result that its home has not confirmed.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) home: PeerId,
    /// Its home itself gave it to this peer; otherwise somebody passed it on.
    pub(super) is_direct: bool,
    pub(super) outcome: Outcome,
    /// It is not sent before its receipt is signed.
    pub(super) is_unsigned: bool,
    /// The task is on disk at home.
    pub(super) kept: bool,
}

impl Unacknowledged {
    fn bytes(&self) -> usize {
        let output = match &self.outcome.report.output {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Blob(_) => 0,
        };
        let said = match &self.outcome.report.ending {
            Ending::Trapped(why) | Ending::Invalid(why) | Ending::HostFailed(why) => why.len(),
            Ending::Exited(_) | Ending::LimitHit(_) => 0,
        };
        RESULT_BYTES + output + said + self.outcome.report.log.len()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Results {
    held: BTreeMap<TaskRef, (u64, Unacknowledged)>,
    by_turn: BTreeMap<u64, TaskRef>,
    turns: u64,
    bytes: usize,
}

impl Results {
    pub(super) fn insert(&mut self, attempt: TaskRef, result: Unacknowledged) {
        self.remove(attempt);
        self.turns += 1;
        self.bytes += result.bytes();
        self.by_turn.insert(self.turns, attempt);
        self.held.insert(attempt, (self.turns, result));
        while self.held.len() > UNACKNOWLEDGED_MAX || self.bytes > UNACKNOWLEDGED_BYTES_MAX {
            let Some((_, oldest)) = self.by_turn.first_key_value() else { return };
            self.remove(*oldest);
        }
    }

    pub(super) fn remove(&mut self, attempt: TaskRef) {
        if let Some((turn, result)) = self.held.remove(&attempt) {
            self.by_turn.remove(&turn);
            self.bytes -= result.bytes();
        }
    }

    pub(super) fn remove_where(&mut self, is_meant: impl Fn(&Unacknowledged) -> bool) {
        let meant: Vec<_> =
            self.held.iter().filter(|(_, (_, result))| is_meant(result)).map(|(attempt, _)| *attempt).collect();
        meant.into_iter().for_each(|attempt| self.remove(attempt));
    }

    pub(super) fn get(&self, attempt: TaskRef) -> Option<&Unacknowledged> {
        self.held.get(&attempt).map(|(_, result)| result)
    }

    /// What is changed of it must not change its size.
    pub(super) fn get_mut(&mut self, attempt: TaskRef) -> Option<&mut Unacknowledged> {
        self.held.get_mut(&attempt).map(|(_, result)| result)
    }

    pub(super) fn range(&self, attempts: RangeInclusive<TaskRef>) -> impl Iterator<Item = (TaskRef, &Unacknowledged)> {
        self.held.range(attempts).map(|(attempt, (_, result))| (*attempt, result))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Unacknowledged> {
        self.held.values().map(|(_, result)| result)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::id::TaskId;
    use crate::task::report::RunReport;

    fn result(n: u64, bytes: usize) -> (TaskRef, Unacknowledged) {
        let attempt = TaskRef { task: TaskId((u128::from(u64::MAX - n)).to_be_bytes()), epoch: 1 };
        let report = RunReport { output: Payload::inline(vec![0; bytes]), ..RunReport::without_run(Ending::Exited(0)) };
        let (prepare, queued) = (Duration::ZERO, Duration::ZERO);
        let load = crate::placement::test_load();
        let outcome = Outcome { attempt, variant: 0, report, speed: 1.0, prepare, queued, load, receipt: None };
        let home = PeerId([1; 32]);
        (attempt, Unacknowledged { home, is_direct: true, outcome, is_unsigned: false, kept: false })
    }

    #[test]
    fn beyond_their_bounds_the_oldest_go() {
        for (count, bytes) in [(UNACKNOWLEDGED_MAX as u64 + 9, 0), (500, 192 * 1024)] {
            let mut results = Results::default();
            for n in 0..count {
                let (attempt, result) = result(n, bytes);
                results.insert(attempt, result);
            }

            assert!(results.len() <= UNACKNOWLEDGED_MAX && results.bytes() <= UNACKNOWLEDGED_BYTES_MAX);
            assert!(results.len() > 300, "no more go than must: {}", results.len());
            assert!(results.get(result(0, 0).0).is_none() && results.get(result(count - 1, 0).0).is_some());
            results.remove_where(|_| true);
            assert_eq!((results.len(), results.bytes()), (0, 0));
        }
    }
}
