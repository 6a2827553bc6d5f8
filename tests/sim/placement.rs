use shoal_protocol::placement::explain::{Method, Verdict};
use shoal_protocol::task::spec::CloudUse;

use super::{SEEDS, assert_done, millis, secs, three_clouds_two_edges};

/// While the edge has room, work stays there, even though the clouds are faster.
#[test]
fn work_stays_at_the_edge_while_it_has_room() {
    for seed in SEEDS {
        let (mut sim, _, edges) = three_clouds_two_edges(seed);
        for _ in 0..20 {
            let task = sim.submit(edges[0], millis(50), |_| ());
            sim.run_for(millis(400));
            assert_done(&sim, &[task]);
            assert!(sim.executor(task).is_some_and(|at| edges.contains(&at)), "seed {seed}");
        }
    }
}

/// More comes at once than both edges can start: the clouds take the rest, and everything is done far sooner than the
/// edge alone could.
#[test]
fn a_burst_overflows_into_the_cloud() {
    for seed in SEEDS {
        let (mut sim, clouds, edges) = three_clouds_two_edges(seed);
        let warm = sim.submit(edges[0], millis(400), |_| ());
        sim.run_for(secs(2));
        assert_done(&sim, &[warm]);

        let tasks: Vec<_> = (0..40).map(|_| sim.submit(edges[0], millis(400), |_| ())).collect();
        let done = sim.run_until_done(secs(3), |sim| tasks.iter().all(|task| sim.ended(*task).is_some()));

        assert!(done, "seed {seed}: the edge alone would need 4 s");
        let in_cloud = tasks.iter().filter(|task| sim.executor(**task).is_some_and(|at| clouds.contains(&at))).count();
        assert!(in_cloud > 10, "seed {seed}: only {in_cloud} in the cloud");
    }
}

/// `--no-cloud` and `--local-only` are never a matter of cost.
#[test]
fn constraints_hold_under_load() {
    for seed in SEEDS {
        let (mut sim, _, edges) = three_clouds_two_edges(seed);
        let no_cloud: Vec<_> =
            (0..20).map(|_| sim.submit(edges[0], millis(100), |spec| spec.policy.cloud = CloudUse::Never)).collect();
        let local: Vec<_> =
            (0..20).map(|_| sim.submit(edges[0], millis(100), |spec| spec.policy.local_only = true)).collect();
        sim.run_for(secs(30));

        assert_done(&sim, &no_cloud);
        assert_done(&sim, &local);
        assert!(no_cloud.iter().all(|task| sim.executor(*task).is_some_and(|at| edges.contains(&at))), "seed {seed}");
        assert!(local.iter().all(|task| sim.executor(*task) == Some(edges[0])), "seed {seed}");
    }
}

/// Each decision can be read afterwards: every peer with its cost or its exclusion, the winner first.
#[test]
fn a_decision_explains_itself() {
    let (mut sim, clouds, edges) = three_clouds_two_edges(5);
    let task = sim.submit(edges[0], millis(50), |_| ());
    sim.run_for(secs(2));

    let explained = sim.peer(edges[0]).expect("it is up").explain(task);

    let decision = explained.first().expect("one attempt, one decision");
    assert_eq!(decision.candidates.len(), 5);
    assert_eq!(decision.method, Method::Local);
    assert_eq!(decision.candidates[0].verdict, Verdict::Won);
    assert_eq!(decision.candidates[0].peer, sim.id(edges[0]));
    let cloud = decision.candidates.iter().find(|c| c.peer == sim.id(clouds[0])).expect("it was considered");
    assert_eq!((cloud.verdict, cloud.note.as_str()), (Verdict::Excluded, "cloud=fallback and the edge has room"));
    assert!(cloud.cost.is_some(), "held back, but reckoned");
    assert!(!decision.counterfactuals.is_empty());
}
