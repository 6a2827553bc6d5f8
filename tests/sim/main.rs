//! Scenarios in the simulator: each is a story, told for many seeds.

mod brief;
mod chaos;
mod determinism;
mod faults;
mod flow;
mod kill_matrix;
mod liars;
mod membership;
mod overload;
mod pipelines;
mod placement;

use core::time::Duration;

use shoal_protocol::Role;
use shoal_protocol::config::PeerConfig;
use shoal_testnet::sim::{Link, Sim};

const SEEDS: core::ops::Range<u64> = 0..20;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn cores(cores: u16) -> PeerConfig {
    PeerConfig { cores, host_cores: f64::from(cores), ..PeerConfig::default() }
}

/// Three cloud peers 15 ms away from two edge peers that are 1 ms from each other; all have found each other.
fn three_clouds_two_edges(seed: u64) -> (Sim, [usize; 3], [usize; 2]) {
    let mut sim = Sim::new(seed, Link::ms(15));
    let fast = PeerConfig { speed: 4.0, ..cores(16) };
    let clouds = [(); 3].map(|()| sim.add(Role::Cloud, fast.clone()));
    let edges = [(); 2].map(|()| sim.add(Role::Edge, cores(2)));
    sim.network().set_link(edges[0], edges[1], Link::ms(1));
    assert!(sim.run_until_done(secs(20), Sim::converged), "seed {seed}: the mesh did not form");
    sim.run_for(secs(1));
    (sim, clouds, edges)
}

#[track_caller]
fn assert_done(sim: &Sim, tasks: &[shoal_protocol::TaskId]) {
    for task in tasks {
        let ended = sim.ended(*task).unwrap_or_else(|| panic!("{task} has not ended"));
        assert!(ended.result.is_ok(), "{task}: {ended:?}");
    }
}
