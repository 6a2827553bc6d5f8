//! Many Shoal peers on one machine, for demonstrations and tests.
//!
//! - [`Emulator`]: network namespaces joined by links with delay, jitter, loss and bandwidth.
//! - [`sandbox`]: nothing the tool starts outlives it.

pub mod emulator;
mod keeper;
pub mod sandbox;
pub mod sim;

pub use emulator::{Emulator, EmulatorError, Link, Links, LinksError, Node};
