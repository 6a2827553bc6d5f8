use shoal_protocol::Role;
use shoal_protocol::output::PeerState;
use shoal_testnet::sim::membership::{Experiment, Report, run};
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

/// A mesh larger than any view: a crash is known to everyone who holds the peer, nobody else is taken for dead, and a peer
/// sends less than a kilobyte a second, headers included.
#[test]
fn in_a_large_mesh_a_crash_is_known_to_all_who_hold_the_peer() {
    let report = run(&Experiment { crash_percent: 8.0, loss_percent: 1.0, ..large() });

    assert!(report.crashes >= 8, "{report:?}");
    assert!(report.detect_ms_p50.is_some_and(|ms| ms <= 1_000.0), "{report:?}");
    assert!(report.detect_ms_p99.is_some_and(|ms| ms <= 2_000.0), "{report:?}");
    assert_eq!((report.undetected_pairs, report.false_deaths), (0, 0), "{report:?}");
}

/// One peer in twenty is stopped at any time, for ten seconds: it is taken for dead, and nobody else, by itself neither.
#[test]
fn the_stalled_are_taken_for_dead_and_nobody_else() {
    let report = run(&Experiment { stall_percent: 5.0, loss_percent: 1.0, ..large() });

    assert!(report.stalls >= 50 && report.stalled_declared_dead > 1_000, "{report:?}");
    assert_eq!(report.false_deaths, 0, "{report:?}");
}

#[test]
fn an_idle_large_mesh_stays_below_a_kilobyte_a_second() {
    let report = run(&large());

    assert!((500.0..1_024.0).contains(&report.bytes_per_peer_s_mean), "{report:?}");
}

/// What is simulated does not depend on the number of threads it is simulated with.
#[test]
fn any_number_of_threads_gives_the_same_mesh() {
    let eventful = Experiment { peers: 60, crash_percent: 20.0, stall_percent: 3.0, loss_percent: 3.0, ..large() };
    let with = |threads| {
        let report = run(&Experiment { threads: Some(threads), ..eventful.clone() });
        assert!(report.crashes > 5 && report.stalls > 5 && report.detect_pairs > 100, "{report:?}");
        format!("{:?}", Report { wall_s: 0.0, rss_mb: 0.0, ..report })
    };

    assert_eq!(with(1), with(2));
    assert_eq!(with(1), with(5));
}

fn large() -> Experiment {
    Experiment {
        peers: 200,
        cloud_percent: 1.0,
        loss_percent: 0.0,
        stall_percent: 0.0,
        crash_percent: 0.0,
        minutes: 1.0,
        seed: 5,
        rtt: None,
        load_percent: None,
        mend: false,
        revoke: 0,
        threads: None,
    }
}

/// Idle peers say little: far less than a kilobyte a second each, as encoded.
#[test]
fn an_idle_mesh_is_quiet() {
    let (mut sim, ..) = three_clouds_two_edges(3);
    let before = sim.counts().total().bytes;
    sim.run_for(secs(60));
    let per_peer_s = (sim.counts().total().bytes - before) as f64 / 5.0 / 60.0;
    assert!(per_peer_s < 1_024.0, "{per_peer_s:.0} bytes a second and peer");
}
