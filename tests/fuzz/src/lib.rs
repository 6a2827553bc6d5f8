//! Hostile bytes for everything that a peer reads, and hostile orders of events for what it decides.
//!
//! ```text
//! corpus/, seeds ─► mutate ─► a target, watched ─► an offence: it panicked, took too long, or too much memory
//!        ▲                        │
//!        └── what reached new code ┘     (when built with coverage, see `coverage.rs`)
//! ```
//!
//! A replay of the corpus with some mutations is a test like any other; the long run is
//! `tests/fuzz/run SECONDS [TARGET]`.
//!
//! **Invariant:** the same seed and corpus give the same inputs where there is no coverage to follow.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a promise that is broken is to panic: that is what is looked for

mod coverage;
mod engine;
mod mutate;
mod source;
pub mod targets;
mod watch;

pub use coverage::is_measured;
pub use engine::{Budget, Run, corpus, fuzz};
pub use mutate::mutated;
pub use targets::{TARGETS, Target};
pub use watch::{Offence, watched};

/// Counts what each thread has allocated, for the bounds of `watch.rs`.
#[global_allocator]
static ALLOCATOR: watch::Counting = watch::Counting;
