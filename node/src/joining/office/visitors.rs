//! A machine with a ticket knocks: it is refused, waits for a person, or is let in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shoal_protocol::PeerId;
use shoal_protocol::certificate::joining::{APPROVAL_MAX_S, EXPORTER_BYTES, JoinAnswer, JoinRequest, Refused, Welcome};

use super::super::error::OfficeError;
use super::super::issuer::Signer;
use super::super::ledger::Ledger;
use super::super::pending::{Joiner, Place, Verdict};
use super::super::six_words;
use super::Office;
use crate::driver::unix_time;

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

impl Office {
    /// What a visitor is told.
    pub(crate) async fn knock(&self, visitor: Visitor) -> Decision {
        self.on_thread(move |office| office.decide_on(visitor)).await
    }

    async fn on_thread<T: Send + FromTrouble + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&office)).await;
        done.unwrap_or_else(|error| T::from_trouble(error.to_string()))
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
}

/// The answer to a visitor, or to a member that asks.
fn refused(why: Refused) -> JoinAnswer {
    JoinAnswer::Refused { why, clock_unix_s: unix_time().as_secs() }
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
