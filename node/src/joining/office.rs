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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shoal_protocol::api::{InvitationView, JoinerView, MemberView, schema};
use shoal_protocol::certificate::joining::{
    APPROVAL_MAX_S, EXPORTER_BYTES, InvitationId, InvitationSecret, JoinAnswer, JoinRequest, LOCATOR_BYTES, Refused,
    Welcome,
};
use shoal_protocol::certificate::{
    self as certificates, Chain, MemberCertificate, RevocationList, Role, SignedRevocations, TICKET_ADDRESSES_MAX,
    Ticket,
};
use shoal_protocol::{MeshId, PeerId};
use zeroize::Zeroizing;

use super::contacts::Contacts;
use super::issuer::{IssuerError, Signer};
use super::ledger::{Issued, Ledger, LedgerError, Open};
use super::offenders::Offenders;
use super::pending::{Joiner, Pending, Place, Verdict};
use super::six_words;
use crate::driver::unix_time;

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

/// Whom to let in.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    pub(crate) role: Role,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) name: Option<String>,
    pub(crate) ttl_s: u64,
    pub(crate) uses: u32,
    pub(crate) approve: bool,
    pub(crate) life_s: u64,
    /// Where to find this peer; where it listens when there are none.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Somebody with a ticket, whose handshake is done.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) from: SocketAddr,
    /// Proven in the handshake.
    pub(crate) key: PeerId,
    /// What both sides derive from the handshake's secrets.
    pub(crate) exported: [u8; EXPORTER_BYTES],
    pub(crate) request: JoinRequest,
}

/// What becomes of a visitor.
#[derive(Debug)]
pub(crate) enum Decision {
    Now(JoinAnswer),
    /// A person is asked.
    Later(Waits),
}

/// A visitor that waits for a person.
#[derive(Debug)]
pub(crate) struct Waits {
    office: Office,
    visitor: Visitor,
    place: Place,
}

impl Waits {
    /// The answer, when there is one.
    pub(crate) async fn answer(mut self) -> JoinAnswer {
        let patience = Duration::from_secs(APPROVAL_MAX_S);
        let said = tokio::time::timeout(patience, &mut self.place.verdict).await;
        match said {
            Ok(Ok(Verdict::Approved)) => self.office.on_thread(move |office| office.admit(&self.visitor)).await,
            Ok(Ok(Verdict::Denied)) => refused(Refused::Denied),
            Ok(Err(_)) | Err(_) => refused(Refused::NotApproved),
        }
    }
}

/// Why the office does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfficeError {
    #[error("this peer may not sign for the mesh: {0}")]
    Issuer(#[from] IssuerError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("there are {0} invitations already")]
    Full(usize),
    #[error("this peer listens nowhere that another machine could reach")]
    NoAddress,
    #[error("the operating system gave no randomness: {0}")]
    NoEntropy(String),
    #[error("there is no such invitation")]
    NoInvitation,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the daemon could not finish this: {0}")]
    CutShort(String),
}

/// The answer to a visitor, or to a member that asks.
fn refused(why: Refused) -> JoinAnswer {
    JoinAnswer::Refused { why, clock_unix_s: unix_time().as_secs() }
}

impl OfficeError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Issuer(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Full(_) => "withdraw some: `shoal mesh invitations`".into(),
            Self::NoAddress => "name one: `shoal invite --address HOST:PORT`; see `shoal config show`".into(),
            Self::NoEntropy(_) | Self::CutShort(_) => "try again".into(),
            Self::NoInvitation => "`shoal mesh invitations` lists them".into(),
            Self::Refused(why) => why.hint().into(),
        }
    }
}

