//! Pipelines: handed in, planned, followed, withdrawn.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shoal_protocol::api::{Listing, PipelineRequest, PipelineView, StageRequest, codes};
use shoal_protocol::config::{INLINE_BYTES_MAX, INPUTS_MAX, NAME_BYTES_MAX, RETENTION_DEFAULT, RETENTION_MAX};
use shoal_protocol::pipeline::graph::{ELEMENTS_MAX, Graph, GraphError};
use shoal_protocol::pipeline::spec::{PipelineInput, PipelineSpec, Stage};
use shoal_protocol::pipeline::{PipelineSubmission, blobs_of};
use shoal_protocol::residency::Labels;
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, TaskSpec};

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::query::{Page, Patience, Query};
use super::{Api, spec};
use crate::driver::handle::{GivenPipeline, Refusal};

/// A request with its inputs; larger inputs are put as blobs first.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pipelines in a listing when nobody says how many.
const LISTED_DEFAULT: usize = 50;
/// Inputs that are carried along in the pipeline's record; what is larger together is stored as blobs.
const CARRIED_BYTES_MAX: u64 = 1024 * 1024;

pub(super) async fn submit(State(api): State<Api>, request: Request) -> ApiResult<Response> {
    let mut request: PipelineRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    let (spec, pinned) = build(&api, &mut request, true).await?;
    let graph = Graph::of(&spec).map_err(|error| bad_graph(&error))?;
    if request.dry_run {
        let name = request.name;
        let plan = api.driver.read(move |driver| driver.plan_pipeline(&name, spec, pinned, &graph)).await??;
        return Ok(Json(plan).into_response());
    }
    let _held = spec::make_blobs_durable(&api.blobs, blobs_of(&spec, api.me)).await?;
    let retention = request.retention_ms.map_or(RETENTION_DEFAULT, Duration::from_millis);
    if retention > RETENTION_MAX {
        let title = format!("results cannot be kept for {} ms", retention.as_millis());
        return Err(ApiError::bad_request(title, format!("use at most {}", RETENTION_MAX.as_millis())));
    }
    let given = GivenPipeline {
        submission: PipelineSubmission { name: request.name, spec, retention },
        pinned,
        idempotency_key: request.idempotency_key,
        submitter: request.submitter,
    };
    let view = api.driver.submit_pipeline(given).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

pub(super) fn bad_graph(error: &GraphError) -> ApiError {
    ApiError::new(codes::BAD_PIPELINE, StatusCode::BAD_REQUEST, error.to_string(), error.hint())
}

/// The pipeline that is asked for, and the peers its stages are pinned to; what it reads here is labelled as it says, if it may be.
pub(super) async fn build(
    api: &Api,
    request: &mut PipelineRequest,
    may_label: bool,
) -> ApiResult<(PipelineSpec, Vec<Option<String>>)> {
    spec::check_name("pipeline", &request.name)?;
    spec::check_key(request.idempotency_key.as_deref())?;
    let mut inputs = Vec::new();
    let mut left = CARRIED_BYTES_MAX;
    if let Some(name) = request.labels.keys().find(|name| !request.inputs.contains_key(*name)) {
        let known = request.inputs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let title = format!("`labels` names `{name}`, and there is no input of that name");
        return Err(ApiError::bad_request(title, format!("name one of: {known}")));
    }
    for (name, elements) in std::mem::take(&mut request.inputs) {
        if elements.len() > ELEMENTS_MAX {
            let (count, limit) = (elements.len(), ELEMENTS_MAX);
            return Err(bad_graph(&GraphError::TooMany { what: "elements of inputs", count, limit, stage: None }));
        }
        let place = format!("input `{name}`");
        let declared = request.labels.get(&name).map(spec::labels).transpose();
        let declared = declared.map_err(|error| error.at(&place))?.unwrap_or_default();
        let mut payloads = Vec::with_capacity(elements.len());
        // In pieces of what a task reads: the limits of one task are not those of a list.
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let piece: Vec<_> = elements.by_ref().take(INPUTS_MAX as usize).collect();
            let piece = spec::inputs(api, piece, &declared).await.map_err(|error| error.at(&place))?;
            payloads.extend(piece);
        }
        let inline: u64 = payloads.iter().map(inline_bytes).sum();
        if inline > left {
            payloads = store_inline(api, payloads, &declared).await?;
        } else {
            left -= inline;
        }
        if may_label {
            spec::label(api, &payloads, &declared).await?;
        }
        let labels = labels_of(api, &payloads, &declared).await?;
        inputs.push(PipelineInput { name, elements: payloads, labels });
    }
    let (mut stages, mut pinned) = (Vec::with_capacity(request.stages.len()), Vec::new());
    for stage in std::mem::take(&mut request.stages) {
        let (stage, peer) = build_stage(api, stage, request.priority).await?;
        stages.push(stage);
        pinned.push(peer);
    }
    let deadline = request.deadline_ms.map(Duration::from_millis);
    Ok((PipelineSpec { inputs, stages, deadline, priority: request.priority.unwrap_or_default() }, pinned))
}

