//! What the daemon answers, and whether it can be believed to mean what we read.
//!
//! **Invariant:** an answer whose schema is not ours is never interpreted.

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use shoal_protocol::api::flow::FlowView;
use shoal_protocol::api::policy::PolicyView;
use shoal_protocol::api::services::ServiceView;
use shoal_protocol::api::{
    BlobStat, BlobView, ConfigView, DatasetView, InvitationView, LabelView, Listing, PingView, PipelineView, PlanView,
    PolicyCheck, Problem, RevocationsView, RttView, SCHEMA, Status, StreamView, TakenView, TaskView,
};
use shoal_protocol::placement::explain::Decision;
use shoal_protocol::privacy::Release;

use super::{ClientError, Download};

/// A JSON answer larger than this is not one of ours.
pub(super) const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The error an answer stands for.
pub(super) async fn problem(answer: Download) -> ClientError {
    let status = answer.status();
    match answer.bytes(ANSWER_BYTES_MAX).await {
        Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Malformed { why: unexpected(status) },
        },
        Err(error) => error,
    }
}

fn unexpected(status: StatusCode) -> String {
    format!("HTTP status {status} without a problem document")
}

pub(super) fn parse<T: Answer>(bytes: &[u8]) -> Result<T, ClientError> {
    #[derive(serde::Deserialize)]
    struct Probe {
        #[serde(default)]
        schema: Option<String>,
    }

    let read = serde_json::from_slice::<T>(bytes);
    match read {
        Ok(answer) if answer.schema().is_none_or(|schema| schema == SCHEMA) => Ok(answer),
        Ok(answer) => Err(ClientError::Schema { theirs: answer.schema().unwrap_or_default().to_owned() }),
        // Fields of another schema may not fit ours at all, so its name is read by itself.
        Err(error) => match serde_json::from_slice::<Probe>(bytes) {
            Ok(Probe { schema: Some(theirs) }) if theirs != SCHEMA => Err(ClientError::Schema { theirs }),
            Ok(_) | Err(_) => Err(ClientError::Malformed { why: error.to_string() }),
        },
    }
}

/// An answer of the API; most say which schema they are of.
pub(super) trait Answer: DeserializeOwned {
    fn schema(&self) -> Option<&str>;
}

macro_rules! answers_with_schema {
    ($($name:ty),*) => {$(
        impl Answer for $name {
            fn schema(&self) -> Option<&str> {
                Some(&self.schema)
            }
        }
    )*};
}

answers_with_schema!(
    Status,
    BlobStat,
    PingView,
    RttView,
    RevocationsView,
    PolicyView,
    ServiceView,
    FlowView,
    TaskView,
    PipelineView,
    PlanView,
    StreamView,
    TakenView,
    BlobView,
    PolicyCheck,
    ConfigView,
    InvitationView,
    LabelView,
    DatasetView,
    Release
);

impl<T: DeserializeOwned> Answer for Listing<T> {
    fn schema(&self) -> Option<&str> {
        Some(&self.schema)
    }
}

impl Answer for Decision {
    fn schema(&self) -> Option<&str> {
        None
    }
}
