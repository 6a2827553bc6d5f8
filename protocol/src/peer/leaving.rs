//! Leaving: what runs here may end, or is handed back, and then the neighbours are told.

use core::time::Duration;

use super::Peer;
use crate::output::Output;
use crate::time::Time;

/// Time that running tasks get to end when the daemon stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

impl Peer {
    pub(super) fn shut_down(&mut self, now: Time) {
        // Asked for again, it neither takes longer nor begins anew.
        if self.left || self.leaving_by.is_some() {
            return;
        }
        self.pipelines.shut_down();
        self.requester.shut_down(&mut self.outbox);
        self.executing.hand_back(now, false, &mut self.outbox);
        self.leaving_by = Some(now + SHUTDOWN_GRACE);
    }

    pub(super) fn leave_if_done(&mut self, now: Time) {
        let Some(by) = self.leaving_by else { return };
        if self.left || !(self.executing.is_idle() || by <= now) {
            return;
        }
        self.left = true;
        self.leaving_by = None;
        self.membership.leave(&mut self.outbox);
        self.outbox.push(Output::ShutdownReady);
    }
}
