//! How soon a mesh under load stops giving work to a peer that is revoked.
//!
//! One peer after the other is revoked at a random other one, while users everywhere submit tasks. The simulator stops the
//! run if a peer gives work to one that it knows to be revoked; what is measured is how long the others do not know.

use core::time::Duration;

use serde::Serialize;
use shoal_protocol::certificate::SignedRevocations;

use super::{Mesh, Up, loaded, percentile};

/// Between two revocations: the news of one has long arrived.
const EVERY: Duration = Duration::from_secs(10);
/// So busy that tasks are given to others, and not so much that all have work of their own.
const LOAD_PERCENT: f64 = 50.0;

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Revoking {
    /// Peers revoked.
    pub revoked: usize,
    /// Pairs of a revoked peer and one that was to know.
    pub pairs: usize,
    /// Half of the pairs knew by then.
    pub known_ms_p50: Option<f64>,
    /// 99 of a hundred.
    pub known_ms_p99: Option<f64>,
    /// All.
    pub known_ms_max: Option<f64>,
    /// Pairs that did not know when the next was revoked.
    pub unknown: usize,
    /// Awards to a peer in the second before it was revoked, in all.
    pub awards_before: usize,
    /// Awards to a peer that was revoked, by those who did not know yet.
    pub awards_after: usize,
    /// The last of them, over the revoked peers: 99 of a hundred sooner.
    pub last_award_ms_p99: Option<f64>,
    /// Bytes of revocation lists sent, for each revocation and peer.
    pub bytes_per_peer: f64,
}

pub(super) fn measure(mesh: &mut Mesh, count: usize) -> Revoking {
    let per_tick = loaded::prepare(mesh, LOAD_PERCENT);
    loaded::live(mesh, per_tick, EVERY);
    mesh.sim.take_kept_revocations();
    mesh.sim.watch_awards();
    let bytes_before = bytes(mesh);
    let mut said = Revoking::default();
    let (mut known, mut last_awards) = (Vec::new(), Vec::new());
    let mut list = mesh.sim.first_revocations();
    let mut previous: Option<SignedRevocations> = None;
    for _ in 0..count {
        let (Some(victim), Some(at)) = (mesh.one_running(), mesh.one_running()) else { break };
        if victim == at {
            continue;
        }
        mesh.sim.take_awards();
        loaded::live(mesh, per_tick, Duration::from_secs(1));
        said.awards_before += mesh.sim.take_awards().iter().filter(|award| award.to == victim).count();
        if let Some(previous) = &previous {
            list = list.next(previous.digest(), list.issued_unix_s);
        }
        list.peers.insert(mesh.sim.id(victim));
        let began = mesh.sim.now();
        previous = mesh.sim.revoke(at, &list);
        mesh.set(victim, Up::Revoked);
        loaded::live(mesh, per_tick, EVERY);

        let must_know = (0..mesh.sim.len()).filter(|n| mesh.is_running(*n)).count();
        let mut learnt = mesh.sim.take_kept_revocations();
        learnt.retain(|(_, n)| mesh.is_running(*n));
        learnt.sort_unstable_by_key(|(at, n)| (*n, *at));
        learnt.dedup_by_key(|(_, n)| *n);
        said.revoked += 1;
        said.pairs += must_know;
        said.unknown += must_know - learnt.len().min(must_know);
        known.extend(learnt.iter().map(|(at, _)| at.since(began).as_secs_f64() * 1e3));
        let awards = mesh.sim.take_awards();
        let to_it = awards.iter().filter(|award| award.to == victim);
        let after = to_it.map(|award| award.at.since(began).as_secs_f64() * 1e3);
        let after: Vec<f64> = after.collect();
        said.awards_after += after.len();
        last_awards.push(after.into_iter().fold(0.0, f64::max));
    }
    said.bytes_per_peer = (bytes(mesh) - bytes_before) as f64 / said.pairs.max(1) as f64;
    said.known_ms_p50 = percentile(&mut known, 50.0);
    said.known_ms_p99 = percentile(&mut known, 99.0);
    said.known_ms_max = percentile(&mut known, 100.0);
    said.last_award_ms_p99 = percentile(&mut last_awards, 99.0);
    said
}

fn bytes(mesh: &Mesh) -> u64 {
    mesh.sim.counts().by_kind().get("revocations").copied().unwrap_or_default().bytes
}
