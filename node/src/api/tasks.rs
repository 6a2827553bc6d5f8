//! Tasks: handed in, followed, withdrawn, explained.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use shoal_protocol::api::{Explanation, Listing, OutputView, TaskRequest, TaskView, codes};
use shoal_protocol::config::RETENTION_MAX;
use shoal_protocol::task::durable::Durability;
use shoal_protocol::{FindError, TaskId};
use tokio::time::{Instant, timeout_at};

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::query::{Page, Patience, Query, WAIT_MAX};
use super::{Api, blobs, elsewhere, spec};
use crate::driver::handle::{Refusal, Submission};

/// A request with its inputs; larger inputs are put as blobs first.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Between two looks at a task whose end nobody here is told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Tasks in a listing when nobody says how many.
const LISTED_DEFAULT: usize = 100;

pub(super) async fn submit(State(api): State<Api>, headers: HeaderMap, request: Request) -> ApiResult<Response> {
    let mut request: TaskRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    if request.idempotency_key.is_none() {
        let key = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned));
        request.idempotency_key =
            key.transpose().map_err(|_| ApiError::bad_request("the Idempotency-Key is not text", "use ASCII"))?;
    }
    let spec = spec::build(&api, &mut request).await?;
    if request.dry_run {
        let pinned = request.peer.take();
        let decision = api.driver.read(move |driver| driver.dry_run(spec, pinned.as_deref())).await??;
        return Ok(Json(decision).into_response());
    }
    let wait = request.wait;
    let keeping = spec::keeping(&request)?;
    let is_kept = keeping.durability > Durability::Memory;
    let mut held = Vec::new();
    if is_kept {
        let named = |(submitter, key): (_, &String)| TaskId::derive(submitter, key.as_bytes());
        let task = request.submitter.zip(request.idempotency_key.as_ref()).map(named);
        if let Some(task) = task
            && !api.driver.read(move |driver| driver.peer().answers_for(task)).await?
            && let Some(known) = elsewhere::find_promised(&api, task).await?
        {
            // Submitted before, at a peer that may be gone.
            let known = acknowledged(known)?;
            let view = if wait { wait_for(&api, &known.task.to_string(), WAIT_MAX).await? } else { known };
            return Ok((if wait { StatusCode::OK } else { StatusCode::ACCEPTED }, Json(view)).into_response());
        }
        held = spec::make_durable(&api.blobs, api.me, &spec).await?;
    }
    let submission = Submission {
        name: request.name,
        spec,
        pinned: request.peer,
        keeping,
        idempotency_key: request.idempotency_key,
        submitter: request.submitter,
        // The end of a kept task may be decided where it was not handed in, and is looked for.
        wait: wait && !is_kept,
        held,
    };
    let mut view = api.driver.submit(submission).await?;
    if is_kept {
        view = acknowledged(view)?;
    }
    if wait && !view.state.is_final() {
        view = wait_for(&api, &view.task.to_string(), WAIT_MAX).await?;
    }
    let status = if wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(view)).into_response())
}

/// A task whose record cannot be read, or never was written, is promised nothing by being handed in again.
fn acknowledged(view: TaskView) -> ApiResult<TaskView> {
    match view.problem {
        Some(problem) if problem.code == codes::STORE => Err(ApiError(problem)),
        _ => Ok(view),
    }
}

pub(super) async fn list(State(api): State<Api>, Query(page): Query<Page>) -> ApiResult<Json<Listing<TaskView>>> {
    let limit = page.limit(LISTED_DEFAULT);
    let tasks = api.driver.read(move |driver| driver.peer().tasks(driver.now(), limit)).await?;
    Ok(Json(Listing::new(tasks)))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(patience): Query<Patience>,
) -> ApiResult<Json<TaskView>> {
    let patience = patience.time();
    Ok(Json(if patience.is_zero() { view(&api, id).await? } else { wait_for(&api, &id, patience).await? }))
}

/// A task when it has ended, or as it is when patience has.
async fn wait_for(api: &Api, id: &str, patience: Duration) -> ApiResult<TaskView> {
    let deadline = Instant::now() + patience;
    // `last`, or the beginning of an id, may name another task a moment later.
    let text = id.to_owned();
    let found = api.driver.read(move |driver| driver.peer().find_task(&text)).await?;
    let id = &found.map_or_else(|_| id.to_owned(), |task| task.to_string());
    loop {
        // Its home tells the end; who follows a lost home, or was asked in its place, is looked at anew.
        let look = deadline.min(Instant::now() + LOOK_AGAIN);
        match timeout_at(look, api.driver.await_end(id.to_owned())).await {
            Ok(Err(Refusal::Find(FindError::None { .. }))) => return elsewhere::wait_for(api, id, deadline).await,
            Ok(ended) => return Ok(ended?),
            Err(_) if look < deadline => {}
            Err(_) => return view(api, id.to_owned()).await,
        }
    }
}

