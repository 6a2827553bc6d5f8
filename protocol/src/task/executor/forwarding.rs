//! Passing an award on to one of the candidates its home named, when that would end it clearly sooner.
//!
//! Whoever got the award knows its own neighbours far better than a home whose view of them is a round trip and more old.

use super::*;

/// It must be better by this share, and by this many milliseconds: what is believed of others is old. More would keep tasks
/// from a cloud around the corner.
const MARGIN_SHARE: f64 = 0.02;
const MARGIN_MS: f64 = 1.0;

impl Executing {
    /// Passes an award on to one of the candidates home named, if one would start it clearly sooner.
    pub(super) fn pass_on(
        &mut self,
        now: Time,
        from: PeerId,
        award: &Award,
        start_in: Duration,
        around: &Around<'_>,
        out: &mut Outbox,
    ) -> bool {
        if award.hops >= HOPS_MAX {
            return false;
        }
        // The deadline is for the answer to be home.
        let way_back = (around.elsewhere)(award.home).map_or(Duration::ZERO, |home| home.rtt / 2);
        let job = Job {
            output_bytes: 0,
            work: award.work,
            loss: 0.0,
            deadline_in: award.spec.deadline.map(|deadline| deadline.saturating_sub(way_back)),
            lambda: award.spec.lambda.unwrap_or(self.config.lambda),
        };
        let here = Terms {
            start_in,
            prepare: Duration::ZERO,
            rtt: Duration::ZERO,
            input_bytes: 0,
            elsewhere: Duration::ZERO,
            uplink_wait: Duration::ZERO,
            uplink_bits_per_s: None,
            downlink_bits_per_s: None,
            speed: self.speed(),
            quote_error: 1.0,
            weights: self.config.weights,
            price: self.config.price,
            ahead_ms: 0.0,
        };
        let there = |elsewhere: &Elsewhere<'_>| Terms {
            start_in: elsewhere.start_in,
            rtt: elsewhere.rtt,
            input_bytes: award.spec.input_bytes(),
            uplink_bits_per_s: Some(self.config.uplink_bits_per_s),
            speed: elsewhere.load.speed,
            weights: elsewhere.load.weights,
            price: elsewhere.load.price,
            ..here
        };
        let limit = cost::cost(&job, &here).total() * (1.0 - MARGIN_SHARE) - MARGIN_MS;
        let better = award
            .alternatives
            .iter()
            .filter(|peer| ![self.me, from, award.home].contains(peer) && (around.permits)(**peer, &award.spec.labels))
            .filter_map(|peer| {
                let elsewhere = (around.elsewhere)(*peer)?;
                Some((*peer, elsewhere, cost::cost(&job, &there(&elsewhere)).total()))
            })
            .filter(|(_, _, cost)| *cost < limit)
            .min_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
        let Some((to, elsewhere, _)) = better else { return false };
        let start = elsewhere.start_in;
        self.passed.push((to, award.attempt, run_time(award.work, elsewhere.load.speed), elsewhere.rtt));
        let alternatives = award.alternatives.iter().copied().filter(|peer| *peer != to).collect();
        let hops = award.hops + 1;
        let input_bytes = award.spec.input_bytes();
        let way = transmission(input_bytes, Some(self.config.uplink_bits_per_s)) + elsewhere.rtt / 2;
        let mut spec = award.spec.clone();
        spec.deadline = spec.deadline.map(|deadline| deadline.saturating_sub(way));
        let passed = Award {
            spec,
            hops,
            expected_start: start,
            alternatives,
            received: Vec::new(),
            safe: Marks::default(),
            ..award.clone()
        };
        out.send(to, Message::Award(Box::new(passed)));
        let load = self.digest(now);
        out.send(award.home, Message::Forwarded(Forwarded { attempt: award.attempt, to, load }));
        true
    }
}
