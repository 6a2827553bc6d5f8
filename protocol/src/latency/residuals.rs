//! What the own measurements say of a place nobody here measured: where a path to one peer takes a detour that no space
//! can hold, paths to the peers beside it mostly take it too.
//!
//! The coordinates' figure is corrected by the residuals (measured − said by the coordinates) of measured peers that are
//! near the place in question: the regression of Nadaraya and Watson (1964) with a biweight kernel, shrunk towards no
//! correction where little was measured.
//!
//! **Invariant:** a correction never more than halves or doubles what the coordinates say.

use core::time::Duration;

use super::coordinate::Coordinate;
use super::springs::Spring;
use crate::id::PeerId;
use crate::time::millis;

/// A measured peer says something of places no farther from it than this share of the distance in question.
const REACH_SHARE: f64 = 0.4;
/// … and of places in the same building in any case.
const REACH_MS_MIN: f64 = 2.0;
/// Evidence that nothing needs correction, in measured peers at the very place.
const PRIOR: f64 = 0.2;

/// Predicts round trips from one place.
#[derive(Debug)]
pub struct Predictor {
    here: Coordinate,
    residuals: Vec<Residual>,
}

#[derive(Debug)]
struct Residual {
    peer: PeerId,
    place: Coordinate,
    ms: f64,
}

impl Predictor {
    /// From `here`, whence some round trips were measured.
    pub(super) fn new<'a>(here: Coordinate, measured: impl Iterator<Item = &'a Spring>) -> Self {
        let residual = |spring: &Spring| {
            let ms = millis(spring.rtt) - millis(here.rtt_to(&spring.remote));
            Residual { peer: spring.peer, place: spring.remote, ms }
        };
        Self { here, residuals: measured.map(residual).collect() }
    }

    /// The round trip to a peer at `there`; what was measured to itself does not count.
    pub fn rtt_to(&self, peer: PeerId, there: &Coordinate) -> Duration {
        let said = self.here.rtt_to(there);
        let said_ms = millis(said);
        let reach_ms = (REACH_SHARE * said_ms).max(REACH_MS_MIN);
        let mut weights = PRIOR;
        let mut sum_ms = 0.0;
        for residual in self.residuals.iter().filter(|residual| residual.peer != peer) {
            let near = 1.0 - residual.place.flat_ms_squared(there) / (reach_ms * reach_ms);
            if near > 0.0 {
                weights += near * near;
                sum_ms += near * near * residual.ms;
            }
        }
        let ms = (said_ms + sum_ms / weights).clamp(said_ms / 2.0, said_ms * 2.0);
        Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(said)
    }
}
