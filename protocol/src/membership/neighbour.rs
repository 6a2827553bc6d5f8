//! What is remembered of one peer.

use std::collections::VecDeque;

use super::dialling::Backoff;
use crate::certificate::{Member, SignedRecord};
use crate::id::PeerId;
use crate::output::PeerState;
use crate::time::Time;

/// A peer this one knows: connected, to be dialled, or gone.
#[derive(Debug)]
pub struct Neighbour {
    /// Who it is.
    pub member: Member,
    /// What is believed of it. A peer known only from a record stays suspect until it is heard.
    pub state: PeerState,
    /// The incarnation it last spoke of.
    pub incarnation: u32,
    /// Whether there is a connection.
    pub connected: bool,
    /// When it last said anything.
    pub heard: Option<Time>,
    /// The address it was dialled at, while the connection is one we made.
    pub address: Option<String>,
    /// When the connection came up or went down.
    pub(super) connection_since: Time,
    /// The connection was lost and it is not known why: it is called whether the view has room or not.
    pub(super) lost: bool,
    /// Where it may be reached, best first.
    pub(super) addresses: Vec<String>,
    /// When to call it again.
    pub(super) backoff: Backoff,
    /// Its own word on where it is, to be passed on.
    pub(super) record: Option<Record>,
    /// Records it was given, as [`Record::key`]; the oldest are forgotten and may be given again.
    pub(super) told: VecDeque<u64>,
    /// The incarnation that others called dead before we found out.
    pub(super) dead_by_hearsay: Option<u32>,
    /// Who suspects it and waits for its refutation.
    pub(super) accusers: Vec<PeerId>,
    /// Records it sent that were given to the driver, since a moment.
    pub(super) records_taken: (Time, usize),
    /// Somebody here waits for its work: it is listened to closely and never let go.
    pub(super) watched: bool,
}

/// A verified record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) signed: SignedRecord,
    pub(super) sequence: u64,
    /// Its size in a message.
    pub(super) bytes: usize,
}

impl Record {
    pub(super) fn new(signed: SignedRecord, sequence: u64) -> Self {
        let bytes = crate::cbor::encode(&signed).len();
        Self { signed, sequence, bytes }
    }

    /// Tells records apart without keeping them: another peer's or a newer one has another key.
    pub(super) fn key(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.signed.peer.0[..8]);
        u64::from_le_bytes(first) ^ self.sequence.rotate_left(32)
    }
}

impl Neighbour {
    pub(super) fn new(now: Time, member: Member) -> Self {
        Self {
            member,
            state: PeerState::Suspect,
            incarnation: 0,
            connected: false,
            heard: None,
            address: None,
            connection_since: now,
            lost: false,
            addresses: Vec::new(),
            backoff: Backoff::default(),
            record: None,
            told: VecDeque::new(),
            dead_by_hearsay: None,
            accusers: Vec::new(),
            records_taken: (now, 0),
            watched: false,
        }
    }

    /// Connected and believed to be there.
    pub fn is_alive(&self) -> bool {
        self.connected && self.state == PeerState::Alive
    }

    /// Whether there is a reason to keep this entry rather than another when room is short; smaller goes first.
    pub(super) fn worth(&self) -> (bool, bool, Option<Time>) {
        (self.connected, self.state != PeerState::Dead && self.state != PeerState::Left, self.heard)
    }
}
