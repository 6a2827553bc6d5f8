//! Homes that come and go, and the end of this peer itself.

use super::*;

impl Executing {
    /// A peer died: what runs for it is kept for a while, in case it was only cut off.
    pub fn home_lost(&mut self, now: Time, home: PeerId) {
        let concerned = self.jobs.values().any(|job| job.award.home == home)
            || self.unacknowledged.values().any(|(owner, _)| *owner == home);
        if concerned {
            self.deadlines.set(Due::HomeOrphaned(home), now + ORPHAN_GRACE);
        }
    }

    /// A peer is back: it gets the results it may have missed.
    pub fn home_back(&mut self, home: PeerId, out: &mut Outbox) {
        self.deadlines.clear(&Due::HomeOrphaned(home));
        for (owner, outcome) in self.unacknowledged.values() {
            if *owner == home {
                out.send(home, Message::Outcome(Box::new(outcome.clone())));
            }
        }
    }

    /// Gives up reservations and orphans whose time is over.
    pub fn timer(&mut self, now: Time, out: &mut Outbox) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::ReservationExpires(task) => drop(self.reservations.remove(&task)),
                Due::HomeOrphaned(home) => {
                    self.unacknowledged.retain(|_, (owner, _)| *owner != home);
                    let orphans: Vec<_> = self
                        .jobs
                        .iter()
                        .filter(|(_, job)| job.award.home == home)
                        .map(|(attempt, _)| *attempt)
                        .collect();
                    orphans.into_iter().for_each(|attempt| self.drop_job(now, attempt, out));
                }
            }
        }
    }

    /// When [`Executing::timer`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Takes no more work and hands back what has not started; true when nothing runs for others.
    pub fn hand_back(&mut self, now: Time, running_too: bool, out: &mut Outbox) -> bool {
        self.leaving = true;
        let back: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| running_too || !job.is_running())
            .map(|(attempt, job)| (*attempt, job.award.home))
            .collect();
        for (attempt, home) in back {
            self.drop_job(now, attempt, out);
            self.decline(now, home, attempt, DeclineReason::Leaving, out);
        }
        self.jobs.is_empty()
    }
}
