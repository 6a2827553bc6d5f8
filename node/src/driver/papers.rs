//! Certificates while the daemon runs: this peer's next one, and those it signs for others.
//!
//! ```text
//! two thirds of its life over ─► sign it here │ ask whoever let us in ─► on disk ─► shown in handshakes, told in our record
//! a member asks, or shows an old one, or is relabelled ─► office ─► Papers::Certificate ─► member
//! ```
//!
//! **Invariant:** no connection is closed for it, and a certificate that would not be believed is not taken.
//! **Not here:** who may have which certificate. That is [`crate::joining`].

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::api::{LabelRequest, LabelView, schema};
use shoal_protocol::certificate::joining::{Papers, Refused};
use shoal_protocol::certificate::{Chain, MemberCertificate};
use shoal_protocol::{FindError, Input, PeerId, Time, cbor};
use tokio::sync::oneshot;

use super::beside::Done;
use super::handle::Refusal;
use super::{Driver, unix_time};
use crate::joining::{LIFE_S, renewal_due_unix_s, signed_unix_s};
use crate::small_file;

/// Time between two tries to get the next certificate.
const RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// The same while nobody who signs is connected.
const LOOK_AFTER: Duration = Duration::from_secs(60);
/// Tries that a certificate of a shorter life has left in what remains of it.
const TRIES_LEFT: u32 = 10;
/// Papers a neighbour may send in [`PAPERS_WINDOW`]: each costs signatures, and honest ones send a few a month.
const PAPERS_MAX: u32 = 32;
const PAPERS_WINDOW: Duration = Duration::from_secs(60);
/// When less than this share of its life is left, a person has to look, and any neighbour is asked.
const LATE_SHARE: u64 = 5;

/// How the renewal of this peer's own certificate stands.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    not_before: Time,
    /// When the neighbours' certificates were last looked through.
    looked: Time,
    /// Why the last try came to nothing.
    trouble: Option<String>,
    /// One that is on its way to the disk, and the newest that has come meanwhile: they reach it in this order.
    keeping: bool,
    next: Option<(Chain, (u64, u64))>,
    /// Papers of each neighbour, since when.
    heard: BTreeMap<PeerId, (Time, u32)>,
}

impl Renewal {
    fn has_patience_with(&mut self, member: PeerId, now: Time) -> bool {
        self.heard.retain(|_, (since, _)| now.since(*since) < PAPERS_WINDOW);
        let (_, count) = self.heard.entry(member).or_insert((now, 0));
        *count += 1;
        *count <= PAPERS_MAX
    }

    /// This is the newest; true when it can be written now.
    fn is_next(&mut self, chain: Chain, newness: (u64, u64)) -> bool {
        if self.next.as_ref().is_none_or(|(_, before)| newness > *before) {
            self.next = Some((chain, newness));
        }
        !self.keeping
    }

    fn is_done(&mut self) {
        (self.not_before, self.trouble) = (Time::ZERO, None);
    }
}

impl Driver {
    /// Each second: whether it is time.
    pub(super) fn renew_if_due(&mut self) {
        let now = self.clock.now();
        if now < self.renewal.not_before {
            return;
        }
        let certificate = &self.identity.certificate;
        let unix_s = unix_time().as_secs();
        if unix_s < renewal_due_unix_s(certificate.not_before_unix_s, certificate.expires_unix_s) {
            return;
        }
        let left = Duration::from_secs(certificate.expires_unix_s.saturating_sub(unix_s));
        let pause = RETRY_AFTER.min(left / TRIES_LEFT).max(Duration::from_secs(1));
        // A fleet that joined in one hour does not come back in one second.
        let jitter = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        let asked = self.ask_for_the_next();
        let pause = if asked { pause } else { pause.min(LOOK_AFTER) };
        self.renewal.not_before = now + pause.mul_f64(0.75 + jitter / 4.0);
    }

