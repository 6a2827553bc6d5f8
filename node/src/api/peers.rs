//! Who is here, and how far.

use std::time::Duration;

use axum::extract::{Path, State};
use serde::Deserialize;
use shoal_protocol::api::{Listing, PeerView, PingView, RttView, schema};
use shoal_protocol::time::millis;

use super::Api;
use super::body::Json;
use super::problem::{ApiError, ApiResult};
use super::query::Query;
use crate::driver::handle::Refusal;

/// The protocol answers within a second; this only keeps a fault there from holding a caller.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<PeerView>>> {
    let peers = api.driver.read(|driver| driver.peers()).await?;
    Ok(Json(Listing::new(peers)))
}

pub(super) async fn ping(State(api): State<Api>, Path(peer): Path<String>) -> ApiResult<Json<PingView>> {
    let pinging = api.driver.ping(peer).await?;
    let rtt = match tokio::time::timeout(PING_TIMEOUT, pinging.answer).await {
        Ok(Ok(rtt)) => rtt,
        Ok(Err(_)) | Err(_) => None,
    };
    let path = api.driver.read(move |driver| driver.path_to(pinging.peer)).await?;
    Ok(Json(PingView { schema: schema(), peer: pinging.peer, name: pinging.name, rtt_ms: rtt.map(millis), path }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    a: Option<String>,
    b: Option<String>,
}

pub(super) async fn rtt(State(api): State<Api>, Query(pair): Query<Pair>) -> ApiResult<Json<RttView>> {
    let Pair { a: Some(a), b } = pair else {
        return Err(ApiError::bad_request("`a` is missing", "ask for /v1/rtt?a=PEER or /v1/rtt?a=PEER&b=PEER"));
    };
    let me = api.me;
    let found = api.driver.read(move |driver| {
        let peer = driver.peer();
        let a = peer.find_peer(&a)?;
        let b = b.map_or(Ok(me), |b| peer.find_peer(&b))?;
        Ok::<_, Refusal>(peer.rtt(a, b))
    });
    Ok(Json(found.await??))
}
