//! The local HTTP API on a Unix socket; its routes and types are in `shoal_protocol::api`.
//!
//! **Invariant:** only the user the daemon runs as, and root, are answered (`admission.rs`).
//! **Not here:** answers. The driver has them; this turns HTTP into requests to it and back.

mod admission;
mod blobs;
mod body;
mod elsewhere;
mod events;
mod joining;
mod peers;
mod pipelines;
mod policy;
mod privacy;
mod problem;
mod query;
mod range;
mod revocations;
mod rules;
mod services;
mod socket;
mod spec;
mod streams;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use shoal_protocol::PeerId;
use shoal_protocol::api::{Check, ConfigView, Listing, Problem, Status, codes};
use shoal_protocol::task::spec::CloudUse;
use tokio::net::UnixListener;

use crate::audit::Audit;
use crate::blobs::BlobStore;
use crate::driver::handle::Handle;
use crate::joining::Office;
use crate::privacy::Keeper;
use crate::streams::Streams;
use body::Json;
use problem::{ApiError, ApiResult};

pub(crate) use socket::SocketError;
pub(crate) use socket::bind;

/// What every route may need.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) driver: Handle,
    pub(crate) blobs: BlobStore,
    pub(crate) config: Arc<ConfigView>,
    pub(crate) me: PeerId,
    /// How tasks use cloud peers when they do not say.
    pub(crate) cloud: CloudUse,
    pub(crate) office: Office,
    pub(crate) audit: Audit,
    pub(crate) keeper: Keeper,
    pub(crate) streams: Streams,
}

/// Answers until `ended` is done and open requests are answered.
pub(crate) async fn serve(listener: UnixListener, api: Api, ended: impl Future<Output = ()> + Send + 'static) {
    // The listener's errors are retried inside; there is no other end than `ended`.
    let admit = axum::middleware::from_fn_with_state(api.audit.clone(), admission::admit);
    let service = routes(api).layer(admit).into_make_service_with_connect_info::<admission::Caller>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(ended).await {
        tracing::warn!(%error, "the API ended");
    }
}

fn routes(api: Api) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/checks", get(checks))
        .route("/v1/peers", get(peers::list))
        .route("/v1/peers/{peer}/ping", post(peers::ping))
        .route("/v1/peers/{peer}/label", post(joining::label))
        .route("/v1/invitations", get(joining::list).post(joining::invite))
        .route("/v1/invitations/{id}/withdraw", post(joining::withdraw))
        .route("/v1/members", get(joining::members))
        .route("/v1/joiners", get(joining::joiners))
        .route("/v1/joiners/{number}/approve", post(joining::approve))
        .route("/v1/joiners/{number}/deny", post(joining::deny))
        .route("/v1/rtt", get(peers::rtt))
        .route("/v1/revocations", get(revocations::show).post(revocations::add))
        .route("/v1/policy", get(rules::show).post(rules::deploy))
        .route("/v1/flow", get(rules::flow))
        .route("/v1/tasks", get(tasks::list).post(tasks::submit))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/cancel", post(tasks::cancel))
        .route("/v1/tasks/{id}/result", get(tasks::result))
        .route("/v1/tasks/{id}/logs", get(tasks::logs))
        .route("/v1/tasks/{id}/explain", get(tasks::explain))
        .route("/v1/pipelines", get(pipelines::list).post(pipelines::submit))
        .route("/v1/pipelines/{id}", get(pipelines::show))
        .route("/v1/pipelines/{id}/cancel", post(pipelines::cancel))
        .route("/v1/privacy/datasets", get(privacy::list).post(privacy::declare))
        .route("/v1/privacy/releases", post(privacy::release))
        .route("/v1/services", get(services::list).post(services::deploy))
        .route("/v1/services/{name}", get(services::show))
        .route("/v1/services/{name}/call", post(services::call))
        .route("/v1/streams", get(streams::list).post(streams::start))
        .route("/v1/streams/{name}", get(streams::show))
        .route("/v1/streams/{name}/stop", post(streams::stop))
        .route("/v1/streams/{name}/records", post(streams::records))
        .route("/v1/blobs", get(blobs::list).post(blobs::put))
        .route("/v1/blobs/{id}", get(blobs::get).delete(blobs::remove))
        .route("/v1/blobs/{id}/stat", get(blobs::stat))
        .route("/v1/blobs/{id}/pin", post(blobs::pin))
        .route("/v1/blobs/{id}/unpin", post(blobs::unpin))
        .route("/v1/tasks/{id}/hold", post(tasks::hold))
        .route("/v1/policy/check", post(policy::check))
        .route("/v1/events", get(events::follow))
        .route("/v1/config", get(config))
        .route("/v1/shutdown", post(shut_down))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn status(State(api): State<Api>) -> ApiResult<Json<Status>> {
    Ok(Json(api.driver.read(|driver| driver.status()).await?))
}

async fn checks(State(api): State<Api>) -> ApiResult<Json<Listing<Check>>> {
    Ok(Json(Listing::new(api.driver.read(|driver| driver.checks()).await?)))
}

async fn config(State(api): State<Api>) -> Json<ConfigView> {
    Json(ConfigView::clone(&api.config))
}

async fn shut_down(State(api): State<Api>) -> ApiResult<StatusCode> {
    api.driver.shut_down().await?;
    Ok(StatusCode::ACCEPTED)
}

async fn unknown_route(uri: axum::http::Uri) -> ApiError {
    ApiError(Problem {
        code: codes::BAD_REQUEST.into(),
        status: 404,
        title: format!("there is nothing at {}", uri.path()),
        detail: String::new(),
        hint: "`shoal version` tells whether `shoal` and `shoald` are of the same release".into(),
        retryable: false,
        retry_after_ms: None,
    })
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError(Problem {
        code: codes::BAD_REQUEST.into(),
        status: 405,
        title: format!("{method} is not what {} is for", uri.path()),
        detail: String::new(),
        hint: "see the table in shoal_protocol::api".into(),
        retryable: false,
        retry_after_ms: None,
    })
}
