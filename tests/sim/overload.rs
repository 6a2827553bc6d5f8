//! More is offered than the mesh can do.

use shoal_protocol::Role;
use shoal_protocol::output::TaskError;
use shoal_protocol::task::spec::{Patience, TaskSpec};
use shoal_testnet::sim::{Link, Sim};

use super::{assert_done, cores, millis, secs};

const RUN_MS: u64 = 200;

fn three_edges(seed: u64) -> (Sim, [usize; 3]) {
    let mut sim = Sim::new(seed, Link::ms(1));
    let edges = [(); 3].map(|()| sim.add(Role::Edge, cores(2)));
    assert!(sim.run_until_done(secs(20), Sim::converged), "seed {seed}: the mesh did not form");
    let warm = edges.map(|edge| sim.submit(edge, millis(RUN_MS), |_| ()));
    sim.run_for(secs(2));
    assert_done(&sim, &warm);
    (sim, edges)
}

fn in_bursts(spec: &mut TaskSpec) {
    spec.patience = Patience::Bursts;
}

/// After the burst that an overload begins with, whoever is accepted waits for less than a run, and the cores are busy.
#[test]
fn accepted_work_keeps_its_time_while_five_times_too_much_is_offered() {
    for seed in 0..5 {
        let (mut sim, edges) = three_edges(seed);
        let mut tasks = Vec::new();
        for number in 0..4_500 {
            // Thirty a second is all that six cores can do.
            sim.run_for(millis(20) / 3);
            tasks.push((sim.now(), sim.submit(edges[number % 3], millis(RUN_MS), in_bursts)));
        }
        sim.run_for(secs(10));

        let (mut took_ms, mut refused) = (Vec::new(), 0);
        for (at, task) in &tasks[1_800..] {
            let ended = sim.ended(*task).unwrap_or_else(|| panic!("seed {seed}: {task} has not ended"));
            match &ended.result {
                Ok(_) => took_ms.push(ended.at.since(*at).as_millis() as u64),
                Err(TaskError::Overloaded { .. }) => refused += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        took_ms.sort_unstable();
        let p99 = took_ms[took_ms.len() * 99 / 100];
        assert!(p99 <= 2 * RUN_MS, "seed {seed}: p99 {p99} ms of {}", took_ms.len());
        assert!(took_ms.len() > 430, "seed {seed}: {} done in 18 s, {refused} refused", took_ms.len());
    }
}

/// What the mesh can work off is taken, however much comes at one moment.
#[test]
fn a_burst_is_not_refused() {
    for seed in 0..5 {
        let (mut sim, edges) = three_edges(seed);
        for _ in 0..3 {
            let tasks: Vec<_> = (0..120).map(|n| sim.submit(edges[n % 3], millis(RUN_MS), in_bursts)).collect();
            sim.run_for(secs(15));
            assert_done(&sim, &tasks);
        }
    }
}
