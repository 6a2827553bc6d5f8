//! What is remembered of one peer.

use std::collections::VecDeque;

use super::dialling::Backoff;
use super::failure_detector::Watch;
use super::rumours::Accuser;
use super::will::{Bequeathed, Inherited};
use crate::certificate::{Member, SignedRecord};
use crate::id::PeerId;
use crate::message::Parting;
use crate::output::PeerState;
use crate::time::Time;

/// A peer this one knows: connected, to be dialled, or gone.
///
/// In this order in memory: every message looks at what stands first, and the rest of it stays where it is.
#[derive(Debug)]
#[repr(C)]
pub struct Neighbour {
    /// Whether there is a connection.
    pub connected: bool,
    /// What is believed of it. A peer known only from a record stays suspect until it is heard.
    pub state: PeerState,
    /// The connection was lost and it is not known why: it is called whether the view has room or not.
    pub(super) lost: bool,
    /// A council needs it to decide: it is called whether the view has room or not.
    pub(super) called_for: bool,
    /// Its death, as rumoured, was passed on.
    pub(super) passed_on: bool,
    /// The incarnation it last spoke of.
    pub incarnation: u32,
    /// When it last said anything.
    pub heard: Option<Time>,
    /// What it said to us, and what we think of its silence; while it is not known to be gone.
    pub(super) watch: Option<Watch>,
    /// When question and answer last passed, and when they are to next.
    pub(super) exchanged: Time,
    pub(super) exchange_at: Time,
    /// When the connection came up or went down.
    pub(super) connection_since: Time,
    /// A number that both ends of a pair reckon alike and nobody else can guess a pattern in.
    pub(super) rank: u64,
    /// When to call it again.
    pub(super) backoff: Backoff,
    /// Who it is.
    pub member: Member,
    /// The address it was dialled at, while the connection is one we made.
    pub address: Option<String>,
    /// Where it may be reached, best first.
    pub(super) addresses: Vec<String>,
    /// Its own word on where it is, to be passed on.
    pub(super) record: Option<Record>,
    /// Records it was given, as [`Record::key`]; the oldest are forgotten and may be given again.
    pub(super) told: VecDeque<u64>,
    /// Who suspects it and waits for its refutation.
    pub(super) accusers: Vec<Accuser>,
    /// Why it closes the connection, when it said so.
    pub(super) parted: Option<Parting>,
    /// What it was told of our neighbours, as our monitor.
    pub(super) bequeathed: Option<Box<Bequeathed>>,
    /// What it told of its neighbours, when we are its monitor.
    pub(super) inherited: Option<Box<Inherited>>,
    /// Records it sent that were given to the driver, since a moment.
    pub(super) records_taken: (Time, usize),
    /// Somebody here waits for its work, or it for ours: it is not let go for want of room.
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
        let bytes = crate::cbor::encoded_len(&signed);
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
    /// Where it was dialled, or may be.
    pub fn best_address(&self) -> Option<&str> {
        self.address.as_deref().or_else(|| self.addresses.first().map(String::as_str))
    }

    pub(super) fn new(now: Time, me: PeerId, member: Member) -> Self {
        Self {
            rank: pair_rank(me, member.peer),
            member,
            state: PeerState::Suspect,
            incarnation: 0,
            connected: false,
            heard: None,
            address: None,
            connection_since: now,
            lost: false,
            called_for: false,
            addresses: Vec::new(),
            backoff: Backoff::default(),
            record: None,
            told: VecDeque::new(),
            accusers: Vec::new(),
            passed_on: false,
            watch: None,
            exchanged: now,
            exchange_at: now,
            parted: None,
            bequeathed: None,
            inherited: None,
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

fn pair_rank(a: PeerId, b: PeerId) -> u64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&low.0).update(&high.0);
    let mut rank = [0; 8];
    rank.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(rank)
}
