//! Who is a member of the mesh, comes to be one, and is one no more.

use shoal_protocol::api::{
    InvitationRequest, InvitationView, JoinerView, LabelRequest, LabelView, Listing, MemberView, RevocationsView,
    RevokeRequest,
};
use shoal_protocol::certificate::SignedRevocations;

use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError};

impl Client {
    /// For whom the daemon has signed, if it may.
    pub async fn members(&self) -> Result<Listing<MemberView>, ClientError> {
        self.get("/v1/members").await
    }

    /// Who is a member of the mesh no more.
    pub async fn revocations(&self) -> Result<RevocationsView, ClientError> {
        self.get("/v1/revocations").await
    }

    /// Hands in a revocation list; it holds at the daemon when this returns.
    pub async fn revoke(&self, list: &SignedRevocations) -> Result<RevocationsView, ClientError> {
        self.post("/v1/revocations", Body::json(&RevokeRequest::of(list))).await
    }

    /// Makes an invitation, with its ticket.
    pub async fn invite(&self, request: &InvitationRequest) -> Result<InvitationView, ClientError> {
        self.post("/v1/invitations", Body::json(request)).await
    }

    /// The invitations this peer has made.
    pub async fn invitations(&self) -> Result<Listing<InvitationView>, ClientError> {
        self.get("/v1/invitations").await
    }

    /// Lets nobody in by an invitation any more; its id, or the beginning of it.
    pub async fn withdraw(&self, id: &str) -> Result<(), ClientError> {
        self.order(&format!("/v1/invitations/{}/withdraw", encode(id))).await
    }

    /// The machines that wait to be let in.
    pub async fn joiners(&self) -> Result<Listing<JoinerView>, ClientError> {
        self.get("/v1/joiners").await
    }

    /// Lets one in.
    pub async fn approve(&self, number: u64) -> Result<(), ClientError> {
        self.order(&format!("/v1/joiners/{number}/approve")).await
    }

    /// Keeps one out.
    pub async fn deny(&self, number: u64) -> Result<(), ClientError> {
        self.order(&format!("/v1/joiners/{number}/deny")).await
    }

    /// Changes what the issuer vouches for.
    pub async fn label(&self, peer: &str, change: &LabelRequest) -> Result<LabelView, ClientError> {
        self.post(&format!("/v1/peers/{}/label", encode(peer)), Body::json(change)).await
    }
}
