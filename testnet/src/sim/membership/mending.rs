//! How soon a mesh mends after many peers go, come, or cannot hear each other.
//!
//! Mended means: no peer that runs counts one that does not among its neighbours, every edge peer has the neighbours of the
//! edge it wants (three quarters of the near and random ones, or all there are), and a message could reach everybody.

use core::time::Duration;

use rand::RngExt;
use serde::Serialize;
use shoal_protocol::Time;
use shoal_protocol::config::{VIEW_NEAR_MAX, VIEW_RANDOM_MAX};

use super::{Mesh, Up};

/// Share of the peers that leave and come.
const MASS_PERCENT: usize = 10;
const PARTITION: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Times to mend, in seconds; nothing where it was not within two minutes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Mending {
    /// A tenth of the peers crash at once.
    pub mass_crash_s: Option<f64>,
    /// As many join at once, each knowing one address.
    pub mass_join_s: Option<f64>,
    /// East and west hear each other again after 20 seconds.
    pub partition_s: Option<f64>,
}

pub(super) fn measure(mesh: &mut Mesh) -> Mending {
    for n in 0..mesh.sim.len() {
        match mesh.state.get(n) {
            Some(Up::Stalled { .. }) => mesh.sim.thaw(n),
            Some(Up::Down { .. }) => {
                let remembered = mesh.remembered.get(n).cloned().unwrap_or_default();
                mesh.sim.start(n, &remembered);
            }
            // Revoking comes after mending.
            Some(Up::Running { .. } | Up::Revoked) | None => {}
        }
        mesh.set(n, Up::Running { woke: None });
    }
    mesh.sim.run_for(Duration::from_secs(20));

    let count = (mesh.sim.len() * MASS_PERCENT / 100).max(1);
    let gone: Vec<usize> = (0..count).filter_map(|_| take_one(mesh)).collect();
    for n in &gone {
        mesh.sim.crash(*n);
    }
    let mass_crash_s = time_to_mend(mesh);

    for n in gone {
        let known = mesh.one_running();
        mesh.sim.start(n, &[]);
        if let Some(known) = known {
            mesh.sim.introduce(n, known);
        }
        mesh.set(n, Up::Running { woke: None });
    }
    let mass_join_s = time_to_mend(mesh);

    let (west, east): (Vec<usize>, Vec<usize>) = (0..mesh.sim.len()).partition(|n| mesh.world.is_west(*n));
    mesh.sim.network().partition(&west, &east);
    mesh.sim.run_for(PARTITION);
    mesh.sim.network().heal();
    let partition_s = time_to_mend(mesh);
    Mending { mass_crash_s, mass_join_s, partition_s }
}

fn take_one(mesh: &mut Mesh) -> Option<usize> {
    let n = mesh.one_running().filter(|n| *n >= mesh.clouds || mesh.rng.random_bool(0.5))?;
    mesh.set(n, Up::Down { until: Time(u64::MAX) });
    Some(n)
}

fn time_to_mend(mesh: &mut Mesh) -> Option<f64> {
    let began = mesh.sim.now();
    while !is_mended(mesh) {
        if mesh.sim.now().since(began) >= PATIENCE {
            return None;
        }
        mesh.sim.run_for(LOOK_EVERY);
    }
    Some(mesh.sim.now().since(began).as_secs_f64())
}

fn is_mended(mesh: &Mesh) -> bool {
    let running: Vec<usize> = (0..mesh.sim.len()).filter(|n| mesh.is_running(*n)).collect();
    let edges = running.iter().filter(|n| **n >= mesh.clouds).count();
    let wanted = ((VIEW_NEAR_MAX + VIEW_RANDOM_MAX) * 3 / 4).min(edges.saturating_sub(1));
    let mut reached = vec![false; mesh.sim.len()];
    let has_its_view = |n: &usize| {
        let Some(peer) = mesh.sim.peer(*n) else { return false };
        let neighbours: Vec<usize> = peer.neighbours().filter_map(|other| mesh.sim.index(other)).collect();
        let of_edge = neighbours.iter().filter(|other| **other >= mesh.clouds).count();
        neighbours.iter().all(|other| mesh.is_running(*other)) && (*n < mesh.clouds || of_edge >= wanted)
    };
    if !running.iter().all(has_its_view) {
        return false;
    }
    let mut frontier: Vec<usize> = running.first().copied().into_iter().collect();
    frontier.iter().for_each(|n| reached.get_mut(*n).into_iter().for_each(|it| *it = true));
    while let Some(n) = frontier.pop() {
        let Some(peer) = mesh.sim.peer(n) else { continue };
        for other in peer.neighbours().filter_map(|other| mesh.sim.index(other)) {
            if let Some(it @ false) = reached.get_mut(other) {
                *it = true;
                frontier.push(other);
            }
        }
    }
    running.iter().all(|n| reached.get(*n) == Some(&true))
}
