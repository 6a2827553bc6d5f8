//! What an input may cost, whatever it is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::Target;

/// Time of a core: what takes longer is as good as hanging.
const TIME_MAX: Duration = Duration::from_millis(100);
/// Memory for each byte of input.
const FACTOR_MAX: usize = 64;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// An input is being tried: that it panicked is told by whoever tries it.
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Whoever panics outside of a trial says so as always.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let as_always = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !TRYING.get() {
                as_always(panic);
            }
        }));
    });
}

/// The system's allocator, and how much each thread has from it.
pub(crate) struct Counting;

fn count(more: usize, less: usize) {
    // A thread that ends may have no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().wrapping_add(more).wrapping_sub(less));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is the system allocator's; counting touches no memory but two numbers of the thread.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// What no input may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offence {
    /// It made the code panic, or a promise of it was broken.
    Panicked(String),
    /// It took so long.
    Slow(Duration),
    /// It took so many bytes, and might have taken so many.
    Memory {
        /// At most at once.
        taken: usize,
        /// By its size.
        allowed: usize,
    },
}

/// Gives an input to a target.
pub fn watched(target: &Target, input: &[u8]) -> Result<(), Offence> {
    hush();
    let before = LIVE.get();
    PEAK.set(before);
    let began = cpu_time();
    TRYING.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    TRYING.set(false);
    let took = cpu_time().saturating_sub(began);
    let taken = PEAK.get().saturating_sub(before);
    if let Err(panic) = ended {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        return Err(Offence::Panicked(words.unwrap_or("without a word").to_owned()));
    }
    let allowed = input.len().saturating_mul(FACTOR_MAX).saturating_add(target.allowance_bytes);
    if taken > allowed {
        return Err(Offence::Memory { taken, allowed });
    }
    if took > TIME_MAX { Err(Offence::Slow(took)) } else { Ok(()) }
}

/// Of this thread: a machine with other work to do makes nothing slow.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
