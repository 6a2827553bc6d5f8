//! A few seeds of everything going wrong; `shoal-testnet sim chaos` runs as many as one has time for.

use shoal_testnet::sim::chaos::{Fault, Faults, Outcome, Promise, Size, run};

fn small(faults: Faults) -> Size {
    Size { peers: 12, minutes: 3, faults }
}

fn assert_kept(seeds: impl Iterator<Item = u64>, faults: Faults) -> Vec<Outcome> {
    let outcomes: Vec<Outcome> = seeds.map(|seed| run(seed, small(faults), false, false)).collect();
    for outcome in &outcomes {
        assert_eq!(outcome.violations, [], "shoal-testnet sim chaos --peers 12 --minutes 3 shows how");
    }
    outcomes
}

#[test]
fn promises_hold_when_everything_goes_wrong() {
    let outcomes = assert_kept(1..25, Faults::default());

    let acknowledged: u64 = outcomes.iter().map(|outcome| outcome.acknowledged).sum();
    let faults: u64 = outcomes.iter().flat_map(|outcome| outcome.faults.values()).sum();
    assert!(acknowledged > 500 && faults > 150, "{acknowledged} tasks and {faults} faults show little");
}

#[test]
fn promises_hold_when_processes_die_in_the_middle_of_writes() {
    let outcomes = assert_kept(1..13, [Fault::CrashAtWrite, Fault::OneWay, Fault::Partition].into_iter().collect());

    let deaths: u64 = outcomes.iter().filter_map(|outcome| outcome.faults.get(&Fault::CrashAtWrite)).sum();
    assert!(deaths > 100, "{deaths} deaths show little");
}

/// What each of them showed has a test of its own, beside the code that was wrong; a seed tells another story whenever a message
/// changes its length or its place.
#[test]
fn seeds_that_broke_a_promise_once_break_none() {
    let whole = Size { peers: 20, minutes: 10, faults: Faults::default() };
    let seeds = [
        26,    // a guarded task whose home could not read its record never ended
        32,    // a peer told to stop twice spun
        65,    // a home that had not written an end told that of a deadline when it forgot the task
        133,   // a home that gave up was not followed once its witness had been away
        249,   // a machine that had lied was taken for gone
        287,   // as 133
        819,   // as 249
        917,   // as 249
        977,   // a task whose home and witness had lost their disks was taken for one that had to end
        979,   // as 249
        1457,  // an address that nobody knew was called instead of the one that was known
        1612,  // a clock that was put back kept a task that had ended
        2073,  // a first ping was lost, and what it said was not said again: no labelled result was told
        2655,  // as 1612
        3081,  // a task was cancelled while it was passed on, and ran for nobody
        4032,  // as 3081
        4286,  // an offer was taken of a peer that had been revoked since
        6558,  // a home was lost and its guardian's date set ahead: to the witness the task seemed older than its store
        8779,  // a task that was over was run again by a guardian that had been away, and whose date was set back
        9186,  // a liar said again what it had said before, and was taken at its word
        10436, // as 9186
        13138, // after a night of bad links its home trusted nobody, and a task waited for nobody else
        16213, // as 6558, with the date of the witness
    ];

    for seed in seeds {
        assert_eq!(
            run(seed, whole, false, false).violations,
            [],
            "shoal-testnet sim chaos --seeds {seed}..{}",
            seed + 1
        );
    }
}

#[test]
fn the_same_seed_does_the_same_to_the_last_byte() {
    let [one, again] = [(); 2].map(|()| run(7, small(Faults::default()), true, false));

    assert_eq!(one.trace, again.trace);
    assert_eq!((one.violations, one.acknowledged), (Vec::new(), again.acknowledged));
}

/// A checker that finds nothing would let everything pass.
#[test]
fn a_seed_tells_its_story() {
    let outcome = run(3, small(Faults::default()), false, true);

    assert!(outcome.story.iter().any(|line| line.contains("is handed in")), "{:?}", outcome.story.first());
    assert!(outcome.story.iter().any(|line| line.contains("the faults stop")));
    assert!(!outcome.violations.iter().any(|violation| violation.promise == Promise::NoPanic));
}
