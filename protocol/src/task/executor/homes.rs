//! Homes that come and go, and the end of this peer itself.

use super::*;

impl Executing {
    /// Whether there is a task or a result of this home here.
    pub fn serves(&self, home: PeerId) -> bool {
        self.jobs.values().any(|job| job.award.home == home)
            || self.unacknowledged.values().any(|held| held.home == home)
    }

    /// A peer died: what runs for it is kept for a while, in case it was only cut off.
    pub fn home_lost(&mut self, now: Time, home: PeerId) {
        if self.serves(home) {
            self.deadlines.set(Due::HomeOrphaned(home), now + ORPHAN_GRACE);
            self.deadlines.set(Due::KeptOrphaned(home), now + KEPT_ORPHAN_GRACE);
        }
    }

    /// A peer is a member no more: what was promised to it, and what runs for it, is dropped.
    pub fn home_revoked(&mut self, now: Time, home: PeerId, out: &mut Outbox) {
        self.reservations.retain(|_, reservation| reservation.home != home);
        self.drop_orphans(now, home, false, out);
        self.drop_orphans(now, home, true, out);
    }

    /// A peer is back: it gets the results it may have missed.
    pub fn home_back(&mut self, home: PeerId, out: &mut Outbox) {
        self.deadlines.clear(&Due::HomeOrphaned(home));
        self.deadlines.clear(&Due::KeptOrphaned(home));
        for held in self.unacknowledged.values().filter(|held| held.home == home && !held.is_unsigned) {
            out.send(home, Message::Outcome(Box::new(held.outcome.clone())));
        }
        // A home that has started anew has its tasks from its disk, and does not know who runs them.
        for (attempt, job) in self.jobs.iter().filter(|(_, job)| job.award.kept && job.award.home == home) {
            out.send(home, Message::Progress(Progress { attempt: *attempt, state: job.state() }));
        }
    }

    /// Gives up reservations and orphans whose time is over.
    pub fn timer(&mut self, now: Time, out: &mut Outbox) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::ReservationExpires(_) if sabotage::is(Bug::LeakReservation) => {}
                Due::ReservationExpires(task) => drop(self.reservations.remove(&task)),
                Due::HomeOrphaned(home) => self.drop_orphans(now, home, false, out),
                Due::KeptOrphaned(home) => self.drop_orphans(now, home, true, out),
            }
        }
    }

    fn drop_orphans(&mut self, now: Time, home: PeerId, kept: bool, out: &mut Outbox) {
        self.unacknowledged.remove_where(|held| held.home == home && held.kept == kept);
        let orphans = self.jobs.iter().filter(|(_, job)| job.award.home == home && job.award.kept == kept);
        let orphans: Vec<_> = orphans.map(|(attempt, _)| *attempt).collect();
        orphans.into_iter().for_each(|attempt| self.drop_job(now, attempt, out));
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
