//! Streams: records that come in for ever, cut into windows, each window run once and its result written once.
//!
//! ```text
//! source ─► batch of records ─► on disk ─► acknowledged to the source
//!                                  │
//!                                  └─► windower ─► closed windows ─► run ─► sink ─► position on disk ─► batches forgotten
//! ```
//!
//! Which record is in which window follows from the batches alone, in their order: whoever replays them, after a crash or at
//! another peer, gets the same windows with the same numbers.
//!
//! **Invariant:** what [`Journal`] was told is on disk is in exactly one window, or was counted as late.
//! **Not here:** sockets, files and clocks. The node's `streams` drives this.

mod event_time;
mod journal;
#[cfg(test)]
mod journal_tests;
pub mod mqtt;
mod seen;
mod spec;
pub mod succession;
mod window;
#[cfg(test)]
mod window_tests;

pub use event_time::{EventTime, TimeUnit};
pub use journal::{Counts, Journal, JournalError, Key, Pending, of_stream};
pub use seen::{Mark, Seen, digest};
pub use spec::{
    BrokerSpec, MqttVersion, SinkSpec, SourceSpec, SpecError, StreamSpec, StreamWork, WindowRule, check_name,
};
pub use window::{Closed, ClosedKind, Span, WindowState, Windower};

/// Streams that one peer holds, its own and those it would take over: each has a few tasks, sockets and buffers.
pub const STREAMS_MAX: usize = 32;
/// One record, in bytes. Larger data belongs into blobs, with their ids as records.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Records in one batch: what one write to the disk may bring.
pub const BATCH_RECORDS_MAX: usize = 2_048;
/// Bytes of records in one batch, unless a single record is larger.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Records and bytes in one window: what a module reads at once. A window that grows beyond is cut in parts.
pub const WINDOW_RECORDS_MAX: u32 = 65_536;
/// The same in bytes.
pub const WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Windows open at once, of one stream: event times may be this many windows out of order.
pub const OPEN_WINDOWS_MAX: usize = 64;
/// Bytes in all open windows of a stream: less than [`BUFFER_BYTES_MAX`], so that whatever fills that can be published.
pub const OPEN_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Stretches of records in all open windows of a stream, and again in those that wait to be published: each is some twenty bytes of
/// the position, which is written with every window and must fit one shipment to a successor.
pub const SPANS_MAX: usize = 256 * 1024;
/// Bytes of records that a stream holds, with what each and its batch take beside; beyond this its source waits.
pub const BUFFER_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// Closed windows that wait to be run and written; beyond this the source waits.
pub const PENDING_MAX: usize = 1_024;