async fn build_stage(
    api: &Api,
    request: StageRequest,
    priority: Option<shoal_protocol::task::spec::Priority>,
) -> ApiResult<(Stage, Option<String>)> {
    let StageRequest {
        name,
        kind,
        mut task,
        map,
        inputs,
        when,
        near,
        retries,
        deterministic,
        expected_output_bytes,
        export,
    } = request;
    if name.len() > NAME_BYTES_MAX {
        return Err(ApiError::bad_request(
            "the name of a stage is too long",
            format!("use at most {NAME_BYTES_MAX} bytes"),
        ));
    }
    let place = format!("stage `{name}`");
    if !task.inputs.is_empty() {
        let error =
            ApiError::bad_request("a stage has no `task.inputs` of its own", "name what it reads in `inputs` or `map`");
        return Err(error.at(&place));
    }
    task.deadline_ms = None;
    task.priority = task.priority.or(priority);
    let peer = task.peer.take();
    let task = match &export {
        // An export has no module; one that names some is refused with the graph.
        Some(_) if task.variants.is_empty() => {
            TaskSpec { variants: Vec::new(), ..TaskSpec::of_module(BlobId([0; 32]), 0) }
        }
        Some(_) | None => spec::build(api, &mut task).await.map_err(|error| error.at(&place))?,
    };
    let stage =
        Stage { name, kind, task, map, inputs, when, near, retries, deterministic, expected_output_bytes, export };
    Ok((stage, peer))
}

/// What is said of each element; nothing at all where nothing is said of any.
async fn labels_of(api: &Api, payloads: &[Payload], declared: &Labels) -> ApiResult<Vec<Labels>> {
    let mut all = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let mut labels = spec::labels_of(api, payload).await?;
        labels.join(declared);
        all.push(labels);
    }
    Ok(if all.iter().all(Labels::is_empty) { Vec::new() } else { all })
}

fn inline_bytes(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    }
}

async fn store_inline(api: &Api, payloads: Vec<Payload>, labels: &Labels) -> ApiResult<Vec<Payload>> {
    if payloads.iter().all(|payload| inline_bytes(payload) <= INLINE_BYTES_MAX / 64) {
        // Many small elements: a blob each would cost more than the record.
        return Ok(payloads);
    }
    spec::store_inline(api, payloads, labels).await
}

pub(super) async fn list(State(api): State<Api>, Query(page): Query<Page>) -> ApiResult<Json<Listing<PipelineView>>> {
    let limit = page.limit(LISTED_DEFAULT);
    let found = api.driver.read(move |driver| driver.peer().pipelines(driver.now(), limit)).await?;
    Ok(Json(Listing::new(found)))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(patience): Query<Patience>,
) -> ApiResult<Json<PipelineView>> {
    let patience = patience.time();
    if patience.is_zero() {
        return Ok(Json(view(&api, id).await?));
    }
    // `last`, or the beginning of an id, may name another one a moment later.
    let text = id;
    let id =
        api.driver.read(move |driver| driver.peer().find_pipeline(&text)).await?.map_err(Refusal::from)?.to_string();
    match tokio::time::timeout(patience, api.driver.await_pipeline(id.clone())).await {
        Ok(ended) => Ok(Json(ended?)),
        Err(_) => Ok(Json(view(&api, id).await?)),
    }
}

async fn view(api: &Api, id: String) -> ApiResult<PipelineView> {
    let found = api.driver.read(move |driver| {
        let pipeline = driver.peer().find_pipeline(&id)?;
        driver.peer().pipeline(driver.now(), pipeline, true).ok_or(Refusal::Forgotten)
    });
    Ok(found.await??)
}

pub(super) async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<Json<PipelineView>> {
    Ok(Json(api.driver.cancel_pipeline(id).await?))
}
