//! A synthetic world: sites on a plane, peers at the sites, and how far they are from each other.
//!
//! A round trip is the distance of the two sites and the access delay of both ends. Ten peers share a site; sites lie at
//! random on a plane of 120 by 80 ms; an edge peer's access takes 1 to 8 ms (a log-uniform draw), a cloud peer's 0.5 ms.

use core::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::super::matrix::Matrix;

const PEERS_PER_SITE: usize = 10;
const PLANE_MS: (f64, f64) = (120.0, 80.0);
const ACCESS_MS: (f64, f64) = (1.0, 8.0);
const CLOUD_ACCESS_MS: f64 = 0.5;
/// Between two peers of one row of a matrix.
const SAME_ROW_MS: f64 = 0.5;

/// Where every peer is.
#[derive(Debug, Clone)]
pub(super) enum World {
    Plane(Vec<Place>),
    /// Peer `n` is at row `n` modulo the size; two peers of one row are half a millisecond apart.
    Measured(Box<Matrix>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    x_ms: f32,
    y_ms: f32,
    access_ms: f32,
}

impl World {
    /// `clouds` peers first, then the edge.
    pub(super) fn plane(peers: usize, clouds: usize, seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x0057_6f72_6c64);
        let at_random =
            |rng: &mut Pcg64Mcg| (rng.random_range(0.0..PLANE_MS.0) as f32, rng.random_range(0.0..PLANE_MS.1) as f32);
        let sites: Vec<(f32, f32)> = (0..peers.div_ceil(PEERS_PER_SITE)).map(|_| at_random(&mut rng)).collect();
        let mut place = |n: usize| {
            let (x_ms, y_ms) = if n < clouds { at_random(&mut rng) } else { site(&sites, &mut rng) };
            let access_ms = if n < clouds { CLOUD_ACCESS_MS } else { access(&mut rng) };
            Place { x_ms, y_ms, access_ms: access_ms as f32 }
        };
        Self::Plane((0..peers).map(&mut place).collect())
    }

    pub(super) fn rtt_ms(&self, a: usize, b: usize) -> f64 {
        match self {
            Self::Plane(places) => {
                let (Some(a), Some(b)) = (places.get(a), places.get(b)) else { return 0.0 };
                f64::from((a.x_ms - b.x_ms).hypot(a.y_ms - b.y_ms) + a.access_ms + b.access_ms)
            }
            Self::Measured(matrix) => {
                let (row, column) = (a % matrix.len(), b % matrix.len());
                if row == column { SAME_ROW_MS } else { matrix.rtt_ms(row, column).unwrap_or(150.0) }
            }
        }
    }

    pub(super) fn one_way(&self, a: usize, b: usize) -> Duration {
        Duration::from_micros((self.rtt_ms(a, b) * 500.0) as u64)
    }

    /// No way takes less.
    pub(super) fn shortest_way(&self) -> Duration {
        let least_ms = match self {
            Self::Plane(_) => 2.0 * CLOUD_ACCESS_MS.min(ACCESS_MS.0),
            Self::Measured(matrix) => {
                let cells = (0..matrix.len()).flat_map(|a| (0..matrix.len()).map(move |b| (a, b)));
                let rtts = cells.filter(|(a, b)| a != b).filter_map(|(a, b)| matrix.rtt_ms(a, b));
                rtts.fold(SAME_ROW_MS, f64::min)
            }
        };
        // A microsecond less, for what rounding took.
        Duration::from_micros((least_ms * 500.0) as u64).saturating_sub(Duration::from_micros(1))
    }

    /// The `count` of `among` nearest to a peer.
    pub(super) fn nearest(&self, to: usize, among: core::ops::Range<usize>, count: usize) -> Vec<usize> {
        let mut others: Vec<(f64, usize)> =
            among.filter(|other| *other != to).map(|other| (self.rtt_ms(to, other), other)).collect();
        let count = count.min(others.len());
        if count > 0 && count < others.len() {
            others.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
        }
        others.truncate(count);
        others.into_iter().map(|(_, other)| other).collect()
    }

    /// Which half of the world it is in.
    pub(super) fn is_west(&self, peer: usize) -> bool {
        match self {
            Self::Plane(places) => places.get(peer).is_some_and(|place| f64::from(place.x_ms) < PLANE_MS.0 / 2.0),
            Self::Measured(matrix) => peer % matrix.len() < matrix.len() / 2,
        }
    }
}

fn site(sites: &[(f32, f32)], rng: &mut impl Rng) -> (f32, f32) {
    sites.get(rng.random_range(0..sites.len().max(1))).copied().unwrap_or_default()
}

fn access(rng: &mut impl Rng) -> f64 {
    let (least, most) = ACCESS_MS;
    least * (most / least).powf(rng.random::<f64>())
}
