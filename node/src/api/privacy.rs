//! Statistics within a privacy budget: declared, released, and what is left.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shoal_protocol::api::{DatasetView, Listing, ReleaseRequest};
use shoal_protocol::privacy::words::{Ask, PAYLOADS_MAX};
use shoal_protocol::privacy::{Declaration, Release};
use shoal_protocol::residency::Labels;

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::{Api, spec};

/// Rows beyond this are put as a blob first.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn declare(State(api): State<Api>, request: Request) -> ApiResult<Response> {
    let declared: Declaration = body::read(request, REQUEST_BYTES_MAX).await?;
    let mut held = Vec::new();
    if let Some(data) = declared.data {
        if api.blobs.stat(data).is_none() {
            return Err(ApiError::no_blob(data, "what the data set is about,"));
        }
        held = spec::make_blobs_durable(&api.blobs, vec![data]).await?;
    }
    let view = api.keeper.declare(declared).await?;
    drop(held);
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<DatasetView>>> {
    Ok(Json(Listing::new(api.keeper.standings().await?)))
}

pub(super) async fn release(State(api): State<Api>, request: Request) -> ApiResult<Json<Release>> {
    let ReleaseRequest { dataset, query, noise, data } = body::read(request, REQUEST_BYTES_MAX).await?;
    if data.len() > PAYLOADS_MAX {
        return Err(ApiError::bad_request(
            format!("the rows come in {} pieces", data.len()),
            format!("use at most {PAYLOADS_MAX}"),
        ));
    }
    let data = spec::inputs(&api, data, &Labels::default()).await?;
    let ask = Ask { dataset: String::new(), query, noise, data };
    Ok(Json(api.driver.release(dataset, ask).await??))
}
