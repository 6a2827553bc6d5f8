//! What crossed the network: messages and control bytes by kind and by sender.
//!
//! Control bytes are what a message is encoded as, without the input or output it carries, and [`DATAGRAM_BYTES`] for the
//! headers below it.

use std::collections::BTreeMap;

use shoal_protocol::Message;
use shoal_protocol::task::spec::Payload;

/// What UDP, IP and QUIC add to a message that travels alone.
pub const DATAGRAM_BYTES: u64 = 64;

/// Messages and their control bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: Self) -> Self {
        Self { messages: self.messages - earlier.messages, bytes: self.bytes - earlier.bytes }
    }
}

/// Everything sent so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    by_kind: BTreeMap<&'static str, Count>,
    by_sender: Vec<Count>,
}

impl Counts {
    pub(super) fn sent(&mut self, from: usize, message: &Message, encoded: usize) {
        let bytes = (encoded as u64).saturating_sub(bulk(message)) + DATAGRAM_BYTES;
        self.by_kind.entry(message.kind()).or_default().add(bytes);
        if self.by_sender.len() <= from {
            self.by_sender.resize(from + 1, Count::default());
        }
        self.by_sender.get_mut(from).into_iter().for_each(|count| count.add(bytes));
    }

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
        self.by_kind.values().fold(Count::default(), |sum, count| Count {
            messages: sum.messages + count.messages,
            bytes: sum.bytes + count.bytes,
        })
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
