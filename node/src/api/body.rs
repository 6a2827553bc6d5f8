//! JSON in and out, with one pass each way and errors of our form.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::api::codes;
use shoal_protocol::config::INPUT_BYTES_MAX;
use tokio::time::timeout;

use super::problem::{ApiError, ApiResult};

/// Of a body that is too large, so much is read before it is refused: four times what any may have.
const PASSED_OVER_MAX: u64 = 4 * INPUT_BYTES_MAX;
const PASSED_OVER_PAUSE: Duration = Duration::from_secs(2);

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

/// Reads a body of at most so many bytes that is JSON, whatever its content type says.
pub(super) async fn read<T: DeserializeOwned>(request: Request, limit: usize) -> ApiResult<T> {
    let body = read_up_to(request, limit).await?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("the body is not the JSON this route wants", "correct it and send it again")
            .because(error.to_string())
    })
}

/// How long a body is, as its sender says.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// All of a body, which has at most so many bytes.
pub(super) async fn read_up_to(request: Request, limit: usize) -> ApiResult<Bytes> {
    if announced(request.headers()).is_some_and(|bytes| bytes > limit as u64) {
        pass_over(request).await;
        return Err(too_large(limit as u64));
    }
    let mut body = BytesMut::new();
    let mut pieces = request.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            ApiError::bad_request("the body did not arrive", "send it again").because(error.to_string())
        })?;
        if body.len().saturating_add(piece.len()) > limit {
            pass_over_rest(pieces).await;
            return Err(too_large(limit as u64));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Before a request is refused: who is still writing does not read an answer, and would take a connection that is closed for a daemon
/// that died. Not that of one who asks before it writes.
pub(super) async fn pass_over(request: Request) {
    if !request.headers().contains_key(header::EXPECT) {
        pass_over_rest(request.into_body().into_data_stream()).await;
    }
}

/// The same of what is left of a body.
pub(super) async fn pass_over_rest(mut pieces: BodyDataStream) {
    let mut left = PASSED_OVER_MAX;
    // Who pauses has stopped writing.
    while let Ok(Some(Ok(piece))) = timeout(PASSED_OVER_PAUSE, pieces.next()).await {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            return;
        }
    }
}

pub(super) fn too_large(limit: u64) -> ApiError {
    ApiError::new(
        codes::TOO_LARGE,
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is over the limit of {limit} bytes"),
        "store large inputs as blobs (`shoal blob put`) and name them in the task",
    )
}
