//! Decides who is let in with which certificate, and signs.
//!
//! ```text
//! knock: wrong proof, used, expired ─► Refused       (nothing changed)
//!        to be approved ─► Later ─► a person ─► admit │ Refused
//!        otherwise ─► admit: noted, fsynced, signed ─► Welcome
//! ```
//!
//! Every peer has an office; one without `issuer.key` refuses to sign and says so.
//!
//! **Invariant:** what it signs is in the ledger on disk before anybody is given it.
//! **Not here:** who is asked, and over what: `crate::network` brings visitors, `crate::driver` the members.

mod invitations;
mod members;
mod visitors;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use shoal_protocol::api::JoinerView;
use shoal_protocol::certificate::MemberCertificate;
use shoal_protocol::certificate::joining::{InvitationId, LOCATOR_BYTES, Refused};
use shoal_protocol::{MeshId, PeerId};

use super::contacts::Contacts;
use super::error::OfficeError;
use super::issuer::Signer;
use super::ledger::{Issued, Ledger, LedgerError};
use super::offenders::Offenders;
use super::pending::{Pending, Verdict};
use crate::driver::unix_time;

pub(crate) use invitations::Invitation;
pub(crate) use visitors::{Decision, Visitor};

/// Where invitations are made and answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Office(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    mesh: MeshId,
    mesh_name: String,
    me: PeerId,
    contacts: Option<Contacts>,
    /// Held while the disk is written: never locked on the network's or the driver's thread.
    ledger: Mutex<Ledger>,
    index: RwLock<Index>,
    pending: Pending,
    offenders: Mutex<Offenders>,
    /// Where this peer listens.
    addresses: RwLock<Vec<String>>,
    /// Whose keys are members no more.
    revoked: RwLock<BTreeSet<PeerId>>,
}

/// Of the ledger, what has to be known at once.
#[derive(Debug, Default)]
struct Index {
    locators: BTreeSet<[u8; LOCATOR_BYTES]>,
    /// Which certificate each member should have.
    newest: BTreeMap<PeerId, (u64, u64)>,
}

impl Index {
    fn of(ledger: &Ledger) -> Self {
        Self {
            locators: ledger.invitations.keys().map(InvitationId::locator).collect(),
            newest: ledger.issued.iter().map(|(peer, issued)| (*peer, issued.order())).collect(),
        }
    }
}

impl Office {
    /// The office of a member of `mesh`, with what it has promised and signed so far.
    pub(crate) fn open(dir: &Path, mesh: MeshId, mesh_name: &str, me: PeerId) -> Result<Self, LedgerError> {
        let ledger = Ledger::load(dir)?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            mesh,
            mesh_name: mesh_name.to_owned(),
            me,
            contacts: Contacts::load(dir, mesh),
            index: RwLock::new(Index::of(&ledger)),
            ledger: Mutex::new(ledger),
            pending: Pending::default(),
            offenders: Mutex::default(),
            addresses: RwLock::default(),
            revoked: RwLock::default(),
        })))
    }

    // ── Questions that are answered at once ─────────────────────────────────────────────────────────────────────

    /// Who let this peer in.
    pub(crate) fn contacts(&self) -> Option<&Contacts> {
        self.0.contacts.as_ref()
    }

    /// Whether this peer signs certificates.
    pub(crate) fn is_issuer(&self) -> bool {
        Signer::is_in(&self.0.dir)
    }

    /// Whether somebody who begins like that may come in to say more. Costs one look into a map.
    pub(crate) fn expects(&self, from: SocketAddr, locator: [u8; LOCATOR_BYTES]) -> bool {
        self.index().locators.contains(&locator) && !self.offenders().is_resting(Instant::now(), from.ip())
    }

    /// Whether a newer certificate was signed for a member than the one it shows.
    pub(crate) fn has_newer(&self, shown: &MemberCertificate) -> bool {
        let shows = (shown.not_before_unix_s, shown.serial);
        self.index().newest.get(&shown.peer).is_some_and(|newest| *newest > shows)
    }

    /// Who waits for a person.
    pub(crate) fn joiners(&self) -> Vec<JoinerView> {
        self.0.pending.list()
    }

    /// Whether anybody waited by that number.
    pub(crate) fn decide(&self, number: u64, verdict: Verdict) -> bool {
        self.0.pending.answer(number, verdict)
    }

    /// This peer listens there now.
    pub(crate) fn listens_at(&self, addresses: Vec<String>) {
        *self.0.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Nobody is let in from now on who has one of these keys.
    pub(crate) fn bars(&self, revoked: BTreeSet<PeerId>) {
        *self.0.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked;
    }

    // ── What takes a disk ───────────────────────────────────────────────────────────────────────────────────────

    async fn attempt<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&office)).await;
        done.unwrap_or_else(|error| Err(OfficeError::CutShort(error.to_string())))
    }

    /// Whether a key may be a member at all. Whoever is to be kept out is kept out here.
    fn may_be_a_member(&self, key: PeerId) -> Result<(), Refused> {
        if self.0.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Err(Refused::Barred { why: "it has been revoked".into() });
        }
        Ok(())
    }

    /// A certificate was signed, and its line is on disk.
    #[allow(clippy::unused_self)] // every certificate that is signed passes here
    fn has_signed(&self, issued: &Issued, why: &'static str) {
        let Issued { peer, name, role, serial, .. } = issued;
        tracing::info!(?peer, name, %role, serial, why, "signed a certificate");
    }

    /// Changes the ledger: on disk when this returns, or not at all.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> Result<T, OfficeError>) -> Result<T, OfficeError> {
        let mut ledger = self.ledger();
        let mut next = ledger.clone();
        let result = change(&mut next)?;
        next.forget_old(unix_time().as_secs());
        next.save(&self.0.dir)?;
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = Index::of(&next);
        *ledger = next;
        Ok(result)
    }

    fn addresses(&self) -> Vec<String> {
        self.0.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offenders(&self) -> MutexGuard<'_, Offenders> {
        self.0.offenders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}
