//! The `shoal` command as a person meets it: the built program against a daemon that gives prepared answers.

#![allow(clippy::expect_used)] // the helpers of tests are tests too

mod audit;
mod errors;
mod fake;
mod fixtures;
mod help;
mod joining;
mod listings;
mod mesh;
mod privacy;
mod running;
mod services;
mod streams;
mod submitting;
