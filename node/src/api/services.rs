//! Services: deployed, shown, and called.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shoal_protocol::TaskId;
use shoal_protocol::api::services::{
    PEER_HEADER, RUN_HEADER, ServiceRequest, ServiceView, Spread, TASK_HEADER, VERSION_HEADER,
};
use shoal_protocol::api::{Listing, codes};
use shoal_protocol::config::INLINE_BYTES_MAX;
use shoal_protocol::residency::Labels;
use shoal_protocol::service::{DeployError, RECORD_BYTES_MAX, ServiceName};
use shoal_protocol::task::problem;
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::time::micros;

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::query::Query;
use super::{Api, blobs, spec};
use crate::driver::handle::{Call, Called, Refusal};

/// A record with its signatures, in base64.
const REQUEST_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// The input of a call.
const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a deployment waits for the neighbours: for three round trips, three signatures and a write to disk. Those that hear
/// of it from others, or know nothing of services, are not waited for any longer.
const SPREAD_WITHIN: Duration = Duration::from_secs(1);
/// Time between two looks at how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What is told of a failed call's standard error: its end.
const SAID_CHARS_MAX: usize = 1_000;

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<ServiceView>>> {
    Ok(Json(Listing::new(api.driver.read(|driver| driver.peer().service_views(driver.now())).await?)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    removed: bool,
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Which { removed }): Query<Which>,
) -> ApiResult<Json<ServiceView>> {
    Ok(Json(api.driver.read(move |driver| driver.service_view(&name, removed)).await??))
}

pub(super) async fn deploy(State(api): State<Api>, request: Request) -> ApiResult<Json<ServiceView>> {
    let request: ServiceRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    let signed = request.read().map_err(|error| Refusal::Service(DeployError::from(error)))?;
    let name = api.driver.deploy_service(signed).await?;
    let spread = spread(&api).await?;
    let view = api.driver.read(move |driver| driver.service_view(name.as_str(), true)).await??;
    Ok(Json(ServiceView { spread: Some(spread), ..view }))
}

/// Waits for the neighbours to hold what was deployed, so that who calls it there next finds it.
async fn spread(api: &Api) -> ApiResult<Spread> {
    let give_up = Instant::now() + SPREAD_WITHIN;
    loop {
        let spread = api.driver.read(|driver| driver.peer().spread_of_services()).await?;
        if spread.is_complete() || Instant::now() >= give_up {
            return Ok(spread);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How a call is made.
#[derive(Debug, Deserialize)]
pub(super) struct How {
    key: Option<String>,
    peer: Option<String>,
    deadline_ms: Option<u64>,
}

pub(super) async fn call(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(How { key, peer, deadline_ms }): Query<How>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<Response> {
    let body = body::read_up_to(request, CALL_BYTES_MAX).await?;
    // What is no name is the name of no service.
    let service: ServiceName = name.parse().map_err(|_| Refusal::NoService(name.chars().take(80).collect()))?;
    let idempotency_key = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned));
    let idempotency_key = idempotency_key
        .transpose()
        .map_err(|_| ApiError::bad_request("the Idempotency-Key is not text", "use ASCII"))?;
    spec::check_key(idempotency_key.as_deref())?;
    let inputs = inputs(&api, &service, body).await?;
    let deadline = deadline_ms.map(Duration::from_millis);
    let call = Call { service: service.clone(), inputs, key, pinned: peer, idempotency_key, deadline };
    answer(&api, &service, api.driver.call(call).await?).await
}

/// What does not fit a message is stored, with the labels that the service gives it.
async fn inputs(api: &Api, service: &ServiceName, body: Bytes) -> ApiResult<Vec<Payload>> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let (is_small, inputs) = (body.len() as u64 <= INLINE_BYTES_MAX, vec![Payload::Inline(body)]);
    if is_small {
        return Ok(inputs);
    }
    let service = service.clone();
    let labels = api.driver.read(move |driver| {
        let mut labels = Labels::default();
        let held = driver.peer().services().service(&service);
        held.into_iter().flat_map(|held| held.record.called()).for_each(|version| labels.join(&version.labels));
        labels
    });
    spec::store_inline(api, inputs, &labels.await?).await
}

async fn answer(api: &Api, service: &ServiceName, called: Called) -> ApiResult<Response> {
    let Called { task, version, result, executor } = called;
    if let Some(error) = failure(service, version, task, &result.report) {
        return Err(error);
    }
    let run_us = micros(result.report.run);
    let mut response = match result.report.output {
        Payload::Inline(bytes) => bytes.into_response(),
        Payload::Blob(blob) => {
            if api.blobs.stat(blob.id).is_none() {
                let holder = Some(blob.holder).filter(|holder| *holder != api.me);
                api.driver.fetch_blob(blob.id, holder.map(|peer| peer.to_string())).await?;
            }
            blobs::send(&api.blobs, blob.id, None).await?
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(VERSION_HEADER, HeaderValue::from(version));
    headers.insert(RUN_HEADER, HeaderValue::from(run_us));
    // A name that no header can have is left out.
    let words = [(PEER_HEADER, executor), (TASK_HEADER, task.to_string())];
    for (name, value) in words.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))) {
        headers.insert(name, value);
    }
    Ok(response)
}

/// How the module failed the call, if it did.
fn failure(service: &ServiceName, version: u32, task: TaskId, report: &RunReport) -> Option<ApiError> {
    let problem = problem::of_ending(&report.ending)?;
    let title = format!("service `{service}`, version {version}: {}", problem.title);
    if let Ending::HostFailed(why) = &report.ending {
        let error = ApiError::new(codes::INTERNAL, StatusCode::BAD_GATEWAY, title, "call it again");
        return Some(error.because(why.clone()).retry_after(None));
    }
    let said = String::from_utf8_lossy(&report.log);
    let (said, skipped) = (said.trim_end(), said.trim_end().chars().count().saturating_sub(SAID_CHARS_MAX));
    let end: String = said.chars().skip(skipped).collect();
    let detail = if end.is_empty() { problem.detail } else { end };
    let hint =
        format!("see its versions with `shoal service show {service}`, and what it wrote with `shoal logs {task}`");
    Some(ApiError::new(codes::CALL_FAILED, StatusCode::BAD_GATEWAY, title, hint).because(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_told_with_its_version_and_the_end_of_what_the_module_said() {
        const TASK: TaskId = TaskId([7; 16]);
        let name: ServiceName = "ocr".parse().unwrap();
        let mut report = RunReport::without_run(Ending::Exited(3));
        report.log = [b"x".repeat(5_000).as_slice(), b" no such letter\n"].concat();

        let error = failure(&name, 2, TASK, &report).unwrap().0;

        assert_eq!((error.code.as_str(), error.status), (codes::CALL_FAILED, 502));
        assert_eq!(error.title, "service `ocr`, version 2: the module exited with code 3");
        assert!(error.detail.ends_with("x no such letter") && error.detail.chars().count() == SAID_CHARS_MAX);
        assert!(failure(&name, 2, TASK, &RunReport::without_run(Ending::Exited(0))).is_none());
        let host = failure(&name, 2, TASK, &RunReport::without_run(Ending::HostFailed("no memory".into())));
        assert!(host.unwrap().0.retryable);
    }
}
