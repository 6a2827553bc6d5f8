//! A few seeds of everything going wrong; `shoal-testnet sim chaos` runs as many as one has time for.

use shoal_testnet::sim::chaos::{Outcome, Promise, Size, run};

const SIZE: Size = Size { peers: 12, minutes: 3 };

fn assert_kept(seeds: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let outcomes: Vec<Outcome> = seeds.map(|seed| run(seed, SIZE, false, false)).collect();
    for outcome in &outcomes {
        assert_eq!(outcome.violations, [], "shoal-testnet sim chaos --peers 12 --minutes 3 shows how");
    }
    outcomes
}

#[test]
fn promises_hold_when_everything_goes_wrong() {
    let outcomes = assert_kept(1..25);

    let acknowledged: u64 = outcomes.iter().map(|outcome| outcome.acknowledged).sum();
    let faults: u64 = outcomes.iter().flat_map(|outcome| outcome.faults.values()).sum();
    assert!(acknowledged > 500 && faults > 150, "{acknowledged} tasks and {faults} faults show little");
}

#[test]
fn the_same_seed_does_the_same_to_the_last_byte() {
    let [one, again] = [(); 2].map(|()| run(7, SIZE, true, false));

    assert_eq!(one.trace, again.trace);
    assert_eq!((one.violations, one.acknowledged), (Vec::new(), again.acknowledged));
}

/// A checker that finds nothing would let everything pass.
#[test]
fn a_seed_tells_its_story() {
    let outcome = run(3, SIZE, false, true);

    assert!(outcome.story.iter().any(|line| line.contains("is handed in")), "{:?}", outcome.story.first());
    assert!(outcome.story.iter().any(|line| line.contains("the faults stop")));
    assert!(!outcome.violations.iter().any(|violation| violation.promise == Promise::NoPanic));
}
