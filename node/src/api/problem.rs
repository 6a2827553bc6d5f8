//! Errors as HTTP answers: `application/problem+json` with a stable code, the reason and the fix.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shoal_protocol::api::{Problem, codes};
use shoal_protocol::output::TaskError;
use shoal_protocol::privacy::Refused;
use shoal_protocol::rules::RulesError;
use shoal_protocol::service::DeployError;
use shoal_protocol::task::spec::SpecError;
use shoal_protocol::{BlobId, FindError};

use crate::blobs::BlobError;
use crate::driver::handle::Refusal;
use crate::joining::OfficeError;

/// A request that has no answer.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Problem);

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: &str, status: StatusCode, title: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(Problem {
            code: code.into(),
            status: status.as_u16(),
            title: title.into(),
            detail: String::new(),
            hint: hint.into(),
            retryable: false,
            retry_after_ms: None,
        })
    }

    pub(crate) fn bad_request(title: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(codes::BAD_REQUEST, StatusCode::BAD_REQUEST, title, hint)
    }

    pub(crate) fn no_blob(id: BlobId, what: &str) -> Self {
        let title = format!("{what} {id} is not in this peer's store");
        Self::new(codes::NO_BLOB, StatusCode::NOT_FOUND, title, "store it first: `shoal blob put FILE`")
    }

    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same, saying of what it is.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.0.title = format!("{place}: {}", self.0.title);
        self
    }

    pub(crate) fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.0.retryable = true;
        self.0.retry_after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(ms) = self.0.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let title = refusal.to_string();
        match refusal {
            Refusal::Find(error) => not_found(&error),
            Refusal::Task(error) => of_task(&error),
            Refusal::TooManyWaiters => {
                Self::new(codes::OVERLOADED, StatusCode::TOO_MANY_REQUESTS, title, "ask again in a moment")
                    .retry_after(None)
            }
            Refusal::KeptLess { .. } => {
                let hint = "use another key, or ask for no more than the first time (`--durable`; `shoal run` promises nothing)";
                Self::new(codes::KEPT_LESS, StatusCode::CONFLICT, title, hint)
            }
            Refusal::KeyTaken { .. } => {
                let hint = "use another key: one names one task, for as long as that is kept";
                Self::new(codes::KEY_TAKEN, StatusCode::CONFLICT, title, hint)
            }
            Refusal::NoBlob { id, why } => Self::new(
                codes::NO_BLOB,
                StatusCode::NOT_FOUND,
                format!("blob {id} could not be had"),
                "name a peer that holds it with `--from PEER`, or store it with `shoal blob put FILE`",
            )
            .because(why),
            Refusal::Revocations(error) => Self::new(codes::DENIED, StatusCode::FORBIDDEN, title, error.hint()),
            Refusal::NotKept(_) => {
                let hint = "make room there, and run it again; other peers have written it down";
                Self::new(codes::STORE, StatusCode::INSUFFICIENT_STORAGE, title, hint).retry_after(None)
            }
            Refusal::Rules(error) => {
                let hint = match &error {
                    RulesError::Signature(_) => {
                        "deploy them with the issuer's key of this mesh: `shoal policy deploy FILE`"
                    }
                    RulesError::Rules(_) => "correct the file, and look at it with `shoal policy lint FILE`",
                };
                Self::new(codes::POLICY_DENIED, StatusCode::FORBIDDEN, title, hint)
            }
            Refusal::OldRules { .. } => {
                let hint = "`shoal policy show` prints what is in force; deploying takes the next version by itself";
                Self::new(codes::POLICY_OLD, StatusCode::CONFLICT, title, hint)
            }
            Refusal::RulesNotKept(_) => Self::new(
                codes::STORE,
                StatusCode::INSUFFICIENT_STORAGE,
                title,
                "make room there, and deploy them again",
            )
            .retry_after(None),
            Refusal::NoService(_) => {
                Self::new(codes::NO_SERVICE, StatusCode::NOT_FOUND, title, "see those there are: `shoal service ls`")
            }
            Refusal::Service(DeployError::Signature(_)) => {
                let hint = "deploy it where issuer.key is, or at a peer whose certificate has the label deploy=NAME";
                Self::new(codes::SERVICE_DENIED, StatusCode::FORBIDDEN, title, hint)
            }
            Refusal::Service(DeployError::Record(error)) => {
                Self::new(codes::BAD_SERVICE, StatusCode::BAD_REQUEST, title, error.hint())
            }
            Refusal::OldService { .. } => {
                let hint = "somebody else has deployed it meanwhile: see `shoal service show NAME`, and do it again";
                Self::new(codes::SERVICE_OLD, StatusCode::CONFLICT, title, hint)
            }
            Refusal::TooManyServices => {
                let hint = "remove one that nobody calls: `shoal service ls`, `shoal service remove NAME`";
                Self::new(codes::TOO_MANY_SERVICES, StatusCode::CONFLICT, title, hint)
            }
            Refusal::ServiceNotKept(_) => {
                let hint = "make room there, and deploy it again";
                Self::new(codes::STORE, StatusCode::INSUFFICIENT_STORAGE, title, hint).retry_after(None)
            }
            Refusal::IsMe => Self::bad_request(title, "name another peer; `shoal peers` lists them"),
            Refusal::Forgotten => {
                Self::new(codes::NO_TASK, StatusCode::GONE, title, "`shoal task ls` lists the tasks that are kept")
            }
            Refusal::NoEntropy(_) => {
                Self::new(codes::INTERNAL, StatusCode::INTERNAL_SERVER_ERROR, title, "try again").retry_after(None)
            }
            Refusal::Stopping => stopping(title),
            Refusal::Office(error) => error.into(),
        }
    }
}