async fn view(api: &Api, id: String) -> ApiResult<TaskView> {
    let wanted = id.clone();
    let found = api.driver.read(move |driver| {
        let task = driver.peer().find_task(&wanted)?;
        driver.peer().task(driver.now(), task).ok_or(Refusal::Forgotten)
    });
    match found.await? {
        Err(Refusal::Find(error @ FindError::None { .. })) => elsewhere::view(api, &id, error).await,
        // Another peer may have a record that can be read.
        Ok(view) if view.problem.as_ref().is_some_and(|problem| problem.code == codes::STORE) => {
            Ok(elsewhere::find(api, view.task).await?.unwrap_or(view))
        }
        found => Ok(found?),
    }
}

pub(super) async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<Json<TaskView>> {
    match api.driver.cancel(id.clone()).await {
        Err(Refusal::Find(error @ FindError::None { .. })) => {
            let known = match id.parse() {
                Ok(task) => api.driver.seek(task).await?,
                Err(_) => None,
            };
            let Some(known) = known else { return Err(Refusal::Find(error).into()) };
            let title = match known.result {
                Some(_) => format!("task {} has ended, at another peer", known.task),
                None => format!("task {} is not in the hands of this peer", known.task),
            };
            let hint = "one is withdrawn where it was handed in (`--api` names its peer), or where it is led since that is gone";
            Err(ApiError::new(codes::NO_TASK, StatusCode::CONFLICT, title, hint))
        }
        view => Ok(Json(view?)),
    }
}

pub(super) async fn result(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<Response> {
    let view = view(&api, id).await?;
    let bytes = match view.output {
        Some(OutputView::Text(text)) => text.into_bytes(),
        Some(OutputView::Base64(text)) => STANDARD.decode(text).unwrap_or_default(),
        Some(OutputView::Blob { id, holder, .. }) => {
            if api.blobs.stat(id).is_none() {
                let holder = holder.filter(|holder| *holder != api.me);
                let from = holder.or(view.executor.map(|executor| executor.peer)).map(|peer| peer.to_string());
                let fetched = api.driver.fetch_blob(id, from.clone()).await;
                fetched.map_err(|refusal| out_of_reach(view.task, from.as_deref(), refusal))?;
            }
            return blobs::send(&api.blobs, id, None).await;
        }
        None => return Err(without_output(view)),
    };
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Its end is known, and its output could not be brought here.
fn out_of_reach(task: TaskId, holder: Option<&str>, refusal: Refusal) -> ApiError {
    let Refusal::NoBlob { why, .. } = refusal else { return refusal.into() };
    let title = format!("the output of {task} is not here, and could not be had");
    let see = |peer| format!("it is at {peer}: see that it can be reached, and try again");
    let hint = holder.map_or("try again later".to_owned(), see);
    ApiError::new(codes::NO_BLOB, StatusCode::SERVICE_UNAVAILABLE, title, hint).because(why).retry_after(None)
}

/// Why there is nothing to hand out; the task's own problem when it has one.
fn without_output(view: TaskView) -> ApiError {
    match view.problem {
        Some(problem) => ApiError(problem),
        None if view.state.is_final() => {
            let title = format!("the output of {} is no longer kept", view.task);
            ApiError::new(codes::NO_TASK, StatusCode::GONE, title, "run it again")
        }
        None => {
            let title = format!("{} has not ended yet", view.task);
            let hint = format!("wait for it: `shoal task show {}`, or `shoal events -f`", view.task);
            ApiError::new(codes::NO_TASK, StatusCode::CONFLICT, title, hint)
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct For {
    ms: u64,
}

pub(super) async fn hold(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(For { ms }): Query<For>,
) -> ApiResult<StatusCode> {
    let lease = Duration::from_millis(ms);
    if lease > RETENTION_MAX {
        let title = format!("an output cannot be kept for {ms} ms");
        return Err(ApiError::bad_request(title, format!("use at most {}", RETENTION_MAX.as_millis())));
    }
    api.driver.hold(id, lease).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn logs(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<Response> {
    let view = view(&api, id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], view.log).into_response())
}

pub(super) async fn explain(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<Json<Explanation>> {
    let found = api.driver.read(move |driver| {
        let task = driver.peer().find_task(&id)?;
        Ok::<_, Refusal>(driver.peer().explain(task))
    });
    Ok(Json(Listing::new(found.await??)))
}
