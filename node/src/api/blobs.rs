//! Blobs in and out, piece by piece: a large one is never in memory as a whole.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use shoal_protocol::BlobId;
use shoal_protocol::api::{BlobStat, BlobView, HolderView, LabelsRequest, LabelsView, Listing, codes, schema};
use shoal_protocol::config::INPUT_BYTES_MAX;
use shoal_protocol::residency::Labels;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::body::{Json, announced, pass_over, pass_over_rest};
use super::problem::{ApiError, ApiResult};
use super::query::Query;
use super::range::{self, Answered};
use super::{Api, spec};
use crate::blobs::{BlobError, BlobReader, BlobStore, Stored};
use crate::driver::handle::{Opened, Refusal};

/// Pieces between the socket and the disk.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 256 * 1024;

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Listing<BlobView>>> {
    let blobs = api.blobs.clone();
    // There may be very many: the loop of the daemon only says which of them are modules.
    let views = spawn_blocking(move || {
        let view = |id, bytes, complete| BlobView {
            schema: schema(),
            id,
            bytes,
            is_module: false,
            pinned: blobs.held(id).pinned,
            complete,
            labels: LabelsView::of(&blobs.labels(id)),
        };
        let whole = blobs.list().into_iter().map(|(id, bytes)| view(id, bytes, true));
        whole.chain(blobs.parts().into_iter().map(|(id, bytes)| view(id, bytes, false))).collect::<Vec<_>>()
    });
    let views = views.await?;
    let told = api.driver.read(move |driver| {
        views.into_iter().map(|view| BlobView { is_module: driver.is_prepared(view.id), ..view }).collect()
    });
    Ok(Json(Listing::new(told.await?)))
}

/// What is said of a blob that is put: lists with commas.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    residency: Option<String>,
    class: Option<String>,
    ttl_ms: Option<u64>,
}

impl Said {
    fn labels(self) -> ApiResult<Labels> {
        let list = |text: Option<String>| text.map(|text| text.split(',').map(str::to_owned).collect());
        let residency = list(self.residency).unwrap_or_default();
        spec::labels(&LabelsRequest { residency, class: list(self.class).unwrap_or_default(), ttl_ms: self.ttl_ms })
    }
}

pub(super) async fn put(State(api): State<Api>, Query(said): Query<Said>, request: Request) -> ApiResult<Response> {
    if announced(request.headers()).is_some_and(|bytes| bytes > INPUT_BYTES_MAX) {
        pass_over(request).await;
        return Err(too_large_for_a_blob());
    }
    let labels = match said.labels() {
        Ok(labels) => labels,
        Err(error) => {
            pass_over(request).await;
            return Err(error);
        }
    };
    let Stored { id, bytes } = receive(&api.blobs, request.into_body(), labels).await?;
    let pinned = api.blobs.held(id).pinned;
    let labels = LabelsView::of(&api.blobs.labels(id));
    let view = BlobView { schema: schema(), id, bytes, is_module: false, pinned, complete: true, labels };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Writes on a thread that may block what arrives here.
async fn receive(store: &BlobStore, body: Body, labels: Labels) -> ApiResult<Stored> {
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
            Ok(()) => writer.finish_labelled(&labels).map(Some),
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

fn too_large_for_a_blob() -> ApiError {
    let title = format!("a blob has at most {INPUT_BYTES_MAX} bytes");
    ApiError::new(codes::TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE, title, "cut it into several: split -b 256M")
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
            pass_over_rest(body).await;
            return Err(too_large_for_a_blob());
        }
        if pieces.send(piece).await.is_err() {
            // The writer has failed, and says why; who is still writing would not hear it.
            pass_over_rest(body).await;
            break;
        }
    }
    Ok(())
}

