//! Telling neighbours of our load when what they last heard would mislead them.
//!
//! **Invariant:** at most one look at all neighbours every [`LOOK_EVERY`], however many tasks come and go.

use core::time::Duration;

use crate::id::PeerId;
use crate::load::LoadView;
use crate::message::Message;
use crate::output::Outbox;
use crate::task::executor::Executing;
use crate::time::Time;

/// Loads change with every task; neighbours are told of what lasts at least this long.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The slow floor is looked at this often when nothing happens.
const LOOK_IDLE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Publisher {
    looked: Time,
    next: Time,
}

impl Publisher {
    /// Tells those neighbours that would be misled, if the time has come. A new one hears it with the first ping.
    pub(super) fn publish(
        &mut self,
        now: Time,
        neighbours: impl Iterator<Item = PeerId>,
        executing: &mut Executing,
        loads: &mut LoadView,
        out: &mut Outbox,
    ) {
        let changed = executing.take_changed();
        if changed {
            self.next = self.next.min(self.looked + LOOK_EVERY);
        }
        if now < self.next {
            return;
        }
        self.looked = now;
        self.next = now + LOOK_IDLE;
        let mut digest = None;
        for peer in neighbours {
            let current = digest.get_or_insert_with(|| executing.digest(now));
            if let Some(load) = loads.publish(now, peer, current) {
                out.send(peer, Message::Load(load));
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        Some(self.next)
    }
}
