use shoal_protocol::Role;
use shoal_protocol::output::PeerState;
use shoal_testnet::sim::{Link, Sim};

use super::{SEEDS, cores, millis, secs, three_clouds_two_edges};

/// Peers that know one bootstrap address find everyone, by exchanging records.
#[test]
fn a_mesh_forms_from_one_bootstrap_address() {
    for seed in SEEDS {
        let mut sim = Sim::new(seed, Link::ms(5));
        sim.add_many(12, Role::Edge, &cores(1));
        assert!(sim.run_until_done(secs(10), Sim::converged), "seed {seed}");
    }
}

/// A crashed peer is dead to all its neighbours in at most two seconds, and nobody else is.
#[test]
fn a_crash_is_known_to_all_within_two_seconds() {
    for seed in SEEDS {
        let (mut sim, clouds, _) = three_clouds_two_edges(seed);
        sim.crash(clouds[1]);
        assert!(sim.run_until_done(secs(2), Sim::converged), "seed {seed}");
    }
}

/// Five percent of the messages come late by a retransmission: that kills nobody in ten minutes.
#[test]
fn loss_alone_kills_nobody() {
    let lossy = Link { delay: millis(20), jitter: millis(10), loss: 0.05 };
    for seed in SEEDS.take(5) {
        let mut sim = Sim::new(seed, lossy);
        let peers = sim.add_many(8, Role::Edge, &cores(1));
        assert!(sim.run_until_done(secs(20), Sim::converged), "seed {seed}");
        for _ in 0..600 {
            sim.run_for(secs(1));
            let dead = peers.iter().filter_map(|at| sim.peer(*at)).flat_map(|peer| peer.peers(sim.now()));
            assert_eq!(dead.filter(|view| view.state == PeerState::Dead).count(), 0, "seed {seed} at {:?}", sim.now());
        }
    }
}

/// Idle peers say little: far less than a kilobyte a second each, as encoded.
#[test]
fn an_idle_mesh_is_quiet() {
    let (mut sim, ..) = three_clouds_two_edges(3);
    let before = sim.network().bytes;
    sim.run_for(secs(60));
    let per_peer_s = (sim.network().bytes - before) as f64 / 5.0 / 60.0;
    assert!(per_peer_s < 1_024.0, "{per_peer_s:.0} bytes a second and peer");
}
