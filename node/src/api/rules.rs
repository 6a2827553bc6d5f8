//! Business rules, and the flow of data that they look at.

use axum::extract::{Request, State};
use shoal_protocol::api::flow::FlowView;
use shoal_protocol::api::policy::{DeployRequest, PolicyView};
use shoal_protocol::rules::{RULES_BYTES_MAX, RulesError};

use super::Api;
use super::body::{self, Json};
use super::problem::ApiResult;
use crate::driver::handle::Refusal;

/// A set of as many rules as there may be with its signatures, in base64.
const REQUEST_BYTES_MAX: usize = 2 * RULES_BYTES_MAX;

pub(super) async fn show(State(api): State<Api>) -> ApiResult<Json<PolicyView>> {
    Ok(Json(api.driver.read(|driver| driver.policy()).await?))
}

pub(super) async fn deploy(state: State<Api>, request: Request) -> ApiResult<Json<PolicyView>> {
    let request: DeployRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    let signed = request.read().map_err(|error| Refusal::Rules(RulesError::from(error)))?;
    state.driver.deploy(signed).await?;
    show(state).await
}

pub(super) async fn flow(State(api): State<Api>) -> ApiResult<Json<FlowView>> {
    Ok(Json(api.driver.read(|driver| driver.peer().flow(driver.now())).await?))
}
