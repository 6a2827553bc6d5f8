//! Awards that would start later than their home believed.

use super::*;
use crate::task::spec::Variant;

const SMALL: BlobId = BlobId([8; 32]);

/// One that runs something of a second.
fn busy() -> Bench {
    let mut bench = Bench::new();
    bench.executing.prepared.insert(SMALL);
    bench.award(1, 1, |award| award.work = Duration::from_secs(1));
    bench
}

/// Of two builds: the full one takes 100 ms, the small one 10 ms and is worse by 1 %.
fn of_two_builds(award: &mut Award) {
    let variant = |module, loss| Variant { name: String::new(), module, module_bytes: 1_000, loss };
    award.spec.variants = vec![variant(MODULE, 0.0), variant(SMALL, 0.01)];
    award.works_us = vec![100_000, 10_000];
    award.spec.deadline = Some(Duration::from_millis(1_050));
}

fn awarded(outputs: &[Output]) -> Vec<(PeerId, u8, Duration)> {
    let of = |output: &Output| match output {
        Output::Send { to, message: Message::Award(award) } => Some((*to, award.variant, award.work)),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn it_goes_back_to_a_home_that_does_better_itself() {
    let mut bench = busy();
    bench.around = vec![(HOME, Duration::ZERO, Duration::from_millis(20))];

    assert_eq!(kinds(&bench.award(2, 1, |award| award.alternatives = vec![HOME])), ["counter 2"]);
    let outputs = bench.award(3, 1, |award| award.alternatives = vec![OTHER]);
    assert_eq!(
        kinds(&outputs),
        ["counter 3"],
        "for it would wait too long here, and not for a home that may not run it"
    );
}

#[test]
fn it_stays_where_home_would_be_later() {
    let mut bench = busy();
    bench.around = vec![(HOME, Duration::from_secs(2), Duration::from_millis(20))];

    let near =
        |award: &mut Award| (award.alternatives, award.expected_start) = (vec![HOME], Duration::from_millis(900));

    assert_eq!(kinds(&bench.award(2, 1, near)), ["accepted 2"]);
}

#[test]
fn whoever_is_nearer_to_it_than_home_gets_it() {
    let mut bench = busy();
    bench.around.push((HOME, Duration::from_millis(30), Duration::from_millis(20)));

    let outputs = bench.award(2, 1, |award| award.alternatives = vec![HOME, OTHER]);

    assert_eq!(awarded(&outputs), [(OTHER, 0, Duration::from_millis(100))]);
}

#[test]
fn another_build_is_run_when_the_one_that_was_awarded_would_be_late() {
    let mut bench = busy();

    bench.award(2, 1, |award| {
        of_two_builds(award);
        award.expected_start = Duration::from_millis(500);
    });
    bench.finish(1, 1);

    let outputs = bench.finish(2, 1);
    let variant = outputs.iter().find_map(|output| match output {
        Output::Send { message: Message::Outcome(outcome), .. } => Some(outcome.variant),
        _ => None,
    });
    assert_eq!(variant, Some(1), "{outputs:?}");
}

#[test]
fn a_build_that_is_worse_than_allowed_is_not_run() {
    let mut bench = busy();

    bench.award(2, 1, |award| {
        of_two_builds(award);
        award.spec.policy.loss_max = Some(0.005.into());
        award.expected_start = Duration::from_millis(500);
    });
    let outputs = bench.finish(1, 1);

    let modules: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Execute(execution) => Some(execution.module),
            _ => None,
        })
        .collect();
    assert_eq!(modules, [MODULE]);
}

#[test]
fn a_task_is_passed_on_as_the_build_that_is_best_there() {
    let mut bench = busy();
    bench.around = vec![(OTHER, Duration::from_millis(980), Duration::from_millis(4))];

    let outputs = bench.award(2, 1, |award| {
        of_two_builds(award);
        (award.alternatives, award.spec.deadline) = (vec![OTHER], Some(Duration::from_millis(1_005)));
    });

    assert_eq!(awarded(&outputs), [(OTHER, 1, Duration::from_millis(10))]);
}
