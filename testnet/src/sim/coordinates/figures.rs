//! How far what the peers expect is from the matrix, over all pairs.
//!
//! **Invariant:** a pair nobody measured is in no figure.

use serde::Serialize;
use shoal_protocol::latency::Coordinate;
use shoal_protocol::time::millis;

use super::Moment;
use super::mesh::Mesh;

/// Pairs nearer than this are looked at apart: an error among them sends a task to the wrong neighbour.
const NEAR_MS: f64 = 30.0;
/// Steps of the curve of errors.
const CURVE_POINTS: usize = 100;

/// Relative errors: median and 90th percentile, over all pairs and those under 30 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p90: f64,
    pub near_p50: f64,
    pub near_p90: f64,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// What a peer expects of the round trip to another: as measured, else as predicted. Median relative error over all
    /// ordered pairs.
    pub rel_err_p50: f64,
    pub rel_err_p90: f64,
    /// The same over pairs under 30 ms.
    pub near_rel_err_p50: f64,
    pub near_rel_err_p90: f64,
    /// The round trip to the peer that looks nearest, less that to the nearest.
    pub nearest_loss_ms_p50: f64,
    pub nearest_loss_ms_p90: f64,
    /// Share of the pairs whose round trip one measured itself.
    pub measured_share: f64,
    /// The errors over the other pairs.
    pub predicted: Spread,
    /// What the two coordinates alone say, over all pairs.
    pub coordinates_only: Spread,
    /// The loss when the nearest is chosen by the two coordinates alone.
    pub coordinates_only_nearest_loss_ms_p90: f64,
    /// Quantiles of the error, from 0 to 1 in hundredths: over all pairs, those not measured, and by coordinates alone.
    #[serde(skip)]
    pub curve: Vec<f64>,
    #[serde(skip)]
    pub predicted_curve: Vec<f64>,
    #[serde(skip)]
    pub coordinates_only_curve: Vec<f64>,
}

impl Figures {
    /// The errors of what a peer expects.
    pub fn expected(&self) -> Spread {
        Spread {
            p50: self.rel_err_p50,
            p90: self.rel_err_p90,
            near_p50: self.near_rel_err_p50,
            near_p90: self.near_rel_err_p90,
        }
    }

    pub(super) fn of(mesh: &Mesh<'_>) -> Self {
        let places = places(mesh);
        let mut all = Errors::default();
        let mut predicted = Errors::default();
        let mut plain = Errors::default();
        let (mut losses_ms, mut plain_losses_ms) = (Vec::new(), Vec::new());
        let (mut pairs, mut measured_pairs) = (0_usize, 0_usize);
        for a in 0..places.len() {
            let latency = mesh.latency(a);
            let predictor = latency.predictor();
            let mut nearest = Nearest::default();
            let mut plainly_nearest = Nearest::default();
            for (b, place) in places.iter().enumerate() {
                let Some(real_ms) = mesh.matrix().rtt_ms(a, b).filter(|_| a != b) else { continue };
                let peer = mesh.id(b);
                let measured = latency.rtt(peer);
                let expected_ms = millis(measured.unwrap_or_else(|| predictor.rtt_to(peer, place)));
                let plain_ms = millis(places[a].rtt_to(place));
                pairs += 1;
                measured_pairs += usize::from(measured.is_some());
                all.add(expected_ms, real_ms);
                plain.add(plain_ms, real_ms);
                if measured.is_none() {
                    predicted.add(expected_ms, real_ms);
                }
                nearest.look(expected_ms, real_ms);
                plainly_nearest.look(plain_ms, real_ms);
            }
            losses_ms.extend(nearest.loss_ms());
            plain_losses_ms.extend(plainly_nearest.loss_ms());
        }
        losses_ms.sort_by(f64::total_cmp);
        plain_losses_ms.sort_by(f64::total_cmp);
        let (all_spread, curve) = all.spread();
        let (predicted, predicted_curve) = predicted.spread();
        let (coordinates_only, coordinates_only_curve) = plain.spread();
        Self {
            rel_err_p50: all_spread.p50,
            rel_err_p90: all_spread.p90,
            near_rel_err_p50: all_spread.near_p50,
            near_rel_err_p90: all_spread.near_p90,
            nearest_loss_ms_p50: quantile(&losses_ms, 0.5),
            nearest_loss_ms_p90: quantile(&losses_ms, 0.9),
            measured_share: measured_pairs as f64 / pairs.max(1) as f64,
            predicted,
            coordinates_only,
            coordinates_only_nearest_loss_ms_p90: quantile(&plain_losses_ms, 0.9),
            curve,
            predicted_curve,
            coordinates_only_curve,
        }
    }
}

