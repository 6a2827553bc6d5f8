//! Which code an input has reached, when the compiler was told to count that.
//!
//! LLVM's pass puts a counter of eight bits at each edge of the control flow and tells where they are when the program
//! starts (Clang, *SanitizerCoverage*, `inline-8bit-counters`). It is a pass of the compiler like any other, so that stable
//! Rust has it: `-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3
//! -Cllvm-args=-sanitizer-coverage-inline-8bit-counters`. Without these nothing is counted, and every input is as good as any.

use std::sync::{Mutex, PoisonError};

/// Counters of one object file.
struct Region {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the counters live as long as the program, and this module only touches them between two inputs, from the one
// thread that runs inputs.
#[allow(unsafe_code)]
unsafe impl Send for Region {}

static REGIONS: Mutex<Vec<Region>> = Mutex::new(Vec::new());

/// Called by each instrumented object file before `main`.
///
/// # Safety
///
/// By the compiler only: the two are the ends of an array of counters.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let bytes = (stop as usize).saturating_sub(start as usize);
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if bytes > 0 && regions.iter().all(|region| region.start != start) {
        regions.push(Region { start, bytes });
    }
}

/// Whether there is coverage to follow.
pub fn is_measured() -> bool {
    !REGIONS.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// What all inputs so far have reached.
#[derive(Default)]
pub(crate) struct Coverage {
    seen: Vec<u8>,
}

impl Coverage {
    /// Forgets what was counted until now.
    pub(crate) fn clear() {
        each(|_, counter| *counter = 0);
    }

    /// Whether what was counted since [`Coverage::clear`] is new, and clears it.
    pub(crate) fn is_new(&mut self) -> bool {
        let (seen, mut is_new) = (&mut self.seen, false);
        each(|at, counter| {
            let times = bucket(*counter);
            *counter = 0;
            if seen.len() <= at {
                seen.resize(at + 1, 0);
            }
            is_new |= seen[at] & times != times;
            seen[at] |= times;
        });
        is_new
    }

    /// Edges that were reached.
    pub(crate) fn edges(&self) -> usize {
        self.seen.iter().filter(|times| **times > 0).count()
    }
}

/// How often, roughly: a loop that ran four times instead of three is news, one of 41 instead of 40 is none.
fn bucket(times: u8) -> u8 {
    match times {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}

static ZEROS: [u8; 4_096] = [0; 4_096];
/// Counters that are looked at together where not all are zero.
const LINE: usize = 64;

/// Every counter that is not zero, by its place.
fn each(mut visit: impl FnMut(usize, &mut u8)) {
    let mut at = 0;
    for region in REGIONS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // SAFETY: it is an array of the program's own, and nobody else holds a reference into it.
        #[allow(unsafe_code)]
        let counters = unsafe { std::slice::from_raw_parts_mut(region.start, region.bytes) };
        // Most are zero. The loop is counted like all others, so that the system's comparison does the looking.
        for page in counters.chunks_mut(ZEROS.len()) {
            if page != ZEROS.get(..page.len()).unwrap_or_default() {
                for (line, chunk) in page.chunks_mut(LINE).enumerate() {
                    if chunk != ZEROS.get(..chunk.len()).unwrap_or_default() {
                        let from = at + line * LINE;
                        chunk
                            .iter_mut()
                            .enumerate()
                            .filter(|(_, it)| **it != 0)
                            .for_each(|(i, it)| visit(from + i, it));
                    }
                }
            }
            at += page.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_more_often_is_new_once() {
        static mut COUNTERS: [u8; 10_000] = [0; 10_000];
        // SAFETY: nothing else refers to them but this thread, in turn.
        #[allow(unsafe_code)]
        let (start, stop, set) = unsafe {
            let start = (&raw mut COUNTERS).cast::<u8>();
            (start, start.add(10_000), move |at: usize, times: u8| start.add(at).write(times))
        };
        // SAFETY: the two ends of an array that lives as long as the program.
        #[allow(unsafe_code)]
        unsafe {
            __sanitizer_cov_8bit_counters_init(start, stop);
        }
        let mut coverage = Coverage::default();
        let mut reaches = |counts: &[(usize, u8)]| {
            counts.iter().for_each(|(at, times)| set(*at, *times));
            (coverage.is_new(), coverage.edges())
        };

        assert!(is_measured());
        assert_eq!(reaches(&[(5, 1), (4_095, 1), (4_096, 3), (9_999, 200)]), (true, 4));
        assert_eq!(reaches(&[(5, 1), (9_999, 255)]), (false, 4), "as often, roughly");
        assert_eq!(reaches(&[(5, 2)]), (true, 4), "twice is news");
        assert_eq!(reaches(&[]), (false, 4), "all was cleared");
        set(7, 1);
        Coverage::clear();
        assert_eq!((coverage.is_new(), coverage.edges()), (false, 4));
    }
}
