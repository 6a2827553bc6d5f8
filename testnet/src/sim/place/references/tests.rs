//! The references on cases small enough to reckon by hand, and on one large enough to differ.

use super::super::fixtures::{case_of, task};
use super::super::generate::{self, Arrivals, Plan};
use super::super::{Case, Faults, Policy, Run, Summary, bounds, place};
use crate::sim::matrix::Matrix;

/// Where the tasks ran and when they completed, in order of arrival and to a nanosecond.
fn outcome(run: &Run) -> Vec<(usize, f64)> {
    let mut completions = run.completions.clone();
    completions.sort_by_key(|completion| completion.task);
    let rounded = |ms: f64| (ms * 1e6).round() / 1e6;
    completions.iter().map(|completion| (completion.executor, rounded(completion.completed_ms))).collect()
}

/// A slow edge node, a fast one 20 ms away, a cloud 20 ms from both.
///
/// An input takes 20 ms over an uplink of 8 Mbit/s, an output 2 ms over one of 8 and 0.02 over the cloud's.
fn three_nodes(tasks: Vec<super::super::TaskLine>) -> Case {
    case_of(&[(1, 0.5, 8.0), (1, 1.0, 8.0), (1, 2.0, 800.0)], 20.0, tasks)
}

#[test]
fn the_clairvoyant_takes_the_earliest_completion_and_reserves_it() {
    // 40 ms of work: here 80; at the edge node 20 + 10 + 40 + 2 + 10 = 82; in the cloud 20 + 10 + 20 + 0.02 + 10 = 60.02.
    // The second waits 20 ms for the uplink. In the cloud it starts when it is there, at 50: done at 80.02. Here: at 80.
    // The third waits 20 ms for the uplink: 50 + 40 + 12 = 102 at the edge node, 50 + 20 + 10.02 = 80.02 in the cloud.
    let case = three_nodes(vec![task(0.0, 0, 40.0), task(0.0, 0, 40.0), task(0.0, 0, 40.0)]);

    let run = place(&case, Policy::Clairvoyant, &Faults::none(), 1).unwrap();

    assert_eq!(outcome(&run), [(2, 60.02), (0, 80.0), (2, 80.02)]);
    assert_eq!(run.control.messages, 0);
}

#[test]
fn the_clairvoyant_waits_for_a_core_where_that_is_faster() {
    // The cloud's core is busy until 30 + 1,000 / 2 = 530 with the first. The second would take 2,000 here and 42 + 1,000 at
    // the edge node; in the cloud it starts at 530.
    let case = three_nodes(vec![task(0.0, 0, 1_000.0), task(1.0, 0, 1_000.0)]);

    let run = place(&case, Policy::Clairvoyant, &Faults::none(), 1).unwrap();

    assert_eq!(outcome(&run), [(2, 540.02), (2, 1_040.02)]);
}

#[test]
fn what_a_crash_undid_is_placed_again() {
    let case = three_nodes(vec![task(0.0, 0, 1_000.0), task(1.0, 1, 1_000.0), task(200.0, 2, 10.0)]);
    let faults = Faults::down_for_good(2, 100.0);

    let run = place(&case, Policy::Clairvoyant, &faults, 1).unwrap();

    // The first was in the cloud: again at 100, over the uplink to the edge node whose core is free. The second ran there
    // from the start. So the first ends at 2,100 here, or after the second at 1,001 + 1,000 + 12 there. The third is not offered.
    assert_eq!(outcome(&run), [(1, 2_013.0), (1, 1_001.0)]);
    let lost: Vec<_> = run.other_runs.iter().map(|run| (run.task, run.start_ms, run.end_ms)).collect();
    assert_eq!(lost, [(0, 30.0, 100.0)]);
    let summary = Summary::of(&case, &faults, &run, Policy::Clairvoyant, 1);
    assert_eq!((summary.tasks, summary.not_offered, summary.all_completed()), (2, 1, true));
}

#[test]
fn tasks_of_a_home_that_crashes_are_lost_with_it() {
    let case = three_nodes(vec![task(0.0, 0, 1_000.0), task(1.0, 1, 1_000.0)]);
    let faults = Faults::down_for_good(0, 100.0);

    let run = place(&case, Policy::Clairvoyant, &faults, 1).unwrap();

    assert_eq!(run.lost_with_home, [0]);
    let summary = Summary::of(&case, &faults, &run, Policy::Clairvoyant, 1);
    assert_eq!((summary.tasks, summary.lost_with_home, summary.all_completed()), (1, 1, true));
}

