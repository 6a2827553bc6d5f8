//! Business rules, what flows, and what they let happen.

use shoal_protocol::api::flow::FlowView;
use shoal_protocol::api::policy::{DeployRequest, PolicyView};
use shoal_protocol::api::{PolicyCheck, PolicyCheckRequest};
use shoal_protocol::rules::SignedRules;

use super::body::Body;
use super::{Client, ClientError};

impl Client {
    /// The business rules in force at the daemon.
    pub async fn policy(&self) -> Result<PolicyView, ClientError> {
        self.get("/v1/policy").await
    }

    /// Hands in business rules; they are in force at the daemon when this returns.
    pub async fn deploy(&self, signed: &SignedRules) -> Result<PolicyView, ClientError> {
        self.post("/v1/policy", Body::json(&DeployRequest::of(signed))).await
    }

    /// What flows out of the daemon's peer.
    pub async fn flow(&self) -> Result<FlowView, ClientError> {
        self.get("/v1/flow").await
    }

    /// Who might run a task or a pipeline on its data; nothing moves.
    pub async fn check_policy(&self, request: &PolicyCheckRequest) -> Result<PolicyCheck, ClientError> {
        self.post("/v1/policy/check", Body::json(request)).await
    }
}