fn stopping(title: String) -> ApiError {
    let hint = "start it again, or submit at another peer";
    ApiError::new(codes::SHUTTING_DOWN, StatusCode::SERVICE_UNAVAILABLE, title, hint).retry_after(None)
}

fn not_found(error: &FindError) -> ApiError {
    let what = match error {
        FindError::None { what, .. } | FindError::Ambiguous { what, .. } => *what,
    };
    let (code, hint) = match what {
        "pipeline" => (codes::NO_PIPELINE, "`shoal pipeline status` lists the pipelines of this peer"),
        "task" => {
            let hint = "`shoal task ls` lists those of this peer; one of another peer is found by its whole id while that is within reach";
            (codes::NO_TASK, hint)
        }
        _ => (codes::NO_PEER, "`shoal peers` lists the peers this one knows"),
    };
    match error {
        FindError::None { .. } => ApiError::new(code, StatusCode::NOT_FOUND, error.to_string(), hint),
        FindError::Ambiguous { .. } => {
            ApiError::new(codes::AMBIGUOUS, StatusCode::CONFLICT, error.to_string(), "write more of its id")
        }
    }
}

/// Tasks that were never taken on; those that failed later are views with a problem inside.
fn of_task(error: &TaskError) -> ApiError {
    let title = error.to_string();
    match error {
        TaskError::Overloaded { retry_after, .. } => {
            let hint = "wait, or cancel tasks nobody needs: `shoal task ls`";
            ApiError::new(codes::OVERLOADED, StatusCode::TOO_MANY_REQUESTS, title, hint).retry_after(Some(*retry_after))
        }
        TaskError::ShuttingDown => stopping(title),
        TaskError::NoCandidate { .. } => {
            let hint = "see who was excluded and why: `shoal explain last`";
            ApiError::new(codes::NO_CANDIDATE, StatusCode::SERVICE_UNAVAILABLE, title, hint).retry_after(None)
        }
        TaskError::AllDeclined { .. } => {
            let hint = "see every answer: `shoal explain last`";
            ApiError::new(codes::ALL_DECLINED, StatusCode::SERVICE_UNAVAILABLE, title, hint).retry_after(None)
        }
        TaskError::Cancelled => ApiError::new(codes::CANCELLED, StatusCode::CONFLICT, title, "submit it again"),
        TaskError::AttemptsExhausted { .. } => {
            let hint = "see each attempt: `shoal explain last`";
            ApiError::new(codes::ATTEMPTS_EXHAUSTED, StatusCode::SERVICE_UNAVAILABLE, title, hint).retry_after(None)
        }
        TaskError::NotStored { .. }
        | TaskError::Residency { .. }
        | TaskError::Unverified { .. }
        | TaskError::NoGuardian { .. }
        | TaskError::RevocationsStale
        | TaskError::DeadlinePassed { .. }
        | TaskError::RecordDamaged { .. } => ApiError(shoal_protocol::task::problem::of_error(error)),
    }
}

