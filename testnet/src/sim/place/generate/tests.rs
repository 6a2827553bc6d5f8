//! What a made case is like.

use super::arrivals::variation;
use super::*;

/// Nodes on a line, 3 ms from one to the next.
fn line(count: usize) -> Matrix {
    Matrix::from_fn(count, |a, b| Some(3.0 * a.abs_diff(b) as f64))
}

fn plan() -> Plan {
    Plan { count: 20_000, clouds: 3, ..Plan::default() }
}

fn times_ms(case: &Case) -> Vec<f64> {
    case.tasks.iter().map(|task| task.arrival_ms).collect()
}

#[test]
fn a_case_is_what_the_plan_says() {
    let case = case(&line(100), &plan(), Arrivals::Poisson).unwrap();

    assert!((case.offered_load() - 0.8).abs() < 1e-3, "{}", case.offered_load());
    let mean = |of: fn(&TaskLine) -> f64| case.tasks.iter().map(of).sum::<f64>() / 20_000.0;
    assert!((190.0..210.0).contains(&mean(|task| task.work_ms)));
    assert!((19_000.0..21_000.0).contains(&mean(|task| task.input_bytes)));
    let error = mean(|task| (task.estimate_ms / task.work_ms).ln().powi(2)).sqrt();
    assert!((0.29..0.31).contains(&error), "{error}");
    assert!((0.97..1.03).contains(&variation(&times_ms(&case))));
    assert_eq!(case.clouds().count(), 3);
    assert!(case.tasks.iter().all(|task| case.nodes[task.origin].tier == Tier::Edge));
    let edges: Vec<_> = case.nodes.iter().filter(|node| node.tier == Tier::Edge).collect();
    assert!(edges.iter().all(|node| (1..=4).contains(&node.cores) && (0.25..=1.0).contains(&node.speed)));
    assert!(edges.iter().all(|node| (20.0..=200.0).contains(&node.uplink_mbps)));
    assert_eq!(case.rtt.rtt_ms(0, 10), Some(9.0));
}

#[test]
fn clouds_stand_in_the_middle_but_not_in_one_place() {
    // Everybody talks through node 50; its neighbours are nearest to it, and to each other.
    let star = Matrix::from_fn(100, |a, b| Some((a.abs_diff(50) + b.abs_diff(50) + a.abs_diff(b)) as f64));

    let clouds = clouds(&star, 3);

    assert_eq!(clouds[0], 50);
    let away: Vec<usize> = clouds.iter().map(|node| node.abs_diff(50)).collect();
    assert!(away.iter().all(|away| *away <= 5), "the best few: {clouds:?}");
    assert!(away[1..].iter().all(|away| *away >= 2), "not beside each other: {clouds:?}");
}

#[test]
fn another_load_has_the_same_machines_and_works() {
    let at = |load, seed| case(&line(50), &Plan { load, seed, ..plan() }, Arrivals::Poisson).unwrap();

    let (half, full, other) = (at(0.5, 1), at(1.0, 1), at(0.5, 2));

    assert_eq!(half.nodes, full.nodes);
    assert!(half.tasks.iter().zip(&full.tasks).all(|(a, b)| a.work_ms == b.work_ms && a.origin == b.origin));
    assert!((half.last_arrival_ms() / full.last_arrival_ms() - 2.0).abs() < 1e-3);
    assert_eq!(half.tasks, at(0.5, 1).tasks);
    assert_ne!(half.nodes, other.nodes);
}

#[test]
fn a_trace_gives_the_arrivals_and_is_repeated() {
    let gaps = [1.0, 0.0, 0.0, 97.0];

    let case = case(&line(50), &plan(), Arrivals::Recorded(&gaps)).unwrap();

    assert!((case.offered_load() - 0.8).abs() < 1e-3, "{}", case.offered_load());
    let times_ms = times_ms(&case);
    assert_eq!(times_ms[0], times_ms[2]);
    assert!((times_ms[7] - times_ms[3] - (times_ms[11] - times_ms[7])).abs() < 0.01);
    assert!(variation(&times_ms) > 1.7);
}

#[test]
fn arrivals_can_come_in_bursts() {
    let bursty = case(&line(50), &plan(), Arrivals::Varying(10.0)).unwrap();

    assert!((bursty.offered_load() - 0.8).abs() < 1e-3, "{}", bursty.offered_load());
    let variation = variation(&times_ms(&bursty));
    assert!((8.0..12.0).contains(&variation), "{variation}");
}

#[test]
fn a_case_of_clouds_only_is_refused() {
    let refused = case(&line(3), &plan(), Arrivals::Poisson).unwrap_err();

    assert_eq!(refused.to_string(), "3 of 3 nodes cannot be clouds: tasks arise at edge nodes");
}
