//! Bugs planted on purpose: the checks of this world find them, or they would find nothing else either.
//!
//! **Not here:** all bugs, and the checkers of whole meshes. `shoal-testnet sim chaos --sabotage all` tries those.

use std::panic::catch_unwind;

use super::chaos;
use crate::sabotage::{Bug, with};

/// Seeds within which each must show; most show in the first.
const SEEDS: u64 = 60;

#[track_caller]
fn assert_found(bug: Bug) {
    let shows = |seed: u64| catch_unwind(|| with(Some(bug), || chaos::run(seed))).is_err();
    assert!((0..SEEDS).any(shows), "{}: {} and no seed shows it", bug.name(), bug.breaks());
}

#[test]
fn planted_bugs_are_found() {
    for bug in [
        Bug::AckBeforeDisk,
        Bug::GuardBeforeDisk,
        Bug::GuardianOptional,
        Bug::ProposeBeforeOwnVote,
        Bug::SameEpochs,
        Bug::ToldTooEarly,
        Bug::MajorityOfOne,
    ] {
        assert_found(bug);
    }
}

#[test]
fn every_bug_has_a_name_of_its_own() {
    let mut names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    names.sort_unstable();
    names.dedup();

    assert_eq!(names.len(), Bug::ALL.len());
}