fn named(id: &str) -> ApiResult<BlobId> {
    id.parse().map_err(|error: shoal_protocol::id::IdError| {
        ApiError::bad_request(error.to_string(), "`shoal blob ls` lists the blobs of this peer")
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct From {
    from: Option<String>,
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = named(&id)?;
    let asked = range::asked(&headers);
    if api.blobs.stat(id).is_some() {
        return send(&api.blobs, id, asked).await;
    }
    // What is after the end of the blob is not known yet; a range from its end is of all of it.
    let wanted = asked.as_ref().and_then(range::Asked::without_size);
    let opened = api.driver.open_blob(id, from.from, wanted).await?;
    let answered = range::answer(asked, opened.arriving.size_bytes())?;
    Ok(answered.with_body(|span| arriving(opened, span)))
}

/// The bytes of a blob that is here.
pub(super) async fn send(store: &BlobStore, id: BlobId, asked: Option<range::Asked>) -> ApiResult<Response> {
    let store = store.clone();
    let reader = spawn_blocking(move || store.open_read(id)).await??;
    let answered: Answered = range::answer(asked, reader.size_bytes())?;
    Ok(answered.with_body(|span| {
        // The next piece is read while one leaves.
        let pieces = futures::stream::try_unfold(read_piece(reader, span), |reading| async move {
            let (piece, reader, rest) = reading.await.map_err(std::io::Error::other)??;
            let is_over = piece.is_empty();
            Ok::<_, std::io::Error>((!is_over).then(|| (Bytes::from(piece), read_piece(reader, rest))))
        });
        Body::from_stream(pieces)
    }))
}

type Reading = JoinHandle<std::io::Result<(Vec<u8>, BlobReader, Range<u64>)>>;

/// Reads the beginning of a span; what is left of it afterwards.
fn read_piece(mut reader: BlobReader, span: Range<u64>) -> Reading {
    spawn_blocking(move || {
        let length = usize::try_from(span.end - span.start).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; length];
        reader.seek(SeekFrom::Start(span.start))?;
        reader.read_exact(&mut piece)?;
        Ok((piece, reader, span.start + length as u64..span.end))
    })
}

/// The bytes of a blob that is being fetched, as they are verified.
fn arriving(opened: Opened, span: Range<u64>) -> Body {
    let pieces = futures::stream::try_unfold((opened, span), |(mut opened, span)| async move {
        if span.is_empty() {
            return Ok(None);
        }
        let mut progress = opened.arriving.watch();
        let readable = loop {
            let readable = opened.arriving.readable(span.start);
            if readable > 0 {
                break readable.min(span.end - span.start);
            }
            tokio::select! {
                _ = progress.changed() => {}
                ended = &mut opened.is_over => {
                    let why = match ended {
                        // Its last bytes came just before its end.
                        Ok(Ok(())) if opened.arriving.readable(span.start) > 0 => continue,
                        Ok(Ok(())) => "it ended before its last byte".to_owned(),
                        Ok(Err(why)) => why,
                        Err(_) => "this peer is shutting down".to_owned(),
                    };
                    return Err(std::io::Error::other(why));
                }
            }
        };
        let length = usize::try_from(readable).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let arriving = opened.arriving.clone();
        let piece =
            spawn_blocking(move || arriving.read(span.start, length)).await.map_err(std::io::Error::other)??;
        Ok(Some((Bytes::from(piece), (opened, span.start + length as u64..span.end))))
    });
    Body::from_stream(pieces)
}

#[derive(Debug, Deserialize)]
pub(super) struct Looking {
    #[serde(default)]
    seek: bool,
}

pub(super) async fn stat(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(Looking { seek }): Query<Looking>,
) -> ApiResult<Json<BlobStat>> {
    let id = named(&id)?;
    if seek {
        api.driver.seek_blob(id).await?;
    }
    let (local, part, held) = (api.blobs.stat(id), api.blobs.part_of(id), api.blobs.held(id));
    let durable = api.blobs.is_durable(id);
    let partial_bytes = part.map(|_| api.blobs.part_bytes(id));
    let (labels, owners) = (api.blobs.labels(id), api.blobs.owners(id));
    let stat = api.driver.read(move |driver| {
        let me = driver.peer().me(driver.now()).peer;
        let others = driver.peer().holders_of(id).into_iter().filter(|peer| *peer != me);
        let named = |peer| HolderView { peer, name: driver.name_of(peer) };
        let mut labels = labels;
        labels.join(&driver.peer().blob_labels(id));
        BlobStat {
            schema: schema(),
            id,
            bytes: local.or(part).or_else(|| driver.peer().blob(id).map(|blob| blob.bytes)),
            local: local.is_some(),
            partial_bytes,
            durable,
            pinned: held.pinned,
            leases: held.leases,
            is_module: driver.is_prepared(id),
            holders: others.map(named).collect(),
            labels: LabelsView::of(&labels),
            owners: owners.into_iter().map(named).collect(),
        }
    });
    let stat = stat.await?;
    if stat.bytes.is_none() && stat.holders.is_empty() {
        let why = "neither this peer nor a neighbour that is known to it has it".into();
        return Err(Refusal::NoBlob { id, why }.into());
    }
    Ok(Json(stat))
}

pub(super) async fn pin(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let id = named(&id)?;
    if api.blobs.stat(id).is_none() {
        api.driver.fetch_blob(id, None).await?;
    }
    spawn_blocking(move || api.blobs.pin_for_user(id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unpin(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let id = named(&id)?;
    let was_pinned = {
        let blobs = api.blobs.clone();
        spawn_blocking(move || blobs.unpin_for_user(id)).await??
    };
    if !was_pinned && api.blobs.stat(id).is_none() {
        return Err(BlobError::NotFound { id }.into());
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let id = named(&id)?;
    let blobs = api.blobs.clone();
    spawn_blocking(move || blobs.remove(id)).await??;
    api.driver.read(move |driver| driver.forget_code(vec![id])).await?;
    Ok(StatusCode::NO_CONTENT)
}
