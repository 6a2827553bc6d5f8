//! The one thing that reaches into a run from outside: a switch that stops it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shoal_protocol::cbor;

use super::line::{Kind, Line};
use super::words::Order;

#[derive(Debug, Default)]
pub(super) struct RunControl {
    aborted: AtomicBool,
    /// The worker that has begun it, and what it calls the run.
    worker: Mutex<Option<(Arc<Line>, u64)>>,
    woken: Condvar,
}

impl RunControl {
    /// Never waits for the worker: one that does not listen is killed by the thread that waits for its answer.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        // Under the lock, so that neither a sleeper between its check and its wait nor a worker just given the run is missed.
        let worker = self.worker();
        if let Some((line, number)) = worker.as_ref() {
            let _ = line.try_send(Kind::Words, &cbor::encode(&Order::Abort(*number)));
        }
        drop(worker);
        self.woken.notify_all();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// A worker has been given the run.
    pub(super) fn begun(&self, line: &Arc<Line>, number: u64) {
        let mut worker = self.worker();
        *worker = Some((Arc::clone(line), number));
        if self.is_aborted() {
            let _ = line.try_send(Kind::Words, &cbor::encode(&Order::Abort(number)));
        }
    }

    /// It has answered, or is gone.
    pub(super) fn over(&self) {
        *self.worker() = None;
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.worker().is_some()
    }

    /// Waits; `false` when the run was aborted meanwhile.
    pub(super) fn sleep_until(&self, end: Instant) -> bool {
        let mut guard = self.worker();
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

    fn worker(&self) -> MutexGuard<'_, Option<(Arc<Line>, u64)>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
