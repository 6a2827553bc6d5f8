//! What is counted while a mesh lives.

use std::collections::BTreeMap;

use shoal_protocol::Time;
use shoal_protocol::output::PeerState;

use super::super::{Belief, Count};
use super::{Mesh, Report, Up, WAKING};

/// Who was stalled this short a time ago may wrongly believe something because of it.
const WOKEN_MAX_S: u64 = 60;

/// A crash and those who held the peer.
struct Crash {
    at: Time,
    /// When each came to know.
    holders: BTreeMap<usize, Option<Time>>,
}

/// The books of one experiment.
pub(super) struct Ledger {
    opened: Time,
    sent: Vec<Count>,
    by_kind: BTreeMap<&'static str, Count>,
    crashes: Vec<Crash>,
    /// The last crash of a peer.
    last: BTreeMap<usize, usize>,
    stalled: BTreeMap<usize, Time>,
    stalls: usize,
    false_deaths: usize,
    by_woken: usize,
    stalled_declared_dead: usize,
    heard_us: Vec<u64>,
    load_us: Vec<u64>,
    looks: usize,
    looks_at_down: usize,
}

impl Ledger {
    pub(super) fn open(mesh: &Mesh) -> Self {
        let counts = mesh.sim.counts();
        Self {
            opened: mesh.sim.now(),
            sent: (0..mesh.sim.len()).map(|n| counts.of_sender(n)).collect(),
            by_kind: counts.by_kind().clone(),
            crashes: Vec::new(),
            last: BTreeMap::new(),
            stalled: BTreeMap::new(),
            stalls: 0,
            false_deaths: 0,
            by_woken: 0,
            stalled_declared_dead: 0,
            heard_us: Vec::new(),
            load_us: Vec::new(),
            looks: 0,
            looks_at_down: 0,
        }
    }

    pub(super) fn crashed(&mut self, n: usize, at: Time, holders: Vec<usize>) {
        // A holder that goes itself will never know.
        self.unhold(n);
        self.last.insert(n, self.crashes.len());
        self.crashes.push(Crash { at, holders: holders.into_iter().map(|holder| (holder, None)).collect() });
    }

    /// A crashed peer starts again: who was not told by then and does not hold it any more has let it go itself.
    pub(super) fn restarts(&mut self, n: usize, mesh: &Mesh) {
        let Some(crash) = self.last.get(&n).and_then(|crash| self.crashes.get_mut(*crash)) else { return };
        let victim = mesh.sim.id(n);
        let holds = |holder: usize| mesh.sim.peer(holder).is_some_and(|peer| peer.is_neighbour(victim));
        crash.holders.retain(|holder, known| known.is_some() || holds(*holder));
    }

    pub(super) fn stalled(&mut self, n: usize, at: Time) {
        self.stalls += 1;
        self.stalled.insert(n, at);
        self.unhold(n);
    }

    fn unhold(&mut self, n: usize) {
        for crash in self.crashes.iter_mut().rev().take(1_000) {
            if crash.holders.get(&n).is_some_and(Option::is_none) {
                crash.holders.remove(&n);
            }
        }
    }

    pub(super) fn looked(&mut self, heard_us: Option<u64>, load_us: Option<u64>, is_up: bool) {
        self.heard_us.extend(heard_us);
        self.load_us.extend(load_us);
        self.looks += 1;
        self.looks_at_down += usize::from(!is_up);
    }

    /// Takes in what was believed since the last time; machines change between two of these calls only.
    pub(super) fn believe(&mut self, mesh: &mut Mesh) {
        for Belief { at, index: by, about, state } in mesh.sim.take_beliefs() {
            let Some(about) = mesh.sim.index(about) else { continue };
            if state != PeerState::Dead {
                continue;
            }
            match mesh.state.get(about) {
                Some(Up::Down { .. }) => self.known(about, by, at),
                Some(Up::Stalled { .. }) => self.stalled_declared_dead += 1,
                Some(Up::Running { woke: Some(woke) }) if at.since(*woke) < WAKING => self.stalled_declared_dead += 1,
                Some(Up::Running { .. }) => {
                    self.false_deaths += 1;
                    let woke_lately =
                        self.stalled.get(&by).is_some_and(|since| at.since(*since).as_secs() < WOKEN_MAX_S);
                    self.by_woken += usize::from(woke_lately);
                }
                Some(Up::Revoked) | None => {}
            }
        }
    }

