//! What is best done with an award that would start later here than its home believed.
//!
//! Whoever got the award knows its own queue, and its own neighbours far better than a home whose view of them is a round
//! trip and more old. Each way out is weighed by the one cost function, with each build that the task allows.

use super::*;
use crate::placement::explain::Cost;

/// It must be better by this share, and by this many milliseconds: what is believed of others is old. More would keep tasks
/// from a cloud around the corner.
const MARGIN_SHARE: f64 = 0.02;
const MARGIN_MS: f64 = 1.0;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Run it nevertheless, as this build.
    Stay { variant: u8 },
    /// Pass it on to one of the candidates its home named, to be run as this build.
    PassOn { to: PeerId, variant: u8 },
    /// Tell its home, which would do better to run it itself.
    GiveBack,
}

/// One build of the task.
#[derive(Debug, Clone, Copy)]
struct Build {
    variant: u8,
    work: Duration,
    loss: f64,
    prepare: Duration,
}

impl Executing {
    /// Weighs the ways out for an award that would wait here for so long.
    pub(super) fn best_way(&self, from: PeerId, award: &Award, wait: Duration, around: &Around<'_>) -> Way {
        let builds = self.builds(award);
        let cheapest = |job_of: &dyn Fn(&Build) -> Cost| {
            let costs = builds.iter().map(|build| (job_of(build).total(), build.variant));
            costs.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        };
        // The deadline is for the answer to be home.
        let home = (around.elsewhere)(award.home);
        let way_back = home.map_or(Duration::ZERO, |home| home.rtt / 2);
        let deadline_here = award.spec.deadline.map(|deadline| deadline.saturating_sub(way_back));
        let here = |build: &Build| {
            let start_in = wait.max(build.prepare);
            cost::cost(&self.job(award, build, deadline_here), &Terms { start_in, ..self.terms() })
        };
        let Some((cost_here, variant)) = cheapest(&here) else { return Way::Stay { variant: award.variant } };
        let limit = cost_here * (1.0 - MARGIN_SHARE) - MARGIN_MS;
        let mut best = (limit, Way::Stay { variant });
        let mut offer = |cost: f64, way: Way| {
            if cost < best.0 {
                best = (cost, way);
            }
        };
        let may_pass = |peer: &&PeerId| {
            let is_another = ![self.me, from, award.home].contains(*peer);
            is_another && award.hops < HOPS_MAX && (around.permits)(**peer, &award.spec.labels)
        };
        for peer in award.alternatives.iter().filter(may_pass) {
            let Some(elsewhere) = (around.elsewhere)(*peer) else { continue };
            let terms = Terms {
                rtt: elsewhere.rtt,
                input_bytes: award.spec.input_bytes(),
                uplink_bits_per_s: Some(self.config.uplink_bits_per_s),
                ..there(&elsewhere)
            };
            let there = |build: &Build| cost::cost(&self.job(award, build, deadline_here), &terms);
            if let Some((cost, variant)) = cheapest(&there) {
                offer(cost, Way::PassOn { to: *peer, variant });
            }
        }
        // Home has the input, and needs no answer from itself: what it costs is that it hears of it.
        if let Some(home) = home.filter(|_| award.alternatives.contains(&award.home)) {
            let terms = Terms { rtt: home.rtt / 2, ..there(&home) };
            let at_home = |build: &Build| cost::cost(&self.job(award, build, award.spec.deadline), &terms);
            if let Some((cost, _)) = cheapest(&at_home) {
                offer(cost, Way::GiveBack);
            }
        }
        best.1
    }

    /// The builds that may be run: those of which home has said what they take.
    fn builds(&self, award: &Award) -> Vec<Build> {
        let variants = &award.spec.variants;
        let allowed = award.spec.policy.loss_max.map_or(1.0, f64::from);
        let all = (0u8..).zip(variants).filter_map(|(index, variant)| {
            let work = award.work_of(index)?;
            let prepare = self.prepare(variant.module, variant.module_bytes, award.home);
            let build = Build { variant: index, work, loss: variant.loss, prepare };
            (index == award.variant || variant.loss <= allowed).then_some(build)
        });
        all.collect()
    }

    fn job(&self, award: &Award, build: &Build, deadline_in: Option<Duration>) -> Job {
        let lambda = award.spec.lambda.unwrap_or(self.config.lambda);
        Job { output_bytes: 0, work: build.work, loss: build.loss, deadline_in, lambda }
    }

    /// A place with nothing on the way to it: here.
    fn terms(&self) -> Terms {
        Terms { speed: self.speed(), weights: self.config.weights, price: self.config.price, ..Terms::AT_HAND }
    }

    /// Passes an award on.
    pub(super) fn pass_on(
        &mut self,
        now: Time,
        (to, variant): (PeerId, u8),
        award: &Award,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(elsewhere) = (around.elsewhere)(to) else { return };
        let award = award.clone().into_build(variant);
        self.passed.push((to, award.attempt, run_time(award.work, elsewhere.load.speed), elsewhere.rtt));
        let way = transmission(award.spec.input_bytes(), Some(self.config.uplink_bits_per_s)) + elsewhere.rtt / 2;
        let (attempt, home) = (award.attempt, award.home);
        let mut passed = Award {
            hops: award.hops + 1,
            expected_start: elsewhere.start_in,
            received: Vec::new(),
            safe: Marks::default(),
            ..award
        };
        passed.spec.deadline = passed.spec.deadline.map(|deadline| deadline.saturating_sub(way));
        passed.alternatives.retain(|peer| *peer != to);
        out.send(to, Message::Award(Box::new(passed)));
        let load = self.digest(now);
        out.send(home, Message::Forwarded(Forwarded { attempt, to, load }));
    }
}

/// A neighbour as a place, with nothing on the way to it.
fn there(elsewhere: &Elsewhere<'_>) -> Terms {
    let load = elsewhere.load;
    Terms {
        start_in: elsewhere.start_in,
        speed: load.speed,
        weights: load.weights,
        price: load.price,
        ..Terms::AT_HAND
    }
}
