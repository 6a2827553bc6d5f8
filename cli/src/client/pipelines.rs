//! Pipelines.

use core::time::Duration;

use hyper::Method;
use shoal_protocol::api::{Listing, PipelineRequest, PipelineView, PlanView};

use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError};

impl Client {
    /// Hands in a pipeline and returns once it is on the daemon's disk.
    pub async fn submit_pipeline(&self, request: &PipelineRequest) -> Result<PipelineView, ClientError> {
        debug_assert!(!request.dry_run, "a dry run is answered by a plan");
        self.post("/v1/pipelines", Body::json(request)).await
    }

    /// Where the tasks of a pipeline would run if it were handed in now.
    pub async fn plan(&self, request: PipelineRequest) -> Result<PlanView, ClientError> {
        let request = PipelineRequest { dry_run: true, ..request };
        self.post("/v1/pipelines", Body::json(&request)).await
    }

    /// The newest `limit` pipelines of this peer's users, newest first.
    pub async fn pipelines(&self, limit: usize) -> Result<Listing<PipelineView>, ClientError> {
        self.get(&format!("/v1/pipelines?limit={limit}")).await
    }

    /// A pipeline, by id, unique prefix or `last`: when it has ended, or as it is after `wait`.
    pub async fn pipeline(&self, id: &str, wait: Duration) -> Result<PipelineView, ClientError> {
        let path = format!("/v1/pipelines/{}?wait_ms={}", encode(id), wait.as_millis());
        self.within(self.timeout + wait, self.pool.send(Method::GET, &path, Body::empty())).await
    }

    /// Withdraws a pipeline.
    pub async fn cancel_pipeline(&self, id: &str) -> Result<PipelineView, ClientError> {
        self.post(&format!("/v1/pipelines/{}/cancel", encode(id)), Body::empty()).await
    }
}
