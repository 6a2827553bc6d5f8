//! What crossed the network: messages and control bytes by kind and by sender.
//!
//! Control bytes are what a message is encoded as, without the input or output it carries, and [`DATAGRAM_BYTES`] for the
//! headers of every datagram: what one peer says to another at one moment shares one, as on QUIC.

use std::collections::BTreeMap;

use shoal_protocol::Message;
use shoal_protocol::task::spec::Payload;

/// What UDP, IP and QUIC add to a datagram.
pub const DATAGRAM_BYTES: u64 = 64;
/// What a datagram holds: what every path carries, less those headers.
pub(super) const DATAGRAM_PAYLOAD_BYTES: usize = 1_200 - DATAGRAM_BYTES as usize;

/// Messages and their control bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: Self) -> Self {
        Self { messages: self.messages - earlier.messages, bytes: self.bytes - earlier.bytes }
    }
}

impl core::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// Everything sent so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub(super) by_kind: BTreeMap<&'static str, Count>,
    pub(super) by_sender: Vec<Count>,
}

impl Counts {
    /// By [`Message::kind`].
    pub fn by_kind(&self) -> &BTreeMap<&'static str, Count> {
        &self.by_kind
    }

    /// What a peer sent.
    pub fn of_sender(&self, index: usize) -> Count {
        self.by_sender.get(index).copied().unwrap_or_default()
    }

    /// What all sent.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        self.by_kind.values().for_each(|count| total += *count);
        total
    }
}

/// Bytes of a task's input or output inside a message.
pub(super) fn bulk(message: &Message) -> u64 {
    let inline = |payload: &Payload| match payload {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    };
    match message {
        Message::Award(award) => award.spec.inputs.iter().map(inline).sum(),
        Message::Outcome(outcome) => inline(&outcome.report.output),
        _ => 0,
    }
}