    /// Whether anybody could be asked.
    fn ask_for_the_next(&mut self) -> bool {
        let shown = self.identity.certificate.clone();
        if self.office.is_issuer() {
            let office = self.office.clone();
            self.beside
                .start(async move { Done::Certified(office.renew(shown).await.map_err(|error| error.to_string())) });
            return true;
        }
        let issuer = self.office.contacts().map(|contacts| (contacts.inviter, contacts.addresses.clone()));
        let whom = match issuer {
            Some((issuer, _)) if self.connected.contains_key(&issuer) => Some(issuer),
            Some((issuer, addresses)) => {
                self.network.dial(Some(issuer), addresses);
                self.renewal.trouble.get_or_insert_with(|| "the peer that signs is not connected".into());
                if self.is_late() { self.any_neighbour() } else { None }
            }
            None => self.any_neighbour(),
        };
        let Some(whom) = whom else { return false };
        self.send_papers(whom, &Papers::Ask);
        true
    }

    /// Another one each time, in turn.
    fn any_neighbour(&self) -> Option<PeerId> {
        let skip = usize::try_from(getrandom::u32().unwrap_or_default()).unwrap_or_default();
        let count = self.connected.len().max(1);
        self.connected.keys().nth(skip % count).copied()
    }

    fn is_late(&self) -> bool {
        let certificate = &self.identity.certificate;
        let life_s =
            certificate.expires_unix_s - signed_unix_s(certificate.not_before_unix_s, certificate.expires_unix_s);
        certificate.expires_unix_s.saturating_sub(unix_time().as_secs()) < life_s / LATE_SHARE
    }

    /// What a person should know of it.
    pub(super) fn renewal_warning(&self) -> Option<String> {
        if !self.is_late() {
            return None;
        }
        let certificate = &self.identity.certificate;
        let left_s = certificate.expires_unix_s.saturating_sub(unix_time().as_secs());
        let why = self.renewal.trouble.as_deref().unwrap_or("nobody who signs has answered");
        let fix = if self.office.is_issuer() {
            "shoal mesh rotate-issuer".to_owned()
        } else {
            "shoal peers; or join anew: shoal invite there, shoal join - here".to_owned()
        };
        let left = super::status::ago(left_s.saturating_mul(1_000_000));
        Some(format!("this peer's certificate expires in {left}, and could not be renewed: {why} → {fix}"))
    }

    pub(super) fn on_papers(&mut self, from: PeerId, body: &[u8]) {
        if !self.renewal.has_patience_with(from, self.clock.now()) {
            return self.network.disconnect(from, "it says too much of certificates");
        }
        match cbor::decode::<Papers>(body) {
            Ok(Papers::Ask) => self.sign_for(from),
            Ok(Papers::Certificate(chain)) => self.take_certificate(*chain),
            Ok(Papers::Refused(why)) => {
                tracing::warn!(peer = ?from, %why, hint = why.hint(), "no certificate was signed for this peer");
                self.renewal.trouble = Some(why.to_string());
            }
            Err(error) => {
                self.garbage += 1;
                tracing::warn!(peer = ?from, %error, "papers that cannot be read");
            }
        }
    }

    /// Gives a neighbour the certificate it should have.
    fn sign_for(&self, member: PeerId) {
        let Some(shown) = self.shown.get(&member).cloned() else { return };
        let (office, network) = (self.office.clone(), self.network.clone());
        self.beside.start(async move {
            let papers = match office.renew(shown).await {
                Ok(chain) => Papers::Certificate(Box::new(chain)),
                Err(error) => Papers::Refused(Refused::from(error)),
            };
            // A neighbour that is gone asks again.
            let _ = network.send_papers(member, &cbor::encode(&papers)).await;
            Done::Answered
        });
    }

    /// A neighbour has shown this in its handshake.
    pub(super) fn has_shown(&mut self, certificate: MemberCertificate) {
        let member = certificate.peer;
        let is_behind = self.office.has_newer(&certificate);
        self.shown.insert(member, certificate);
        if is_behind {
            self.sign_for(member);
        }
    }

    /// A record that was believed tells of a newer certificate than the one in the handshake.
    pub(super) fn may_be_newer(&mut self, certificate: &MemberCertificate) {
        let Some(shown) = self.shown.get_mut(&certificate.peer) else { return };
        if order(certificate) > order(shown) {
            *shown = certificate.clone();
            self.handle(Input::Recertified(certificate.member()));
        }
    }

    fn send_papers(&self, to: PeerId, papers: &Papers) {
        let (network, body) = (self.network.clone(), cbor::encode(papers));
        self.beside.start(async move {
            // Whoever is gone by now is asked again later.
            let _ = network.send_papers(to, &body).await;
            Done::Answered
        });
    }

