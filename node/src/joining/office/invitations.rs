//! Invitations: made with their tickets, listed and withdrawn.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use shoal_protocol::api::{InvitationView, schema};
use shoal_protocol::certificate::joining::{InvitationId, InvitationSecret};
use shoal_protocol::certificate::{Role, TICKET_ADDRESSES_MAX, Ticket};
use zeroize::Zeroizing;

use super::super::error::OfficeError;
use super::super::issuer::Signer;
use super::super::ledger::Open;
use super::Office;
use crate::driver::unix_time;

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

impl Office {
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
