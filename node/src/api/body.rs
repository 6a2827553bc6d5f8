//! JSON in and out, with one pass each way and errors of our form.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::api::codes;

use super::problem::{ApiError, ApiResult};

/// An answer.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => ApiError::new(
                codes::INTERNAL,
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the answer cannot be written as JSON: {error}"),
                "report this",
            )
            .into_response(),
        }
    }
}

/// Reads a body that is JSON, whatever its content type says.
pub(super) fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>, limit: usize) -> ApiResult<T> {
    let body = body.map_err(|rejection| too_large_or_broken(&rejection, limit))?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("the body is not the JSON this route wants", "correct it and send it again")
            .because(error.to_string())
    })
}

/// Refuses what announces itself as too large, before it is sent.
pub(super) fn check_announced(headers: &HeaderMap, limit: u64) -> ApiResult<()> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit) { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large_or_broken(rejection: &BytesRejection, limit: usize) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large(limit as u64);
    }
    ApiError::bad_request("the body did not arrive", "send it again").because(rejection.body_text())
}

pub(super) fn too_large(limit: u64) -> ApiError {
    ApiError::new(
        codes::TOO_LARGE,
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is over the limit of {limit} bytes"),
        "store large inputs as blobs (`shoal blob put`) and name them in the task",
    )
}
