//! What the network has counted since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter. The numbers are for people: they need not agree with each other at one instant.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters { $($(#[doc = $doc])+ pub(super) $name: Counter,)+ }

        impl Counters {
            pub(super) fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.0.load(Ordering::Relaxed)),)+]
            }
        }
    };
}

counters! {
    /// Control frames handed to the transport.
    frames_out,
    /// Their bytes, with lengths.
    frame_bytes_out,
    /// Control frames received from admitted peers.
    frames_in,
    /// Their bytes, with lengths.
    frame_bytes_in,
    /// Heartbeats handed to the transport as datagrams.
    datagrams_out,
    /// Those received from admitted peers.
    datagrams_in,
    /// Those for which the driver had no room.
    datagrams_dropped,
    /// Bulk streams opened to peers.
    bulk_out,
    /// Bulk streams peers opened.
    bulk_in,
    /// Long messages handed to the transport, each on a stream of its own.
    long_out,
    /// Long messages received from admitted peers.
    long_in,
    /// Those for which the queue to their peer had no room.
    long_dropped,
    /// Streams beside the control stream refused: not admitted, or too many at once.
    streams_refused,
    /// Connections admitted.
    admitted,
    /// Connections refused admission.
    refused,
    /// Connections closed for bytes no honest peer sends.
    garbage,
    /// Neighbours cut off because their queue was full.
    cut_off,
    /// Second connections of one pair that were retired.
    duplicates,
    /// Connections with members through relays.
    relayed,
    /// Direct connections that took the place of relayed ones.
    punched,
    /// Relayed connections for which there is no direct way.
    punches_failed,
    /// Connections of others that this node has relayed.
    circuits,
    /// Events and orders dropped because a queue was full.
    dropped,
}
