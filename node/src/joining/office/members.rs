//! What is signed for those who are members: their next certificates, other labels, and the list of who is none any more.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::api::MemberView;
use shoal_protocol::certificate::joining::Refused;
use shoal_protocol::certificate::{self as certificates, Chain, MemberCertificate, RevocationList, SignedRevocations};

use super::super::error::OfficeError;
use super::super::issuer::Signer;
use super::super::ledger::Issued;
use super::Office;
use crate::driver::unix_time;

impl Office {
    /// For whom this peer has signed.
    pub(crate) async fn members(&self) -> Result<Vec<MemberView>, OfficeError> {
        self.attempt(|office| Ok(office.ledger().issued.values().map(Issued::view).collect())).await
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

    fn sign_next(&self, shown: &MemberCertificate) -> Result<Chain, OfficeError> {
        self.may_be_a_member(shown.peer)?;
        let now = unix_time().as_secs();
        let signer = Signer::read(&self.0.dir, self.0.mesh, now)?;
        let known = self.ledger().issued.get(&shown.peer).cloned();
        // Signed already, and the member has not got it: nothing is to be noted.
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
            return Ok(signer.sign(&known.certificate(self.0.mesh), now)?);
        }
        let ends = signer.certificate.expires_unix_s;
        let (chain, issued) = self.change(|ledger| {
            // Looked at again: labels may have been changed meanwhile, and what was acknowledged stays.
            let known = ledger.issued.get(&shown.peer).cloned();
            if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
                return Ok((signer.sign(&known.certificate(self.0.mesh), now)?, None));
            }
            let last = known.unwrap_or_else(|| Issued::of(shown));
            if ends <= last.expires_unix_s {
                let why = "its own certificate ends no later than the one that is to be renewed".to_owned();
                return Err(Refused::NoIssuer { why }.into());
            }
            let issued = ledger.sign_anew(last, now, ends);
            Ok((signer.sign(&issued.certificate(self.0.mesh), now)?, Some(issued)))
        })?;
        if let Some(issued) = issued {
            self.has_signed(&issued, "renewed");
        }
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
}
