//! Placement against a yardstick: the same arrivals, works and network for every policy, and the figures that came of it.
//!
//! A *case* is three tables: nodes, round-trip times, tasks. A policy turns it into a [`Run`]. The model:
//!
//! - A task runs on one core for `work_ms / speed`. Where it arose it needs no network.
//! - Elsewhere its input waits for the origin's uplink (first in, first out), crosses it, and travels RTT/2. Its output takes
//!   its size over the executor's uplink, without a queue, and RTT/2 back.
//! - A control message takes RTT/2 and no bandwidth; it is counted, in messages and in bytes.
//! - `rtt(a, b)/2` is the way from a to b. A pair with an unknown cell in either direction cannot reach each other.
//! - Completion is result at the origin less arrival. The first fifth of the tasks warms up and is not counted.
//!
//! **Invariant:** every policy's result passes the same check, which knows the model and nothing of the policy.

mod case;
mod faults;
mod physics;
mod run;

pub use case::{Case, NodeSpec, TaskLine, Tier};
pub use faults::{Change, Fault, Faults};
pub use physics::{Uplinks, output_ms, run_ms, transfer_ms};
pub use run::{Completion, Control, Execution, Run};

/// A datagram costs this before its payload: IP, UDP and QUIC headers and the authentication tag.
pub const DATAGRAM_BYTES: u64 = 64;
