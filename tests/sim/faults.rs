use shoal_protocol::Role;
use shoal_protocol::task::spec::CloudUse;
use shoal_testnet::sim::{Link, Sim};

use super::{SEEDS, assert_done, cores, millis, secs, three_clouds_two_edges};

/// The peer that runs a task dies; another one runs it, and the user has the answer within three seconds of the crash
/// and the run.
#[test]
fn a_task_moves_when_its_executor_crashes() {
    for seed in SEEDS {
        let (mut sim, clouds, edges) = three_clouds_two_edges(seed);
        let task = sim.submit(edges[0], secs(4), |spec| spec.policy.role = Some(Role::Cloud));
        sim.run_for(millis(500));
        let executor = sim.running_at(task).expect("it runs");
        assert!(clouds.contains(&executor), "seed {seed}");

        sim.crash(executor);
        let crashed = sim.now();
        assert!(sim.run_until_done(secs(20), |sim| sim.ended(task).is_some()), "seed {seed}");

        assert_done(&sim, &[task]);
        assert_ne!(sim.executor(task), Some(executor), "seed {seed}");
        // The run takes a second on a cloud core.
        let recovery = sim.now().since(crashed).saturating_sub(secs(1));
        assert!(recovery < secs(2), "seed {seed}: {recovery:?}");
    }
}

/// The peer that runs a task is stopped; the task is run elsewhere; when the stopped peer wakes and finishes too, its
/// late outcome is dropped. (The simulator fails if a task ends twice.)
#[test]
fn a_frozen_executor_that_wakes_does_not_answer_twice() {
    for seed in SEEDS {
        let (mut sim, _, edges) = three_clouds_two_edges(seed);
        let task = sim.submit(edges[0], secs(4), |spec| spec.policy.role = Some(Role::Cloud));
        sim.run_for(millis(500));
        let executor = sim.running_at(task).expect("it runs");

        sim.freeze(executor);
        let done = sim.run_until_done(secs(5), |sim| sim.ended(task).is_some());
        assert!(done, "seed {seed}: no answer from another peer");
        sim.thaw(executor);
        sim.run_for(secs(10));

        assert_done(&sim, &[task]);
        assert_ne!(sim.executor(task), Some(executor), "seed {seed}");
        assert!(sim.converged(), "seed {seed}: the woken peer is not back");
    }
}

/// An executor restarts within the time in which nobody would miss it: it has forgotten the task, and says so.
#[test]
fn a_task_forgotten_by_a_quick_restart_is_run_again() {
    for seed in SEEDS {
        let (mut sim, _, edges) = three_clouds_two_edges(seed);
        let task = sim.submit(edges[0], secs(4), |spec| spec.policy.role = Some(Role::Cloud));
        sim.run_for(millis(500));
        let executor = sim.running_at(task).expect("it runs");

        sim.restart(executor);
        sim.run_for(secs(20));

        assert_done(&sim, &[task]);
    }
}

/// A group that is cut off goes on working among itself, and the halves find each other again when the cut heals.
#[test]
fn both_sides_of_a_partition_work_on_and_the_mesh_heals() {
    for seed in SEEDS {
        let (mut sim, clouds, edges) = three_clouds_two_edges(seed);
        sim.network().partition(&edges, &clouds);
        sim.run_for(secs(5));

        let tasks: Vec<_> = (0..8).map(|n| sim.submit(edges[n % 2], millis(200), |_| ())).collect();
        let in_cloud = sim.submit(clouds[0], millis(200), |_| ());
        sim.run_for(secs(5));
        assert_done(&sim, &tasks);
        assert_done(&sim, &[in_cloud]);
        assert!(tasks.iter().all(|task| sim.executor(*task).is_some_and(|at| edges.contains(&at))), "seed {seed}");

        sim.network().heal();
        assert!(sim.run_until_done(secs(10), Sim::converged), "seed {seed}: not healed in 10 s");
    }
}

/// Only one direction of one link is cut: helpers vouch for both ends, and nobody is declared dead for long.
#[test]
fn work_survives_a_one_way_cut() {
    for seed in SEEDS {
        let (mut sim, clouds, edges) = three_clouds_two_edges(seed);
        sim.network().cut(clouds[0], edges[0]);
        let tasks: Vec<_> =
            (0..6).map(|_| sim.submit(edges[0], millis(300), |spec| spec.policy.role = Some(Role::Cloud))).collect();

        sim.run_for(secs(30));

        assert_done(&sim, &tasks);
    }
}

/// Messages are lost, late and out of step, and peers come and go; every task of a living home ends, once.
#[test]
fn every_task_ends_once_under_churn_on_a_bad_network() {
    for seed in SEEDS {
        let bad = Link { delay: millis(10), jitter: millis(20), loss: 0.05 };
        let mut sim = Sim::new(seed, bad);
        let peers = sim.add_many(12, Role::Edge, &cores(2));
        assert!(sim.run_until_done(secs(30), Sim::converged), "seed {seed}");
        let homes = &peers[..4];
        let mut tasks = Vec::new();
        for round in 0..60 {
            let home = homes[round % homes.len()];
            tasks.push(sim.submit(home, millis(150 + 40 * (round as u64 % 9)), |spec| {
                spec.policy.cloud = CloudUse::Allow;
            }));
            match round % 6 {
                1 => sim.crash(peers[4 + (round + seed as usize) % 8]),
                4 => sim.restart(peers[4 + (round * 3 + seed as usize) % 8]),
                _ => {}
            }
            sim.run_for(millis(200));
        }
        let done = sim.run_until_done(secs(60), |sim| tasks.iter().all(|task| sim.ended(*task).is_some()));

        assert!(done, "seed {seed}: some task never ended");
        assert_done(&sim, &tasks);
    }
}

/// A home asks for a label that nobody has: the user hears so at once, and nothing hangs.
#[test]
fn a_task_that_nobody_may_run_fails_at_once_with_the_reasons() {
    let (mut sim, _, edges) = three_clouds_two_edges(1);

    let task = sim.submit(edges[0], millis(10), |spec| {
        spec.policy.labels.insert("site".into(), "moon".into());
    });

    let error = sim.ended(task).expect("at once").result.clone().unwrap_err().to_string();
    assert!(error.contains("5 × missing label"), "{error}");
}
