//! Invitations, those who come with them, and labels.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use shoal_protocol::api::{
    InvitationRequest, InvitationView, JoinerView, LabelRequest, LabelView, Listing, MemberView, codes,
};
use shoal_protocol::config::{LABELS_MAX, NAME_BYTES_MAX};

use super::Api;
use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use crate::joining::{Invitation, LIFE_S, LIFE_S_MAX, TTL_S_MAX, USES_MAX, Verdict};

/// A request with the most labels allowed is under 10 KiB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn invite(State(api): State<Api>, request: Request) -> ApiResult<Json<InvitationView>> {
    let request: InvitationRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    check(&request)?;
    let invitation = Invitation {
        role: request.role,
        labels: request.labels,
        name: request.name,
        ttl_s: request.ttl_s,
        uses: request.uses,
        approve: request.approve,
        life_s: request.life_s.unwrap_or(LIFE_S),
        addresses: request.addresses,
    };
    let (view, ticket) = api.office.invite(invitation).await?;
    Ok(Json(InvitationView { ticket: Some(String::clone(&ticket)), ..view }))
}

fn check(request: &InvitationRequest) -> ApiResult<()> {
    if !(1..=TTL_S_MAX).contains(&request.ttl_s) {
        let title = format!("a ticket cannot be of use for {} s", request.ttl_s);
        return Err(ApiError::bad_request(title, format!("use 1 s to {} days", TTL_S_MAX / 86_400)));
    }
    if !(1..=USES_MAX).contains(&request.uses) {
        let title = format!("a ticket cannot be for {} machines", request.uses);
        return Err(ApiError::bad_request(title, format!("use 1 to {USES_MAX}")));
    }
    if request.life_s.is_some_and(|life_s| !(1..=LIFE_S_MAX).contains(&life_s)) {
        let title = "a certificate cannot be valid for that long";
        return Err(ApiError::bad_request(title, format!("use at most {} days", LIFE_S_MAX / 86_400)));
    }
    if request.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        return Err(ApiError::bad_request(
            "the name is empty or too long",
            format!("use at most {NAME_BYTES_MAX} bytes"),
        ));
    }
    check_labels(&request.labels)
}

fn check_labels(labels: &std::collections::BTreeMap<String, String>) -> ApiResult<()> {
    let is_long = |text: &String| text.len() > NAME_BYTES_MAX;
    if labels.len() > LABELS_MAX || labels.iter().any(|(key, value)| key.is_empty() || is_long(key) || is_long(value)) {
        let fix = format!("use at most {LABELS_MAX}, of at most {NAME_BYTES_MAX} bytes");
        return Err(ApiError::bad_request("there are too many labels, or one is empty or too long", fix));
    }
    Ok(())
}

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<InvitationView>>> {
    Ok(Json(Listing::new(api.office.invitations().await?)))
}

pub(super) async fn withdraw(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    api.office.withdraw(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn members(State(api): State<Api>) -> ApiResult<Json<Listing<MemberView>>> {
    Ok(Json(Listing::new(api.office.members().await?)))
}

pub(super) async fn joiners(State(api): State<Api>) -> Json<Listing<JoinerView>> {
    Json(Listing::new(api.office.joiners()))
}

pub(super) async fn approve(State(api): State<Api>, Path(number): Path<u64>) -> ApiResult<StatusCode> {
    decide(&api, number, Verdict::Approved)
}

pub(super) async fn deny(State(api): State<Api>, Path(number): Path<u64>) -> ApiResult<StatusCode> {
    decide(&api, number, Verdict::Denied)
}

fn decide(api: &Api, number: u64, verdict: Verdict) -> ApiResult<StatusCode> {
    if api.office.decide(number, verdict) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let title = format!("nobody waits by the number {number}");
    Err(ApiError::new(codes::NO_INVITATION, StatusCode::NOT_FOUND, title, "see who waits: `shoal mesh joiners`"))
}

pub(super) async fn label(
    State(api): State<Api>,
    Path(peer): Path<String>,
    request: Request,
) -> ApiResult<Json<LabelView>> {
    let request: LabelRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    check_labels(&request.set)?;
    Ok(Json(api.driver.relabel(peer, request).await?))
}
