//! Blobs in and out, piece by piece: a large one is never in memory as a whole.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use shoal_protocol::BlobId;
use shoal_protocol::api::{BlobView, Listing, schema};
use shoal_protocol::config::INPUT_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Api;
use super::body::{Json, check_announced, too_large};
use super::problem::{ApiError, ApiResult};
use crate::blobs::{BlobError, BlobStore, Stored};

/// Pieces between the socket and the disk.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 256 * 1024;

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<BlobView>>> {
    let blobs = api.blobs.list();
    let views = api.driver.read(move |driver| {
        let view = |(id, bytes)| BlobView { schema: schema(), id, bytes, is_module: driver.is_prepared(id) };
        blobs.into_iter().map(view).collect()
    });
    Ok(Json(Listing::new(views.await?)))
}

pub(super) async fn put(State(api): State<Api>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    check_announced(&headers, INPUT_BYTES_MAX)?;
    let Stored { id, bytes } = receive(&api.blobs, body).await?;
    Ok((StatusCode::CREATED, Json(BlobView { schema: schema(), id, bytes, is_module: false })).into_response())
}

/// Writes on a thread that may block what arrives here.
async fn receive(store: &BlobStore, body: Body) -> ApiResult<Stored> {
    let (pieces, mut arrived) = mpsc::channel::<Bytes>(PIECES_MAX);
    let (complete, is_complete) = std::sync::mpsc::channel::<()>();
    let store = store.clone();
    let writing = spawn_blocking(move || -> Result<Option<Stored>, BlobError> {
        let mut writer = store.writer(None)?;
        while let Some(piece) = arrived.blocking_recv() {
            writer.write(&piece)?;
        }
        // A sender that broke off must not leave half a file that looks whole.
        match is_complete.recv() {
            Ok(()) => writer.finish().map(Some),
            Err(_) => Ok(None),
        }
    });
    let broken = forward(body, &pieces).await;
    drop(pieces);
    if broken.is_ok() {
        // The writer may have failed and gone; its error is what counts then.
        let _ = complete.send(());
    }
    drop(complete);
    let stored = writing.await??;
    broken?;
    stored.ok_or_else(|| ApiError::bad_request("the body did not arrive", "send it again"))
}

async fn forward(body: Body, pieces: &mpsc::Sender<Bytes>) -> ApiResult<()> {
    let mut body = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            ApiError::bad_request("the body did not arrive", "send it again").because(error.to_string())
        })?;
        bytes += piece.len() as u64;
        if bytes > INPUT_BYTES_MAX {
            return Err(too_large(INPUT_BYTES_MAX));
        }
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
pub(super) struct From {
    from: Option<String>,
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(from): Query<From>,
) -> ApiResult<Response> {
    let id: BlobId = id.parse().map_err(|error: shoal_protocol::id::IdError| {
        ApiError::bad_request(error.to_string(), "`shoal blob ls` lists the blobs of this peer")
    })?;
    if api.blobs.stat(id).is_none() {
        api.driver.fetch_blob(id, from.from).await?;
    }
    send(&api.blobs, id).await
}

/// The bytes of a blob that is here.
pub(super) async fn send(store: &BlobStore, id: BlobId) -> ApiResult<Response> {
    let store = store.clone();
    let reader = spawn_blocking(move || store.open_read(id)).await??;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, reader.size_bytes().to_string()),
    ];
    let pieces = futures::stream::try_unfold(reader, |mut reader| async move {
        let piece = spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            Ok::<_, std::io::Error>((piece, reader))
        });
        let (piece, reader) = piece.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((Bytes::from(piece), reader)))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}
