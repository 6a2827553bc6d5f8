//! Streams: started, shown, stopped, and fed.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shoal_protocol::api::{Listing, StreamRequest, StreamView, TakenView, codes, schema};
use shoal_protocol::stream::{Mark, RECORD_BYTES_MAX, StreamSpec, StreamWork, digest};

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::query::Query;
use super::{Api, pipelines, spec};
use crate::streams::{NotTaken, StreamError, Taken};

/// A definition with its pipeline.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records that are handed in at once.
const RECORDS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The same in lines.
const LINES_MAX: usize = 32_768;
/// How long a caller waits until its records are on disk, here and where else they must be.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// When a stream that is full may have room again.
const ROOM_AFTER: Duration = Duration::from_secs(1);
/// The input of a pipeline that a window is, where nobody says.
const WINDOW: &str = "window";

pub(super) async fn start(State(api): State<Api>, request: Request) -> ApiResult<Response> {
    let request: StreamRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    let spec = build(&api, request).await?;
    let view = api.streams.start(spec).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

async fn build(api: &Api, request: StreamRequest) -> ApiResult<StreamSpec> {
    let StreamRequest { name, source, window, task, pipeline, input, sink, late, durable } = request;
    let work = match (task, pipeline) {
        (Some(mut task), None) => {
            if !task.inputs.is_empty() || task.peer.is_some() {
                return Err(bad("the task of a stream has no inputs and no `peer`", "leave them out; use `labels`"));
            }
            if !task.residency.is_empty() || !task.class.is_empty() {
                return Err(labelled());
            }
            StreamWork::Task(Box::new(spec::build(api, &mut task).await?))
        }
        (None, Some(mut pipeline)) => {
            let input = input.unwrap_or_else(|| WINDOW.to_owned());
            if !pipeline.labels.is_empty() || pipeline.stages.iter().any(|stage| !stage.task.residency.is_empty()) {
                return Err(labelled());
            }
            pipeline.inputs.entry(input.clone()).or_default();
            let (spec, pinned) = pipelines::build(api, &mut pipeline, true).await?;
            if pinned.iter().any(Option::is_some) {
                return Err(bad("a stage of a stream cannot be pinned to a peer", "use `labels`"));
            }
            StreamWork::Pipeline { spec: Box::new(spec), input }
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(bad("a stream needs one of `task` and `pipeline`", "say what is run on each window"));
        }
    };
    Ok(StreamSpec { name, source, window, work, sink, late, durable: durable.unwrap_or(1) })
}

/// Records go to a successor, which is not chosen by what they are: so nothing may be said of them yet.
fn labelled() -> ApiError {
    bad(
        "the records of a stream cannot be labelled",
        "leave out `residency`; put labelled data in as blobs, and run a pipeline over those",
    )
}

fn bad(title: &str, hint: &str) -> ApiError {
    ApiError::new(codes::BAD_STREAM, StatusCode::BAD_REQUEST, title, hint)
}

pub(super) async fn list(State(api): State<Api>) -> Json<Listing<StreamView>> {
    Json(Listing::new(api.streams.list().await))
}

pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> ApiResult<Json<StreamView>> {
    Ok(Json(api.streams.view(&name).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct Stop {
    #[serde(default)]
    forget: bool,
}

pub(super) async fn stop(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Stop { forget }): Query<Stop>,
) -> ApiResult<Json<StreamView>> {
    Ok(Json(api.streams.stop(&name, forget).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct Feed {
    feed: Option<String>,
    #[serde(default)]
    from: u64,
}

pub(super) async fn records(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Feed { feed, from }): Query<Feed>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<Json<TakenView>> {
    let body = body::read_up_to(request, RECORDS_BYTES_MAX).await?;
    let records = lines(&body)?;
    let count = records.len() as u64;
    let mark = match (&feed, headers.get("idempotency-key")) {
        (Some(feed), None) => Some(Mark::Feed(digest(&[feed.as_bytes()]), from.saturating_add(count))),
        (None, Some(key)) => {
            spec::check_key(key.to_str().ok())?;
            Some(Mark::Key(digest(&[b"a", key.as_bytes()]), digest(&[b"b", key.as_bytes()])))
        }
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("a feed has no idempotency key", "its lines are known by their number"));
        }
    };
    let handed_in = tokio::time::timeout(TAKEN_TIMEOUT, api.streams.hand_in(&name, records, mark)).await;
    let Taken { records, place, known } = handed_in.map_err(|_| not_yet(&name))??;
    Ok(Json(TakenView { schema: schema(), taken: records, known: known && count > 0, feed_lines: feed.map(|_| place) }))
}

fn not_yet(name: &str) -> ApiError {
    let hint = "hand them in again, with the same key: it is not known whether they were taken";
    let title = format!("stream `{name}` has not written the records down in time");
    ApiError::new(codes::OVERLOADED, StatusCode::SERVICE_UNAVAILABLE, title, hint).retry_after(Some(ROOM_AFTER))
}

/// Each line is a record; what follows the last end of a line is one, too.
fn lines(body: &Bytes) -> ApiResult<Vec<Bytes>> {
    let mut records = Vec::new();
    let mut rest = body.clone();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let mut line = rest.split_to(end.unwrap_or(rest.len()));
        if end.is_some() {
            let _end = rest.split_to(1);
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > RECORD_BYTES_MAX {
            return Err(body::too_large(RECORD_BYTES_MAX as u64).at(&format!("line {}", records.len() + 1)));
        }
        records.push(line);
        if records.len() > LINES_MAX {
            let title = format!("more than {LINES_MAX} records at once");
            return Err(ApiError::bad_request(title, "hand them in in several requests"));
        }
    }
    Ok(records)
}

impl From<StreamError> for ApiError {
    fn from(error: StreamError) -> Self {
        let title = error.to_string();
        let new = |code: &str, status, hint: &str| Self::new(code, status, title.clone(), hint);
        match error {
            StreamError::Unknown(_) => {
                new(codes::NO_STREAM, StatusCode::NOT_FOUND, "see those there are: `shoal stream ls`")
            }
            StreamError::NotRunning(name) => {
                let hint = format!("see why: `shoal stream status {name}`");
                new(codes::NO_STREAM, StatusCode::CONFLICT, &hint).retry_after(Some(ROOM_AFTER))
            }
            StreamError::Different(name) => {
                let hint = format!("`shoal stream stop {name} --forget` ends that one for good");
                new(codes::BAD_STREAM, StatusCode::CONFLICT, &hint)
            }
            StreamError::Elsewhere { .. } => new(codes::BAD_STREAM, StatusCode::CONFLICT, "ask that peer's daemon"),
            StreamError::NotFed(_) => {
                new(codes::BAD_STREAM, StatusCode::CONFLICT, "only those with the source `http` or `stdin` are fed")
            }
            StreamError::Full(_) => {
                let hint = "wait, then hand in the same records again";
                new(codes::OVERLOADED, StatusCode::TOO_MANY_REQUESTS, hint).retry_after(Some(ROOM_AFTER))
            }
            StreamError::TooMany => {
                let hint = "stop one with --forget: `shoal stream ls`";
                new(codes::OVERLOADED, StatusCode::TOO_MANY_REQUESTS, hint)
            }
            StreamError::Spec(error) => Self::new(codes::BAD_STREAM, StatusCode::BAD_REQUEST, title, error.hint()),
            StreamError::Taken(NotTaken::Gap { place }) => {
                let hint = format!("begin with line {place}");
                new(codes::BAD_REQUEST, StatusCode::CONFLICT, &hint)
            }
            StreamError::Taken(NotTaken::Ended) => {
                let hint = "it is being stopped, or another peer took it over";
                new(codes::NO_STREAM, StatusCode::CONFLICT, hint).retry_after(Some(ROOM_AFTER))
            }
            StreamError::Taken(NotTaken::Disk(_)) | StreamError::Disk(_) => {
                new(codes::STORE, StatusCode::INSUFFICIENT_STORAGE, "free space on the disk; nothing was taken")
                    .retry_after(Some(ROOM_AFTER))
            }
            StreamError::Store(error) => {
                Self::new(codes::STORE, StatusCode::INTERNAL_SERVER_ERROR, title, error.hint())
            }
            StreamError::Journal(_) | StreamError::Stuck { .. } => {
                let hint = "check the disk; `shoal stream stop NAME --forget` gives the stream up";
                new(codes::STORE, StatusCode::INTERNAL_SERVER_ERROR, hint)
            }
            StreamError::Blob(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_record_whatever_its_end() {
        let records = lines(&Bytes::from_static(b"a\r\nb\n\nc")).unwrap();

        assert_eq!(records, ["a", "b", "", "c"]);
        assert_eq!(lines(&Bytes::new()).unwrap(), Vec::<Bytes>::new());
    }

    #[test]
    fn a_record_that_is_too_large_is_told_with_its_line() {
        let mut body = b"a\n".to_vec();
        body.extend(vec![b'x'; RECORD_BYTES_MAX + 1]);

        let error = lines(&body.into()).unwrap_err();

        assert!(error.0.title.starts_with("line 2:"), "{error:?}");
    }
}
