//! Giving a task that waits here to a neighbour that has a free core.

use super::*;
use crate::time::millis;

/// The task must end sooner there by this share of what is left of it here, and by this many milliseconds.
const MARGIN_SHARE: f64 = 0.1;
const MARGIN_MS: f64 = 5.0;

impl Executing {
    /// A neighbour is idle: it gets what gains most by it.
    pub fn handle_pull(&mut self, now: Time, from: PeerId, around: &Around<'_>, out: &mut Outbox) {
        if self.running == self.jobs.len() || from == self.me {
            return;
        }
        let Some(there) = (around.elsewhere)(from) else { return };
        let mut queue = self.lines.running(now, self.config.cores);
        let mut waiting: Vec<_> = self.jobs.iter().filter(|(_, job)| !job.is_running()).collect();
        waiting.sort_unstable_by_key(|(_, job)| job.order(now));
        let mut best: Option<(f64, TaskRef)> = None;
        for (attempt, job) in waiting {
            let start = queue.next_start();
            queue.wait(job.run);
            let award = &job.award;
            let allowed = award.alternatives.contains(&from) && award.home != from && award.hops < HOPS_MAX;
            let permitted = (around.permits)(from, &award.spec.labels);
            if !allowed || !permitted || !matches!(job.stage, Stage::Queued) {
                continue;
            }
            let way = there.rtt + transmission(award.spec.input_bytes(), Some(self.config.uplink_bits_per_s));
            let here = millis(start + job.run);
            let gain = here - millis(way + run_time(award.work, there.load.speed) + there.start_in);
            if gain > MARGIN_MS + here * MARGIN_SHARE && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, *attempt));
            }
        }
        let Some((_, attempt)) = best else { return };
        let Some(job) = self.remove(attempt) else { return };
        // What was fetched for it is not needed here.
        out.push(Output::Abort(attempt));
        self.changed = true;
        let award = job.award;
        self.passed.push((from, attempt, run_time(award.work, there.load.speed), there.rtt));
        let load = self.digest(now);
        out.send(award.home, Message::Forwarded(Forwarded { attempt, to: from, load }));
        let alternatives = award.alternatives.iter().copied().filter(|peer| *peer != from).collect();
        let hops = award.hops + 1;
        let passed = Award {
            hops,
            expected_start: there.start_in,
            alternatives,
            received: Vec::new(),
            safe: Marks::default(),
            firm: false,
            ..award
        };
        out.send(from, Message::Award(Box::new(passed)));
    }
}