impl From<OfficeError> for Refused {
    fn from(error: OfficeError) -> Self {
        match error {
            OfficeError::Refused(why) => why,
            OfficeError::Issuer(error) => Self::NoIssuer { why: error.to_string() },
            error => Self::Trouble { why: error.to_string() },
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

    /// Makes an invitation, and its ticket.
    pub(crate) async fn invite(
        &self,
        invitation: Invitation,
    ) -> Result<(InvitationView, Zeroizing<String>), OfficeError> {
        self.attempt(move |office| office.make_invitation(invitation)).await
    }

    /// All invitations that are known, without their tickets.
    pub(crate) async fn invitations(&self) -> Result<Vec<InvitationView>, OfficeError> {
        self.attempt(|office| Ok(office.ledger().invitations.values().map(view).collect())).await
    }

    /// For whom this peer has signed.
    pub(crate) async fn members(&self) -> Result<Vec<MemberView>, OfficeError> {
        self.attempt(|office| Ok(office.ledger().issued.values().map(Issued::view).collect())).await
    }

    /// Withdraws an invitation by the beginning of its name.
    pub(crate) async fn withdraw(&self, id: String) -> Result<(), OfficeError> {
        let withdraw = move |office: &Self| {
            office.change(|ledger| {
                let fits = |known: &&InvitationId| !id.is_empty() && known.to_string().starts_with(&id);
                let mut found = ledger.invitations.keys().filter(fits).copied();
                let (Some(found), None) = (found.next(), found.next()) else { return Err(OfficeError::NoInvitation) };
                ledger.invitations.remove(&found);
                Ok(())
            })
        };
        self.attempt(withdraw).await
    }

    /// What a visitor is told.
    pub(crate) async fn knock(&self, visitor: Visitor) -> Decision {
        self.on_thread(move |office| office.decide_on(visitor)).await
    }

    /// The certificate a member should have: the one that was signed for it last, or the next.
    pub(crate) async fn renew(&self, shown: MemberCertificate) -> Result<Chain, OfficeError> {
        self.attempt(move |office| office.sign_next(&shown)).await
    }

    /// Changes what is vouched for, and signs it.
    pub(crate) async fn relabel(
        &self,
        shown: MemberCertificate,
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<(Chain, Issued), OfficeError> {
        self.attempt(move |office| office.sign_labels(&shown, set, &remove)).await
    }

    /// This peer's own revocation list, signed anew after those that are held; none while the one it has is younger than
    /// `age`.
    pub(crate) async fn sign_revocations(
        &self,
        held: Vec<SignedRevocations>,
        age: Duration,
    ) -> Result<Option<SignedRevocations>, OfficeError> {
        self.attempt(move |office| {
            let now = unix_time().as_secs();
            let signer = Signer::read(&office.0.dir, office.0.mesh, now)?;
            let held: Vec<_> = held.into_iter().filter_map(|list| list.verify(office.0.mesh).ok()).collect();
            let whose = certificates::Signer::Issuer(signer.id());
            let is_young = |list: &RevocationList| now.saturating_sub(list.issued_unix_s) < age.as_secs();
            if held.iter().any(|verified| verified.signer == whose && is_young(&verified.list)) {
                return Ok(None);
            }
            Ok(Some(signer.sign_list(&RevocationList::following(&held, office.0.mesh, whose, now))))
        })
        .await
    }

    async fn attempt<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&office)).await;
        done.unwrap_or_else(|error| Err(OfficeError::CutShort(error.to_string())))
    }