impl From<SpecError> for ApiError {
    fn from(error: SpecError) -> Self {
        let (code, status) = match error {
            SpecError::TooLarge { .. } => (codes::TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE),
            SpecError::Variants { .. } | SpecError::Number { .. } | SpecError::Inaccurate { .. } => {
                (codes::BAD_REQUEST, StatusCode::BAD_REQUEST)
            }
        };
        Self::new(code, status, error.to_string(), error.hint())
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        let (code, status) = match error {
            BlobError::NotFound { .. } => (codes::NO_BLOB, StatusCode::NOT_FOUND),
            BlobError::WrongContent { .. } | BlobError::WrongSize { .. } => {
                (codes::BAD_REQUEST, StatusCode::BAD_REQUEST)
            }
            BlobError::Arriving { .. }
            | BlobError::InUse { .. }
            | BlobError::Manifest { .. }
            | BlobError::Sealed { .. } => (codes::IN_USE, StatusCode::CONFLICT),
            BlobError::NoRoom { .. } | BlobError::TooManyHeld { .. } | BlobError::DiskFull { .. } => {
                (codes::STORE, StatusCode::INSUFFICIENT_STORAGE)
            }
            BlobError::Corrupt { .. }
            | BlobError::HoldsDamaged { .. }
            | BlobError::KeyMissing { .. }
            | BlobError::WrongKey { .. }
            | BlobError::KeyExposed { .. }
            | BlobError::KeyDamaged { .. }
            | BlobError::Io { .. } => (codes::STORE, StatusCode::INTERNAL_SERVER_ERROR),
        };
        Self::new(code, status, error.to_string(), error.hint())
    }
}

impl From<OfficeError> for ApiError {
    fn from(error: OfficeError) -> Self {
        let (code, status) = match &error {
            OfficeError::Issuer(_) => (codes::NO_ISSUER, StatusCode::FORBIDDEN),
            OfficeError::Ledger(_) => (codes::STORE, StatusCode::INTERNAL_SERVER_ERROR),
            OfficeError::Full(_) => (codes::OVERLOADED, StatusCode::TOO_MANY_REQUESTS),
            OfficeError::NoAddress => (codes::BAD_REQUEST, StatusCode::CONFLICT),
            OfficeError::NoEntropy(_) | OfficeError::CutShort(_) => {
                (codes::INTERNAL, StatusCode::INTERNAL_SERVER_ERROR)
            }
            OfficeError::NoInvitation => (codes::NO_INVITATION, StatusCode::NOT_FOUND),
            OfficeError::Refused(_) => (codes::DENIED, StatusCode::FORBIDDEN),
        };
        Self::new(code, status, error.to_string(), error.hint())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::NoDataset { .. } => StatusCode::NOT_FOUND,
            Refused::Spent(_) => StatusCode::FORBIDDEN,
            Refused::DeclaredOtherwise { .. } => StatusCode::CONFLICT,
            Refused::BadDeclaration { .. }
            | Refused::BadQuery { .. }
            | Refused::OtherData { .. }
            | Refused::BadData { .. } => StatusCode::BAD_REQUEST,
            Refused::Full { .. } | Refused::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refused::Away { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Trouble { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let error = Self::new(refused.code(), status, refused.to_string(), refused.hint());
        match &refused {
            Refused::Spent(spent) if spent.ends_in_s.is_some() => {
                error.retry_after(spent.ends_in_s.map(Duration::from_secs))
            }
            refused if refused.is_retryable() => error.retry_after(None),
            _ => error,
        }
    }
}

/// Work on a blocking thread was cut short.
impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(codes::INTERNAL, StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not finish this", "try again")
            .because(error.to_string())
            .retry_after(None)
    }
}
