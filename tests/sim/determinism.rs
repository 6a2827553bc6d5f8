use shoal_protocol::{Role, TaskSpec};
use shoal_testnet::sim::{Link, Sim};

use super::{assert_done, cores, millis, secs};

/// Sixty peers on a bad network form a mesh, work, lose a member and are cut in two; and all of it is decided by the seed.
fn eventful_hour(seed: u64) -> Sim {
    let lossy = Link { delay: millis(10), jitter: millis(5), loss: 0.02 };
    let mut sim = Sim::new(seed, lossy);
    sim.add_many(6, Role::Cloud, &cores(8));
    sim.add_many(54, Role::Edge, &cores(2));
    sim.run_for(secs(5));

    let mut tasks = Vec::new();
    for round in 0..100 {
        tasks.push(sim.submit(6 + round % 50, millis(20 + 7 * (round as u64 % 40)), |_: &mut TaskSpec| ()));
        sim.run_for(millis(20));
    }
    sim.crash(59);
    let (left, right): (Vec<_>, Vec<_>) = (0..60).partition(|index| index % 2 == 0);
    sim.network().partition(&left, &right);
    sim.run_for(secs(5));
    sim.network().heal();
    sim.run_for(secs(10));
    assert_done(&sim, &tasks);
    sim
}

#[test]
fn the_same_seed_gives_the_same_trace_with_sixty_peers_and_another_seed_another() {
    let first = eventful_hour(1);
    let second = eventful_hour(1);

    assert!(first.handled() > 10_000, "only {} events", first.handled());
    assert_eq!(first.trace_hash(), second.trace_hash());
    assert_ne!(first.trace_hash(), eventful_hour(2).trace_hash());
}
