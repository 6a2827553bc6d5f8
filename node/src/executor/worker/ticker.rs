//! Advances the engine's epoch while something runs, so that each run looks at its limits every few milliseconds.
//!
//! **Invariant:** nothing runs ⇒ after [`LINGER`] the thread sleeps without a timer and costs nothing. It lingers so that
//! short tasks in a row do not each pay for waking it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

/// How soon a run notices that it was aborted or is over its time.
const TICK: Duration = Duration::from_millis(5);
/// Idle time after which the thread goes to sleep.
const LINGER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

/// The epoch advances while this lives.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread and waits until it runs.
    pub(super) fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("epoch-ticker".to_owned()).stack_size(64 * 1024);
        let (here, began) = channel::<()>();
        builder.spawn(move || {
            if here.send(()).is_ok() {
                of_thread.tick(&engine);
            }
        })?;
        began.recv().map_err(io::Error::other)?;
        Ok(Self(shared))
    }

    pub(super) fn ticking(&self) -> Ticking<'_> {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        // Either the thread sees the new count before it sleeps, or we see that it sleeps.
        if self.0.asleep.load(Ordering::SeqCst) {
            self.0.rouse();
        }
        Ticking(&self.0)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.rouse();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        let mut idle = Duration::ZERO;
        while !self.stopped.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = Duration::ZERO;
                engine.increment_epoch();
            } else {
                idle += TICK;
            }
            if idle < LINGER {
                std::thread::sleep(TICK);
            } else {
                self.sleep();
                idle = Duration::ZERO;
            }
        }
    }

    fn sleep(&self) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.stopped.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn rouse(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}
