//! Machines that have a ticket and wait for a person to say yes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_protocol::PeerId;
use shoal_protocol::api::JoinerView;
use shoal_protocol::certificate::joining::InvitationId;
use tokio::sync::oneshot;

/// Machines that wait at once; each holds a connection.
const WAITING_MAX: usize = 16;
/// Those that have the ticket of one invitation: one that has leaked keeps nobody out who has another.
const WAITING_PER_INVITATION_MAX: usize = WAITING_MAX / 2;

/// What the person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approved,
    Denied,
}

/// One that waits.
#[derive(Debug, Clone)]
pub(super) struct Joiner {
    pub(super) invitation: InvitationId,
    pub(super) words: String,
    pub(super) name: String,
    pub(super) peer: PeerId,
    pub(super) address: SocketAddr,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    joiners: BTreeMap<u64, (Joiner, oneshot::Sender<Verdict>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Pending(Arc<Mutex<Waiting>>);

/// A place among those who wait, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    pending: Pending,
    pub(super) verdict: oneshot::Receiver<Verdict>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.waiting().joiners.remove(&self.number);
    }
}

impl Pending {
    /// A place; none when too many wait.
    pub(super) fn wait(&self, joiner: Joiner) -> Option<Place> {
        let mut waiting = self.waiting();
        let same = waiting.joiners.values().filter(|(other, _)| other.invitation == joiner.invitation).count();
        if waiting.joiners.len() >= WAITING_MAX || same >= WAITING_PER_INVITATION_MAX {
            return None;
        }
        waiting.next += 1;
        let number = waiting.next;
        let (sender, verdict) = oneshot::channel();
        waiting.joiners.insert(number, (joiner, sender));
        Some(Place { number, pending: self.clone(), verdict })
    }

    pub(super) fn list(&self) -> Vec<JoinerView> {
        let view = |(number, (joiner, _)): (&u64, &(Joiner, _))| JoinerView {
            number: *number,
            invitation: joiner.invitation.to_string(),
            words: joiner.words.clone(),
            name: joiner.name.clone(),
            peer: joiner.peer,
            address: joiner.address.to_string(),
        };
        self.waiting().joiners.iter().map(view).collect()
    }

    /// Whether anybody waited by that number.
    pub(super) fn answer(&self, number: u64, verdict: Verdict) -> bool {
        let found = self.waiting().joiners.remove(&number);
        // It may have gone at this moment.
        found.is_some_and(|(_, waits)| waits.send(verdict).is_ok())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