    /// Now and then: whose certificate is over, and has told of no newer one, is a neighbour no more.
    pub(super) fn part_with_the_lapsed(&mut self) {
        let now = self.clock.now();
        if now.since(self.renewal.looked) < LOOK_AFTER {
            return;
        }
        self.renewal.looked = now;
        for member in lapsed(self.shown.values(), unix_time().as_secs()) {
            tracing::warn!(peer = ?member, "the certificate of a neighbour is over");
            self.network.disconnect(member, "its certificate is over");
        }
    }

    /// Somebody who signs has given us this, unasked or not.
    fn take_certificate(&mut self, chain: Chain) {
        let (mesh, me) = (self.identity.mesh, self.identity.certificate.peer);
        match chain.verify(mesh, me, unix_time().as_secs()) {
            Ok(certificate) if order(&certificate) > order(&self.identity.certificate) => {
                if self.renewal.is_next(chain, order(&certificate)) {
                    self.keep_next();
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, hint = error.hint(), "the certificate that was signed for this peer is not believed");
                self.renewal.trouble = Some(error.to_string());
            }
        }
    }

    /// On disk first, one after the other: after a restart it must be no older one.
    fn keep_next(&mut self) {
        let newest = order(&self.identity.certificate);
        let Some((chain, _)) = self.renewal.next.take().filter(|(_, newness)| *newness > newest) else { return };
        self.renewal.keeping = true;
        let path = self.config.certificate.clone();
        self.beside.start(async move {
            let bytes = chain.to_bytes();
            let kept = tokio::task::spawn_blocking(move || small_file::replace(&path, &bytes, 0o644)).await;
            match kept {
                Ok(Ok(())) => Done::Kept(Ok(Box::new(chain))),
                Ok(Err(error)) => Done::Kept(Err(error.to_string())),
                Err(error) => Done::Kept(Err(error.to_string())),
            }
        });
    }

    pub(super) fn on_certified(&mut self, signed: Result<Chain, String>) {
        match signed {
            Ok(chain) => self.take_certificate(chain),
            Err(why) => {
                tracing::warn!(why, "this peer cannot renew its own certificate");
                self.renewal.trouble = Some(why);
            }
        }
    }

    /// It is this peer's certificate from now on.
    pub(super) fn on_kept(&mut self, kept: Result<Box<Chain>, String>) {
        self.renewal.keeping = false;
        self.adopt(kept);
        self.keep_next();
    }

    fn adopt(&mut self, kept: Result<Box<Chain>, String>) {
        let adopted = kept.and_then(|chain| {
            let (mesh, me) = (self.identity.mesh, self.identity.certificate.peer);
            let certificate = chain.verify(mesh, me, unix_time().as_secs()).map_err(|error| error.to_string())?;
            self.network.show(&chain).map_err(|error| error.to_string())?;
            Ok((*chain, certificate))
        });
        match adopted {
            Ok((chain, certificate)) => {
                tracing::info!(name = certificate.name, serial = certificate.serial, "this peer has a new certificate");
                self.handle(Input::Recertified(certificate.member()));
                (self.identity.chain, self.identity.certificate) = (chain, certificate);
                self.renewal.is_done();
                self.addresses_changed();
            }
            Err(why) => {
                tracing::warn!(why, "the new certificate of this peer cannot be kept");
                self.renewal.trouble = Some(why);
            }
        }
    }

