//! Which of the best is taken: nobody's view is fresh, and everybody's view is much the same.

use core::time::Duration;

use rand::{Rng, RngExt};

use super::ranking::{Place, Ranking};
use super::{Assessment, Site};
use crate::time::millis;

/// Candidates that cost this much more than the best, in milliseconds, are as good, however short the task.
const TIE_MS: f64 = 0.5;
/// The same relatively, in a calm neighbourhood.
const TIE_SHARE: f64 = 0.005;
/// The same for each millisecond that a task usually waits in the neighbourhood…
const DOUBT: f64 = 1.0;
/// …up to this share of the best cost: what a wrong choice may lose must be in proportion to the task.
const DOUBT_SHARE_MAX: f64 = 0.15;
/// Nobody is chosen who costs more than the best by this many widths of the choice…
const WIDTHS_MAX: f64 = 3.0;
/// …and home, whose load is known, not by more than this.
const WIDTHS_MAX_AT_HOME: f64 = 0.1;
/// The best candidates whose usual wait says how busy the neighbourhood is.
const DOUBT_OF: usize = 8;
/// A digest older than this says little of a busy peer.
const SILENT: Duration = Duration::from_secs(5);
/// A peer that makes a new task wait longer than this counts as busy.
const BUSY_WAIT: Duration = Duration::from_millis(3);

impl<'a> Ranking<'a> {
    /// Whether to ask for offers instead of trusting digests: most may make the task wait, and the best has been silent.
    ///
    /// An offer costs a round trip, which is more than a fresh digest's error does (the ablation in
    /// `docs/benchmarks.md`): so only homes that seldom place a task, and therefore hear little, ask.
    pub fn needs_offers(&self) -> bool {
        if self.best().is_none_or(|best| best.is_home || best.heard_ago <= SILENT) || self.admissible_count() < 2 {
            return false;
        }
        let is_busy = |place: &&Place| {
            self.site(place).is_some_and(|site| site.start_in > BUSY_WAIT) && !self.must_prepare(place)
        };
        self.admissible().iter().filter(is_busy).count() * 2 > self.admissible_count() && !self.has_no_time_to_ask()
    }

    /// Picks among those nearly as good as the best at random, the better the likelier; home when it is the best.
    ///
    /// What is believed of others is old, and every home believes much the same: all of them taking the best would make it
    /// the worst. The busier the candidates usually are, the less is known of their queues now, and the wider the choice.
    pub fn choose(&self, rng: &mut impl Rng) -> Option<Assessment> {
        let admissible = self.admissible();
        let best = admissible.first()?;
        let is_home = |place: &Place| self.site(place).is_some_and(|site| site.is_home);
        if is_home(best) {
            return self.assessment(best);
        }
        let width = best.total * TIE_SHARE + (DOUBT * self.usual_wait_ms()).min(DOUBT_SHARE_MAX * best.total) + TIE_MS;
        let end = admissible.partition_point(|place| place.total - best.total <= WIDTHS_MAX * width);
        let near = admissible.get(..end).unwrap_or_default();
        let weight = |place: &Place| {
            let over = (place.total - best.total) / width;
            if over > WIDTHS_MAX_AT_HOME && is_home(place) { 0.0 } else { (-over).exp() }
        };
        let mut left = rng.random::<f64>() * near.iter().map(weight).sum::<f64>();
        let drawn = near.iter().find(|place| {
            left -= weight(place);
            left < 0.0
        });
        self.assessment(drawn.unwrap_or(best))
    }

    /// How long a task usually waits at the best candidates; home's wait is known, not usual.
    fn usual_wait_ms(&self) -> f64 {
        let usual =
            |site: &Site<'_>| site.load.filter(|_| !site.is_home).map_or(0.0, |load| millis(load.usual_start_in));
        let looked_at = self.admissible().get(..DOUBT_OF).unwrap_or_else(|| self.admissible());
        looked_at.iter().filter_map(|place| self.site(place)).map(usual).sum::<f64>() / looked_at.len().max(1) as f64
    }
}