#[test]
fn local_queues_and_cloud_ignores_the_queue() {
    let case = three_nodes(vec![task(0.0, 0, 100.0), task(0.0, 0, 100.0)]);

    let local = place(&case, Policy::Local, &Faults::none(), 1).unwrap();
    let cloud = place(&case, Policy::Cloud, &Faults::none(), 1).unwrap();

    assert_eq!(outcome(&local), [(0, 200.0), (0, 400.0)]);
    // Inputs there at 30 and 50; the core is busy until 80.
    assert_eq!(outcome(&cloud), [(2, 90.02), (2, 140.02)]);
    assert_eq!((local.control.messages, cloud.control.messages), (0, 2));
}

#[test]
fn an_auction_waits_for_the_farthest_bidder() {
    let case = three_nodes(vec![task(0.0, 0, 400.0)]);

    let run = place(&case, Policy::BroadcastAuction, &Faults::none(), 1).unwrap();

    // All bids are there at 20; input there at 50, run 200, back 10.02.
    assert_eq!(outcome(&run), [(2, 260.02)]);
    assert_eq!(run.control.messages, 5);
}

#[test]
fn a_sparrow_lands_where_a_core_is_free_first() {
    let mut case = three_nodes(vec![task(0.0, 0, 400.0)]);
    case.rtt = Matrix::from_fn(3, |a, b| Some(if a + b == 1 { 10.0 } else { 20.0 }));

    let run = place(&case, Policy::Sparrow, &Faults::none(), 1).unwrap();

    // The neighbour answers at 10 and is sent the input: there at 35, run 400, 2 over its uplink, back 5. The cloud asks at 20,
    // in vain.
    assert_eq!(outcome(&run), [(1, 442.0)]);
    // Two reservations, two that are ready, one award, one cancelled, one told that it is gone.
    assert_eq!(run.control.messages, 7);
}

#[test]
fn stale_views_send_everything_to_one_place() {
    // All arise before anybody could say again how full it is; the cloud seems idle to all.
    let tasks = (0..20).map(|number| task(1_000.0 + f64::from(number), usize::from(number % 2 == 0), 400.0)).collect();
    let mut case = three_nodes(tasks);
    case.nodes[0].uplink_mbps = 8_000.0;
    case.nodes[1].uplink_mbps = 8_000.0;

    let run = place(&case, Policy::StaleArgmin, &Faults::none(), 1).unwrap();

    assert!(run.completions.iter().all(|completion| completion.executor == 2));
}

fn made(load: f64) -> Case {
    let matrix = Matrix::from_fn(60, |a, b| Some(5.0 + ((a * 7 + b * 7) % 100) as f64));
    generate::case(&matrix, &Plan { load, count: 4_000, clouds: 2, ..Plan::default() }, Arrivals::Poisson).unwrap()
}

#[test]
fn every_reference_keeps_the_model_and_repeats_itself() {
    let case = made(0.7);
    for policy in Policy::ALL.into_iter().filter(|policy| *policy != Policy::Shoal) {
        let run = place(&case, policy, &Faults::none(), 3).unwrap();
        let again = place(&case, policy, &Faults::none(), 3).unwrap();

        assert_eq!(run.completions, again.completions, "{policy:?}");
        let summary = Summary::of(&case, &Faults::none(), &run, policy, 3);
        assert!(summary.all_completed(), "{policy:?}");
        assert!(summary.mean_ms > Some(bounds::mean_ms_min(&case)), "{policy:?}");
    }
}

#[test]
fn the_clairvoyants_are_ahead_of_every_reference_and_the_bound_ahead_of_them() {
    let case = made(0.8);
    let mean_ms = |policy| {
        let run = place(&case, policy, &Faults::none(), 3).unwrap();
        Summary::of(&case, &Faults::none(), &run, policy, 3).mean_ms.unwrap()
    };

    let (greedy_ms, priced_ms) = (mean_ms(Policy::Clairvoyant), mean_ms(Policy::PricedClairvoyant));

    assert!(priced_ms < greedy_ms, "{priced_ms} {greedy_ms}");
    assert!(bounds::mean_ms_min(&case) < priced_ms);
    for policy in Policy::ALL.into_iter().filter(|policy| *policy != Policy::Shoal && !policy.is_clairvoyant()) {
        assert!(mean_ms(policy) > greedy_ms, "{policy:?}");
    }
}

#[test]
fn the_clairvoyant_completes_everything_under_churn() {
    let case = made(0.8);
    let faults = Faults::none().churn(&case, 200.0, 5).kill_cloud(&case, case.last_arrival_ms() / 2.0, 5);

    let run = place(&case, Policy::Clairvoyant, &faults, 5).unwrap();

    let summary = Summary::of(&case, &faults, &run, Policy::Clairvoyant, 5);
    assert!(summary.crashes > 4 && summary.not_offered > 0, "{summary:?}");
    assert!(summary.all_completed(), "{summary:?}");
    assert!(place(&case, Policy::Local, &faults, 5).is_err());
}
