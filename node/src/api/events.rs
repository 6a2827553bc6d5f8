//! News as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::problem::ApiResult;
use super::query::Query;
use crate::driver::news::Line;

#[derive(Debug, Deserialize)]
pub(super) struct From {
    /// Begin with what is kept of the events after this one.
    since: Option<u64>,
}

pub(super) async fn follow(
    State(api): State<Api>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    // A browser that lost the connection says where it was.
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (past, present) = api.driver.follow(from.since.or(last_seen)).await?;
    Ok(Sse::new(stream(past.into(), present)).keep_alive(KeepAlive::default()))
}

fn stream(
    past: VecDeque<Arc<Line>>,
    present: broadcast::Receiver<Arc<Line>>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold((past, present), |(mut past, mut present)| async move {
        let event = match past.pop_front() {
            Some(line) => event(&line),
            None => match present.recv().await {
                Ok(line) => event(&line),
                Err(RecvError::Lagged(missed)) => {
                    Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}"))
                }
                Err(RecvError::Closed) => return None,
            },
        };
        Some((Ok(event), (past, present)))
    })
}

fn event(line: &Line) -> Event {
    Event::default().id(line.sequence.to_string()).data(&line.json)
}
