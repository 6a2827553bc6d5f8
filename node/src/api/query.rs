//! What a query may say of any listing, and of anything that has an end.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// Longest that one request waits for the end of something.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a query says; what it cannot say is refused like everything else.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let said = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(said) = said.map_err(|rejection| {
            ApiError::bad_request("the query says what this route does not take", "correct it and ask again")
                .because(rejection.body_text())
        })?;
        Ok(Self(said))
    }
}

/// How much of a listing is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
}

impl Page {
    /// So many, or what is usual where nobody says.
    pub(super) fn limit(&self, usual: usize) -> usize {
        self.limit.unwrap_or(usual)
    }
}

/// How long a request waits for an end.
#[derive(Debug, Deserialize)]
pub(super) struct Patience {
    #[serde(default)]
    wait_ms: u64,
}

impl Patience {
    pub(super) fn time(&self) -> Duration {
        Duration::from_millis(self.wait_ms).min(WAIT_MAX)
    }
}
