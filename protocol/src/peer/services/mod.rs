//! Services and the rest of the peer: which version a call gets, what is kept ready here for calls, and who is told of that.
//!
//! ```text
//! Called ─► an ordinary task, counted when it ends
//!   └─► wanted here ─► KeepModule ─► ModuleKept ─► Prepare ─► Prepared: ready ─► Warm, to neighbours
//! nobody calls any more ─► ReleaseModule ─► Warm without it
//! ```
//!
//! The first call at a peer goes where the cost function finds it best: to a neighbour that has said that it is ready, while
//! this peer gets ready itself; or it waits here until the module is compiled.
//!
//! | file | one question |
//! |---|---|
//! | `calls.rs` | which version does a call get, and how did it end? |
//! | `keeping.rs` | which modules are kept here? |
//! | `telling.rs` | where are they ready? |
//! | `views.rs` | what is shown of all that? |
//!
//! **Not here:** which services there are, and how that spreads. That is `membership/services.rs`.

mod calls;
mod keeping;
mod telling;
mod views;

use std::collections::BTreeMap;

use crate::config::PeerConfig;
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::WarmModule;
use crate::service::{Outcomes, ServiceName, Warmth};
use crate::time::Time;

use keeping::Kept;

/// What this peer does for services.
#[derive(Debug)]
pub(super) struct Desk {
    warmth: Warmth,
    outcomes: Outcomes,
    /// Calls under way; bounded by the unfinished tasks of users here.
    calls: BTreeMap<TaskId, (ServiceName, u32)>,
    /// The modules of all services, and their sizes.
    modules: BTreeMap<BlobId, u64>,
    /// Those that are held here for others.
    for_others: BTreeMap<BlobId, u64>,
    kept: BTreeMap<BlobId, Kept>,
    /// Services that users here have deployed lately, and until when that counts.
    deployed_here: BTreeMap<ServiceName, Time>,
    /// What neighbours say that they have ready.
    ready_at: BTreeMap<PeerId, Vec<WarmModule>>,
    /// What neighbours were last told that is ready here.
    told: BTreeMap<PeerId, Vec<WarmModule>>,
    /// Of which services and which view `for_others` was made, and when to make it anew.
    made_of: (u64, u64),
    made_anew: Time,
    next_look: Option<Time>,
}

impl Desk {
    pub(super) fn new(config: &PeerConfig) -> Self {
        Self {
            warmth: Warmth::new(config.cores, config.service_idle),
            outcomes: Outcomes::default(),
            calls: BTreeMap::new(),
            modules: BTreeMap::new(),
            for_others: BTreeMap::new(),
            kept: BTreeMap::new(),
            deployed_here: BTreeMap::new(),
            ready_at: BTreeMap::new(),
            told: BTreeMap::new(),
            made_of: (0, 0),
            made_anew: Time::ZERO,
            next_look: None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next_look
    }

    /// A neighbour may have begun anew, and not remember what it was told.
    pub(super) fn connected(&mut self, peer: PeerId) {
        self.told.remove(&peer);
    }

    pub(super) fn peer_lost(&mut self, peer: PeerId) {
        self.told.remove(&peer);
        self.ready_at.remove(&peer);
    }

    fn look_at(&mut self, at: Time) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }
}
