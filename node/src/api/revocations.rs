//! Who is a member of the mesh no more.

use axum::extract::{Request, State};
use shoal_protocol::api::{RevocationsView, RevokeRequest, revocations_from_base64};

use super::Api;
use super::body::{self, Json};
use super::problem::ApiResult;
use crate::driver::handle::Refusal;

/// A list of as many keys as there may be, in base64.
const LIST_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn show(State(api): State<Api>) -> ApiResult<Json<RevocationsView>> {
    Ok(Json(api.driver.read(|driver| RevocationsView::of(driver.peer().revocations())).await?))
}

pub(super) async fn add(state: State<Api>, request: Request) -> ApiResult<Json<RevocationsView>> {
    let RevokeRequest { list } = body::read(request, LIST_BYTES_MAX).await?;
    let list = revocations_from_base64(&list).map_err(Refusal::from)?;
    state.driver.revoke(list).await?;
    show(state).await
}
