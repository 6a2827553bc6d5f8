//! Services, and calls of them.

use core::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use shoal_protocol::api::Listing;
use shoal_protocol::api::services::{
    PEER_HEADER, RUN_HEADER, ServiceRequest, ServiceView, TASK_HEADER, VERSION_HEADER,
};
use shoal_protocol::service::SignedService;

use super::answer::{ANSWER_BYTES_MAX, problem};
use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError, Download};

/// How a service is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Calls with the same key get the same version, as long as its share does not shrink.
    pub key: Option<String>,
    /// Only at this peer.
    pub peer: Option<String>,
    /// When the answer is wanted.
    pub deadline: Option<Duration>,
}

impl CallOptions {
    fn path(&self, name: &str) -> String {
        let text = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={}", encode(value)));
        let deadline = self
            .deadline
            .map(|deadline| format!("deadline_ms={}", u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)));
        let said = [text("key", &self.key), text("peer", &self.peer), deadline];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("&");
        let mark = if said.is_empty() { "" } else { "?" };
        format!("/v1/services/{}/call{mark}{said}", encode(name))
    }
}

/// What a service answered.
#[derive(Debug)]
pub struct Answered {
    /// Which version ran.
    pub version: u64,
    /// How long the module ran.
    pub run: Duration,
    /// Where.
    pub peer: String,
    /// The task that the call was.
    pub task: String,
    /// What it wrote.
    pub output: Download,
}

impl Answered {
    /// What it wrote, as a whole.
    pub async fn bytes(self) -> Result<Bytes, ClientError> {
        self.output.bytes(ANSWER_BYTES_MAX).await
    }
}

impl Client {
    /// The services of the mesh, as the daemon knows them.
    pub async fn services(&self) -> Result<Listing<ServiceView>, ClientError> {
        self.get("/v1/services").await
    }

    /// One of them; with `removed`, also one that is there no more.
    pub async fn service(&self, name: &str, removed: bool) -> Result<ServiceView, ClientError> {
        self.get(&format!("/v1/services/{}?removed={removed}", encode(name))).await
    }

    /// Hands in the record of a service; it is in force at the daemon when this returns.
    pub async fn deploy_service(&self, signed: &SignedService) -> Result<ServiceView, ClientError> {
        self.post("/v1/services", Body::json(&ServiceRequest::of(signed))).await
    }

    /// Calls a service, and returns when its answer begins; takes as long as the call does.
    pub async fn call(&self, name: &str, how: &CallOptions, input: impl Into<Bytes>) -> Result<Answered, ClientError> {
        let path = how.path(name);
        let answer = self.pool.send(Method::POST, &path, Body::full(input.into())).await?;
        if !answer.status().is_success() {
            return Err(problem(answer).await);
        }
        let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let text = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        Ok(Answered {
            version: number(VERSION_HEADER),
            run: Duration::from_micros(number(RUN_HEADER)),
            peer: text(PEER_HEADER),
            task: text(TASK_HEADER),
            output: answer,
        })
    }
}
