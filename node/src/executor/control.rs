//! The one thing that reaches into a run from outside: a switch that stops it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct RunControl {
    aborted: AtomicBool,
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl RunControl {
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        // Taking the lock makes sure that a sleeper between its check and its wait is not missed.
        drop(self.sleeping.lock().unwrap_or_else(PoisonError::into_inner));
        self.woken.notify_all();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Waits; `false` when the run was aborted meanwhile.
    pub(super) fn sleep_until(&self, end: Instant) -> bool {
        let mut guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_aborted() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self.woken.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