    /// A user has the issuer vouch for something else.
    pub(super) fn relabel(
        &mut self,
        text: &str,
        change: LabelRequest,
        reply: oneshot::Sender<Result<LabelView, Refusal>>,
    ) {
        let shown = match self.member_to_relabel(text) {
            Ok(shown) => shown,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let (office, network) = (self.office.clone(), self.network.clone());
        let is_own = shown.peer == self.identity.certificate.peer;
        self.beside.start(async move {
            let LabelRequest { set, remove } = change;
            let (chain, issued) = match office.relabel(shown, set, remove).await {
                Ok(signed) => signed,
                Err(error) => {
                    // Whoever asked may have gone, here and below.
                    let _ = reply.send(Err(error.into()));
                    return Done::Answered;
                }
            };
            let papers = cbor::encode(&Papers::Certificate(Box::new(chain.clone())));
            let delivered = is_own || network.send_papers(issued.peer, &papers).await.is_ok();
            let _ = reply.send(Ok(LabelView {
                schema: schema(),
                peer: issued.peer,
                name: issued.name,
                role: issued.role,
                labels: issued.labels,
                delivered,
                expires_unix_s: issued.expires_unix_s,
            }));
            if is_own { Done::Certified(Ok(chain)) } else { Done::Answered }
        });
    }

    fn member_to_relabel(&self, text: &str) -> Result<MemberCertificate, Refusal> {
        let peer = self.peer.find_peer(text)?;
        if peer == self.identity.certificate.peer {
            return Ok(self.identity.certificate.clone());
        }
        if let Some(shown) = self.shown.get(&peer) {
            return Ok(shown.clone());
        }
        // Known by its record alone: what its certificate says beside its dates.
        let view = self.peer.peers(self.clock.now()).into_iter().find(|view| view.peer == peer);
        let view = view.ok_or_else(|| FindError::None { what: "peer", text: text.to_owned() })?;
        let now = unix_time().as_secs();
        Ok(MemberCertificate {
            mesh: self.identity.mesh,
            peer,
            name: view.name,
            role: view.role,
            labels: view.labels,
            not_before_unix_s: now.saturating_sub(crate::joining::CLOCK_SKEW_S),
            expires_unix_s: now.saturating_add(LIFE_S),
            serial: 0,
        })
    }
}

/// Whose certificates are over, whatever clocks differ.
fn lapsed<'a>(shown: impl Iterator<Item = &'a MemberCertificate>, now_unix_s: u64) -> Vec<PeerId> {
    let is_over = |certificate: &&MemberCertificate| {
        now_unix_s >= certificate.expires_unix_s.saturating_add(crate::joining::CLOCK_SKEW_S)
    };
    shown.filter(is_over).map(|certificate| certificate.peer).collect()
}

/// Certificates of one peer in the order they were signed in.
fn order(certificate: &MemberCertificate) -> (u64, u64) {
    (certificate.not_before_unix_s, certificate.serial)
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::{Issuer, SecretKey};
    use shoal_protocol::{MeshId, Role};

    use super::*;

    fn certificate(seed: u8, expires_unix_s: u64) -> MemberCertificate {
        MemberCertificate {
            mesh: MeshId([1; 32]),
            peer: SecretKey::from_bytes(&[seed; 32]).peer(),
            name: "cam".into(),
            role: Role::Edge,
            labels: BTreeMap::new(),
            not_before_unix_s: 0,
            expires_unix_s,
            serial: 1,
        }
    }

    #[test]
    fn a_neighbour_whose_certificate_is_over_for_minutes_is_one_no_more() {
        let (over, just_over, good) = (certificate(1, 1_000), certificate(2, 1_900), certificate(3, u64::MAX));

        assert_eq!(lapsed([&over, &just_over, &good].into_iter(), 2_000), [over.peer]);
    }

    #[test]
    fn while_one_certificate_is_written_the_newest_waits() {
        let chain = certificate(1, 1).sign(&Issuer::of(&SecretKey::from_bytes(&[9; 32])));
        let mut renewal = Renewal::default();
        assert!(renewal.is_next(chain.clone(), (5, 1)));
        (renewal.next, renewal.keeping) = (None, true);

        assert!([(7, 1), (8, 1), (6, 1)].map(|newness| renewal.is_next(chain.clone(), newness)).iter().all(|now| !now));

        assert_eq!(renewal.next.map(|(_, newness)| newness), Some((8, 1)));
    }

    #[test]
    fn whoever_says_too_much_of_certificates_tries_our_patience() {
        let (mut renewal, talker, other) = (Renewal::default(), certificate(1, 1).peer, certificate(2, 1).peer);
        let heard = (0..100).filter(|_| renewal.has_patience_with(talker, Time::ZERO)).count();

        assert_eq!(heard, PAPERS_MAX as usize);
        assert!(renewal.has_patience_with(other, Time::ZERO));
        assert!(renewal.has_patience_with(talker, Time::ZERO + PAPERS_WINDOW), "it is over in time");
    }
}
