//! Everything that is fed: decoders with bytes, a peer with stories.

mod audit;
mod bodies;
mod certificates;
mod frame;
mod peer;
mod records;
mod services;
mod specs;
mod words;

/// Something that reads what others wrote.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its directory in `corpus/`.
    pub name: &'static str,
    /// Reads an input; a panic says that it should not have come to that.
    pub run: fn(&[u8]),
    /// Inputs that are right, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Memory that it may take whatever the size of its input.
    pub allowance_bytes: usize,
}

/// Of a decoder: the errors it makes, and what it makes once and keeps.
const DECODER_BYTES: usize = 64 * 1024;
/// Of a whole peer and what it may remember.
const PEER_BYTES: usize = 8 * 1024 * 1024;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame::frame, seeds: frame::seeds, allowance_bytes: DECODER_BYTES },
    Target { name: "greeting", run: frame::greeting, seeds: frame::greetings, allowance_bytes: DECODER_BYTES },
    Target { name: "chain", run: certificates::chain, seeds: certificates::chains, allowance_bytes: DECODER_BYTES },
    Target { name: "signed", run: certificates::signed, seeds: certificates::payloads, allowance_bytes: DECODER_BYTES },
    Target {
        name: "peer-record",
        run: certificates::record,
        seeds: certificates::records,
        allowance_bytes: DECODER_BYTES,
    },
    Target { name: "service-record", run: services::record, seeds: services::records, allowance_bytes: DECODER_BYTES },
    Target { name: "task-spec", run: specs::spec, seeds: specs::seeds, allowance_bytes: DECODER_BYTES },
    Target { name: "http-body", run: bodies::body, seeds: bodies::seeds, allowance_bytes: DECODER_BYTES },
    Target { name: "state-record", run: records::restored, seeds: records::seeds, allowance_bytes: PEER_BYTES },
    Target { name: "audit-log", run: audit::log, seeds: audit::seeds, allowance_bytes: DECODER_BYTES },
    Target { name: "peer", run: peer::tasks, seeds: peer::seeds, allowance_bytes: PEER_BYTES },
    Target { name: "council", run: peer::councils, seeds: peer::seeds, allowance_bytes: PEER_BYTES },
];

/// No seeds: any bytes are a story.
pub(crate) fn key(n: u8) -> shoal_protocol::certificate::SecretKey {
    shoal_protocol::certificate::SecretKey::from_bytes(&[n; 32])
}