/// A look at the pairs of some peers.
pub(super) fn moment(mesh: &Mesh<'_>, peers: usize) -> Moment {
    let places = places(mesh);
    let mut errors = Errors::default();
    let (mut near, mut found) = (0_usize, 0_usize);
    let step = places.len().div_ceil(peers).max(1);
    for a in (0..places.len()).step_by(step) {
        let latency = mesh.latency(a);
        let predictor = latency.predictor();
        let mut by_distance = Vec::new();
        for (b, place) in places.iter().enumerate() {
            let Some(real_ms) = mesh.matrix().rtt_ms(a, b).filter(|_| a != b) else { continue };
            let peer = mesh.id(b);
            errors.add(millis(latency.rtt(peer).unwrap_or_else(|| predictor.rtt_to(peer, place))), real_ms);
            by_distance.push((real_ms, b));
        }
        by_distance.sort_by(|x, y| x.0.total_cmp(&y.0));
        by_distance.truncate(TRULY_NEAREST);
        near += by_distance.len();
        found += by_distance.iter().filter(|(_, b)| mesh.are_connected(a, *b)).count();
    }
    let (spread, _) = errors.spread();
    Moment {
        at_s: mesh.now().as_micros() / 1_000_000,
        rel_err_p50: spread.p50,
        rel_err_p90: spread.p90,
        nearest_found_share: found as f64 / near.max(1) as f64,
    }
}

/// The nearest that a peer should find.
const TRULY_NEAREST: usize = 8;

fn places(mesh: &Mesh<'_>) -> Vec<Coordinate> {
    (0..mesh.matrix().len()).map(|peer| mesh.latency(peer).coordinate().as_sent()).collect()
}

/// Relative errors.
#[derive(Debug, Default)]
struct Errors {
    all: Vec<f64>,
    near: Vec<f64>,
}

impl Errors {
    fn add(&mut self, said_ms: f64, real_ms: f64) {
        if real_ms <= 0.0 {
            return; // no error is relative to nothing
        }
        let error = (said_ms - real_ms).abs() / real_ms;
        self.all.push(error);
        if real_ms < NEAR_MS {
            self.near.push(error);
        }
    }

    /// The spread, and the quantiles as a curve.
    fn spread(mut self) -> (Spread, Vec<f64>) {
        self.all.sort_by(f64::total_cmp);
        self.near.sort_by(f64::total_cmp);
        let spread = Spread {
            p50: quantile(&self.all, 0.5),
            p90: quantile(&self.all, 0.9),
            near_p50: quantile(&self.near, 0.5),
            near_p90: quantile(&self.near, 0.9),
        };
        let curve = (0..=CURVE_POINTS).map(|i| quantile(&self.all, i as f64 / CURVE_POINTS as f64)).collect();
        (spread, curve)
    }
}

/// Who looks nearest, and who is.
#[derive(Debug, Default)]
struct Nearest {
    looks: Option<(f64, f64)>,
    is_ms: Option<f64>,
}

impl Nearest {
    fn look(&mut self, said_ms: f64, real_ms: f64) {
        if self.looks.is_none_or(|(least_ms, _)| said_ms < least_ms) {
            self.looks = Some((said_ms, real_ms));
        }
        self.is_ms = Some(self.is_ms.map_or(real_ms, |least_ms| least_ms.min(real_ms)));
    }

    fn loss_ms(&self) -> Option<f64> {
        Some(self.looks?.1 - self.is_ms?)
    }
}

/// The nearest-rank quantile of sorted numbers, from below; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * share) as usize).copied().unwrap_or(0.0)
}
