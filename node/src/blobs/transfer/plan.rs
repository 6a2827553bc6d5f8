//! Which groups of a blob are brought by whom: each source takes the next stretch when it is through with one, so the faster
//! take more; what a slower one is at when nothing is left is taken over from its end.
//!
//! **Invariant:** a group is asked for by at most two sources at a time, and by one while others are missing.
//! **Not here:** streams, and time.

use std::ops::Range;

use super::super::tree::SLICE_GROUPS;

/// The most that is asked for at once: 4 MiB. More would leave a slow source too much to do at the end.
const STRETCH_GROUPS: u64 = 16 * SLICE_GROUPS;

/// Somebody who brings groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Here, or not wanted.
    Done,
    Missing,
    Asked {
        of: Source,
        taken_over: bool,
    },
}

/// What is still to be brought.
#[derive(Debug)]
pub(super) struct Plan {
    groups: Vec<State>,
    left: u64,
    sources: u32,
    joined: u32,
}

impl Plan {
    /// Of a blob of so many groups, these are to be brought.
    pub(super) fn new(count: u64, wanted: impl IntoIterator<Item = u64>) -> Self {
        let mut plan = Self { groups: vec![State::Done; index(count)], left: 0, sources: 0, joined: 0 };
        for group in wanted {
            if let Some(state) = plan.groups.get_mut(index(group)) {
                plan.left += u64::from(*state == State::Done);
                *state = State::Missing;
            }
        }
        plan
    }

    pub(super) fn join(&mut self) -> Source {
        self.sources += 1;
        self.joined += 1;
        Source(self.joined)
    }

    /// What it was asked for is to be brought by others.
    pub(super) fn leave(&mut self, source: Source) {
        self.sources = self.sources.saturating_sub(1);
        for state in &mut self.groups {
            if matches!(state, State::Asked { of, .. } if *of == source) {
                *state = State::Missing;
            }
        }
    }

    /// Whether everything that is wanted is here.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// These are here.
    pub(super) fn arrived(&mut self, groups: Range<u64>) {
        for group in groups {
            if let Some(state) = self.groups.get_mut(index(group))
                && *state != State::Done
            {
                *state = State::Done;
                self.left -= 1;
            }
        }
    }

    /// The groups that a source asked for before anything was known of the blob.
    pub(super) fn asked(&mut self, source: Source, groups: Range<u64>) {
        self.mark(source, groups, false);
    }

    /// The next that a source is to ask for; nothing when there is no more to do.
    pub(super) fn next(&mut self, source: Source) -> Option<Range<u64>> {
        let missing = self.groups.iter().filter(|state| **state == State::Missing).count() as u64;
        // Smaller towards the end, so that all are through at about the same time (guided self-scheduling, Polychronopoulos
        // and Kuck 1987).
        let fair = missing / (2 * u64::from(self.sources.max(1)));
        let most = fair.clamp(SLICE_GROUPS, STRETCH_GROUPS);
        let stretch = match self.run(|state| state == State::Missing) {
            Some(run) => run.start..run.end.min((run.start + most).next_multiple_of(SLICE_GROUPS)),
            None => return self.take_over(source),
        };
        self.mark(source, stretch.clone(), false);
        Some(stretch)
    }

    /// The second half of the longest stretch that somebody else is still at.
    fn take_over(&mut self, source: Source) -> Option<Range<u64>> {
        let is_slow = |state| matches!(state, State::Asked { of, taken_over: false } if of != source);
        let mut longest: Option<Range<u64>> = None;
        let mut at = 0;
        while let Some(run) = self.run_from(at, is_slow) {
            at = run.end;
            if longest.as_ref().is_none_or(|longest| run.end - run.start > longest.end - longest.start) {
                longest = Some(run);
            }
        }
        let run = longest?;
        let half = (run.end - run.start) / 2;
        let stretch = if half < SLICE_GROUPS { run } else { run.start + half..run.end };
        self.mark(source, stretch.clone(), true);
        Some(stretch)
    }

    fn mark(&mut self, source: Source, groups: Range<u64>, taken_over: bool) {
        for group in groups {
            if let Some(state) = self.groups.get_mut(index(group))
                && *state != State::Done
            {
                *state = State::Asked { of: source, taken_over };
            }
        }
    }

    fn run(&self, is_meant: impl Fn(State) -> bool) -> Option<Range<u64>> {
        self.run_from(0, is_meant)
    }

    fn run_from(&self, at: u64, is_meant: impl Fn(State) -> bool) -> Option<Range<u64>> {
        let rest = self.groups.get(index(at)..)?;
        let begin = rest.iter().position(|state| is_meant(*state))?;
        let length = rest[begin..].iter().take_while(|state| is_meant(**state)).count();
        Some(at + begin as u64..at + (begin + length) as u64)
    }
}

fn index(group: u64) -> usize {
    usize::try_from(group).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_faster_take_more_and_the_slow_ones_end_is_taken_over() {
        let mut plan = Plan::new(128, 0..128);
        let (slow, fast) = (plan.join(), plan.join());
        let held = plan.next(slow).unwrap();

        let mut by_fast = Vec::new();
        while let Some(stretch) = plan.next(fast) {
            by_fast.push(stretch.clone());
            if plan.run(|state| state == State::Missing).is_some() {
                plan.arrived(stretch);
            }
        }

        assert_eq!(held, 0..32);
        let last: Vec<_> = by_fast.iter().rev().take(2).cloned().collect();
        assert_eq!(last, [0..16, 16..32], "the second half of what the slow one is at, and then the rest of it");
        by_fast.into_iter().for_each(|stretch| plan.arrived(stretch));
        assert!(plan.is_done());
    }

    #[test]
    fn what_a_source_was_at_when_it_left_is_missing_again() {
        let mut plan = Plan::new(4, 0..4);
        let gone = plan.join();
        assert_eq!(plan.next(gone), Some(0..4));
        plan.arrived(0..1);

        plan.leave(gone);

        let other = plan.join();
        assert_eq!(plan.next(other), Some(1..4));
        assert_eq!(plan.next(other), None);
    }

    proptest! {
        #[test]
        fn whoever_leaves_and_whatever_arrives_it_ends(
            count in 1u64..2_000,
            steps in prop::collection::vec((0usize..4, any::<bool>(), 0u64..40), 0..400),
        ) {
            let mut plan = Plan::new(count, 0..count);
            let mut sources: Vec<(Source, Vec<Range<u64>>)> = (0..4).map(|_| (plan.join(), Vec::new())).collect();
            for (who, leaves, some) in steps {
                let (source, asked) = &mut sources[who];
                if leaves && some == 0 {
                    plan.leave(*source);
                    (*source, *asked) = (plan.join(), Vec::new());
                } else if let Some(stretch) = plan.next(*source) {
                    prop_assert!(stretch.start < stretch.end && stretch.end <= count);
                    plan.arrived(stretch.start..(stretch.start + some).min(stretch.end));
                    asked.push(stretch);
                }
            }
            for (source, _) in &sources {
                plan.leave(*source);
            }
            let last = plan.join();
            while let Some(stretch) = plan.next(last) {
                plan.arrived(stretch);
            }
            prop_assert!(plan.is_done());
        }
    }
}