    fn known(&mut self, about: usize, by: usize, at: Time) {
        let crash = self.last.get(&about).and_then(|index| self.crashes.get_mut(*index));
        if let Some(known @ None) = crash.and_then(|crash| crash.holders.get_mut(&by)) {
            *known = Some(at);
        }
    }

    pub(super) fn close(mut self, mesh: &Mesh, seconds: f64) -> Report {
        let now = mesh.sim.now();
        for victim in self.last.keys().copied().filter(|n| !mesh.is_running(*n)).collect::<Vec<_>>() {
            self.restarts(victim, mesh);
        }
        let (mut detect, mut first, mut spread, mut undetected) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for crash in &self.crashes {
            let earliest = crash.holders.values().flatten().min();
            first.extend(earliest.map(|at| ms(at.since(crash.at))));
            for known in crash.holders.values() {
                undetected += usize::from(known.is_none());
                detect.push(ms(known.unwrap_or(now).since(crash.at)));
                if let (Some(known), Some(earliest)) = (known, earliest) {
                    spread.push(ms(known.since(*earliest)));
                }
            }
        }
        let counts = mesh.sim.counts();
        let rate = |n: usize| {
            let before = self.sent.get(n).copied().unwrap_or_default();
            counts.of_sender(n).since(before).bytes as f64 / seconds
        };
        let mut rates: Vec<f64> = (0..mesh.sim.len()).map(rate).collect();
        let (cloud, edge) = rates.split_at(mesh.clouds.min(rates.len()));
        let (cloud_mean, edge_mean, all_mean) = (mean(cloud), mean(edge), mean(&rates));
        let by_kind = counts.by_kind().iter().map(|(kind, count)| {
            let before = self.by_kind.get(kind).copied().unwrap_or_default();
            (*kind, count.since(before).bytes as f64 / seconds / mesh.sim.len().max(1) as f64)
        });
        let views: Vec<f64> = (0..mesh.sim.len()).map(|n| mesh.sim.neighbours(n).len() as f64).collect();
        let (cloud_views, edge_views) = views.split_at(mesh.clouds.min(views.len()));
        let us = |times: &[u64]| -> Vec<f64> { times.iter().map(|us| *us as f64 / 1e6).collect() };
        let (mut heard, mut load) = (us(&self.heard_us), us(&self.load_us));
        Report {
            peers: mesh.sim.len(),
            minutes: now.since(self.opened).as_secs_f64() / 60.0,
            crashes: self.crashes.len(),
            detect_pairs: detect.len(),
            detect_ms_p50: percentile(&mut detect, 50.0),
            detect_ms_p99: percentile(&mut detect, 99.0),
            detect_ms_max: percentile(&mut detect, 100.0),
            first_ms_p50: percentile(&mut first, 50.0),
            spread_ms_p50: percentile(&mut spread, 50.0),
            spread_ms_p99: percentile(&mut spread, 99.0),
            undetected_pairs: undetected,
            false_deaths: self.false_deaths,
            false_deaths_by_woken: self.by_woken,
            stalled_declared_dead: self.stalled_declared_dead,
            stalls: self.stalls,
            peer_hours: mesh.sim.len() as f64 * seconds / 3600.0,
            bytes_per_peer_s_mean: all_mean,
            bytes_per_peer_s_by_kind: by_kind.collect(),
            bytes_per_edge_peer_s_mean: edge_mean,
            bytes_per_cloud_peer_s_mean: cloud_mean,
            view_mean: mean(edge_views),
            cloud_view_mean: mean(cloud_views),
            bytes_per_peer_s_p99: percentile(&mut rates, 99.0).unwrap_or_default(),
            staleness_s_p50: percentile(&mut heard, 50.0),
            staleness_s_p99: percentile(&mut heard, 99.0),
            load_age_s_p50: percentile(&mut load, 50.0),
            stale_percent: 100.0 * self.looks_at_down as f64 / self.looks.max(1) as f64,
            ..Report::default()
        }
    }
}

fn ms(span: core::time::Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The nearest-rank percentile.
pub(super) fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}