    async fn on_thread<T: Send + FromTrouble + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&office)).await;
        done.unwrap_or_else(|error| T::from_trouble(error.to_string()))
    }

    fn make_invitation(&self, invitation: Invitation) -> Result<(InvitationView, Zeroizing<String>), OfficeError> {
        let now = unix_time().as_secs();
        // Before anything is promised: what nobody could sign later is not promised.
        Signer::read(&self.0.dir, self.0.mesh, now)?;
        let addresses = self.addresses_for_a_ticket(&invitation.addresses);
        if addresses.is_empty() {
            return Err(OfficeError::NoAddress);
        }
        let mut entropy = Zeroizing::new([0; 16]);
        getrandom::fill(&mut *entropy).map_err(|error| OfficeError::NoEntropy(error.to_string()))?;
        let secret = InvitationSecret::from_bytes(*entropy);
        let open = Open {
            id: secret.invitation(),
            proof_key: secret.proof_key(),
            role: invitation.role,
            labels: invitation.labels.clone(),
            name: invitation.name,
            expires_unix_s: now.saturating_add(invitation.ttl_s),
            uses: invitation.uses,
            used: Vec::new(),
            approve: invitation.approve,
            life_s: invitation.life_s,
        };
        let (id, expires_unix_s, shown) = (open.id, open.expires_unix_s, view(&open));
        self.change(
            |ledger| {
                if ledger.invite(open, now) { Ok(()) } else { Err(OfficeError::Full(ledger.invitations.len())) }
            },
        )?;
        tracing::info!(invitation = %id, uses = invitation.uses, ttl_s = invitation.ttl_s, "an invitation was made");
        let ticket = Ticket {
            mesh: self.0.mesh,
            inviter: self.0.me,
            addresses,
            secret,
            expires_unix_s,
            role: invitation.role,
            labels: invitation.labels,
        };
        Ok((shown, ticket.encode()))
    }

    fn decide_on(&self, visitor: Visitor) -> Decision {
        let request = &visitor.request;
        let now = unix_time().as_secs();
        let (approve, name) = match self.check(&visitor, now) {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(from = %visitor.from, peer = ?visitor.key, invitation = %request.invitation, %why, "a joiner was refused");
                return Decision::Now(refused(why));
            }
        };
        if !approve {
            return Decision::Now(self.admit(&visitor));
        }
        let words = six_words(&visitor.exported, self.0.me, visitor.key);
        let joiner = Joiner { invitation: request.invitation, words, name, peer: visitor.key, address: visitor.from };
        match self.0.pending.wait(joiner) {
            Some(place) => {
                tracing::info!(from = %visitor.from, peer = ?visitor.key, "a machine waits to be approved: `shoal mesh joiners`");
                Decision::Later(Waits { office: self.clone(), visitor, place })
            }
            None => Decision::Now(refused(Refused::Trouble { why: "too many machines wait to be approved".into() })),
        }
    }

    /// Whether a person is to be asked, and what the visitor would be called; or why it stays outside.
    fn check(&self, visitor: &Visitor, now_unix_s: u64) -> Result<(bool, String), Refused> {
        let request = &visitor.request;
        let ledger = self.ledger();
        let known = ledger.invitations.get(&request.invitation).ok_or(Refused::Unknown)?;
        if !known.proof_key.accepts(&request.proof, &visitor.exported, visitor.key, request.name.as_deref()) {
            self.offenders().gave_wrong_proof(Instant::now(), visitor.from.ip());
            return Err(Refused::WrongProof);
        }
        // Only to who has the secret is it said how the invitation stands.
        let open = ledger.usable(request.invitation, visitor.key, now_unix_s)?;
        self.may_be_a_member(visitor.key)?;
        // Approved once, it may fetch what it was given again.
        let asks = open.approve && !open.used.contains(&visitor.key);
        Ok((asks, open.name.clone().or_else(|| request.name.clone()).unwrap_or_default()))
    }

    fn admit(&self, visitor: &Visitor) -> JoinAnswer {
        let now = unix_time().as_secs();
        let request = &visitor.request;
        let admitted = self.may_be_a_member(visitor.key).map_err(OfficeError::from).and_then(|()| {
            let signer = Signer::read(&self.0.dir, self.0.mesh, now)?;
            let ends = signer.certificate.expires_unix_s;
            let enter = |ledger: &mut Ledger| {
                let issued = ledger.admit(request.invitation, visitor.key, request.name.as_deref(), now, ends)?;
                // Signed before it is noted, so that what cannot be signed uses nothing up; given away after that.
                let chain = signer.sign(&issued.certificate(self.0.mesh), now)?;
                Ok((chain, issued))
            };
            self.change(enter)
        });
        match admitted {
            Ok((chain, issued)) => {
                self.has_signed(&issued, "joined");
                JoinAnswer::Welcome(Box::new(Welcome {
                    chain,
                    addresses: self.addresses(),
                    mesh_name: self.0.mesh_name.clone(),
                    clock_unix_s: now,
                }))
            }
            Err(error) => {
                tracing::warn!(from = %visitor.from, peer = ?visitor.key, %error, "a joiner got no certificate");
                refused(error.into())
            }
        }
    }

    fn sign_next(&self, shown: &MemberCertificate) -> Result<Chain, OfficeError> {
        self.may_be_a_member(shown.peer)?;
        let now = unix_time().as_secs();
        let signer = Signer::read(&self.0.dir, self.0.mesh, now)?;
        let known = self.ledger().issued.get(&shown.peer).cloned();
        // Signed already, and the member has not got it: nothing is to be noted.
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
            return Ok(signer.sign(&known.certificate(self.0.mesh), now)?);
        }
        let last = known.unwrap_or_else(|| Issued::of(shown));
        let ends = signer.certificate.expires_unix_s;
        if ends <= last.expires_unix_s {
            let why = "its own certificate ends no later than the one that is to be renewed".to_owned();
            return Err(Refused::NoIssuer { why }.into());
        }
        let (chain, issued) = self.change(|ledger| {
            let issued = ledger.sign_anew(last, now, ends);
            Ok((signer.sign(&issued.certificate(self.0.mesh), now)?, issued))
        })?;
        self.has_signed(&issued, "renewed");
        Ok(chain)
    }

    fn sign_labels(
        &self,
        shown: &MemberCertificate,
        set: BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<(Chain, Issued), OfficeError> {
        self.may_be_a_member(shown.peer)?;
        let now = unix_time().as_secs();
        let signer = Signer::read(&self.0.dir, self.0.mesh, now)?;
        let signed = self.change(|ledger| {
            let mut member = ledger.issued.get(&shown.peer).cloned().unwrap_or_else(|| Issued::of(shown));
            member.labels.retain(|key, _| !remove.contains(key));
            member.labels.extend(set);
            let issued = ledger.sign_anew(member, now, signer.certificate.expires_unix_s);
            Ok((signer.sign(&issued.certificate(self.0.mesh), now)?, issued))
        })?;
        self.has_signed(&signed.1, "relabelled");
        Ok(signed)
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

    fn addresses_for_a_ticket(&self, wanted: &[SocketAddr]) -> Vec<SocketAddr> {
        let own = crate::network::sockets_of(&self.addresses());
        let is_near = |address: &SocketAddr| address.ip().is_loopback();
        // Another machine's loopback is its own: it is of use only where there is nothing else.
        let has_far = wanted.iter().chain(&own).any(|address| !is_near(address));
        let mut chosen = wanted.to_vec();
        chosen.extend(own.into_iter().filter(|address| !has_far || !is_near(address)));
        chosen.truncate(TICKET_ADDRESSES_MAX);
        chosen
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

fn view(open: &Open) -> InvitationView {
    InvitationView {
        schema: schema(),
        id: open.id.to_string(),
        ticket: None,
        role: open.role,
        labels: open.labels.clone(),
        name: open.name.clone(),
        expires_unix_s: open.expires_unix_s,
        uses: open.uses,
        used: open.used.clone(),
        approve: open.approve,
    }
}

/// What is said when a thread was cut short.
trait FromTrouble {
    fn from_trouble(why: String) -> Self;
}

impl FromTrouble for JoinAnswer {
    fn from_trouble(why: String) -> Self {
        refused(Refused::Trouble { why })
    }
}

impl FromTrouble for Decision {
    fn from_trouble(why: String) -> Self {
        Self::Now(JoinAnswer::from_trouble(why))
    }
}
