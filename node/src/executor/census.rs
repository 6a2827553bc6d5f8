//! The worker processes that live, and the processor time they have had: the load of this machine that is our own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Shared by all who start workers.
#[derive(Debug, Clone, Default)]
pub(super) struct Census(Arc<Mutex<BTreeSet<Pid>>>);

impl Census {
    pub(super) fn began(&self, worker: u32) {
        self.living().insert(pid(worker));
    }

    /// To be called before the process is waited for: its number may be another's afterwards.
    pub(super) fn ends(&self, worker: u32) {
        self.living().remove(&pid(worker));
    }

    /// Of those that live; what the others had, the kernel counts with the daemon's children.
    pub(super) fn cpu_time(&self) -> Duration {
        let time = |worker: &Pid| {
            let had = clock_getcpuclockid(*worker).and_then(nix::time::ClockId::now).ok()?;
            Some(Duration::from(had))
        };
        self.living().iter().filter_map(time).sum()
    }

    fn living(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid(worker: u32) -> Pid {
    Pid::from_raw(worker.cast_signed())
}
