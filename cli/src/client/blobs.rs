//! Blobs: bytes in the daemon's store.

use hyper::Method;
use hyper::body::Bytes;
use shoal_protocol::api::{BlobStat, BlobView, LabelsRequest, Listing};
use shoal_protocol::id::BlobId;
use tokio::io::AsyncRead;

use super::answer::ANSWER_BYTES_MAX;
use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError, Download};

impl Client {
    /// The blobs in the daemon's store.
    pub async fn blobs(&self) -> Result<Listing<BlobView>, ClientError> {
        self.get("/v1/blobs").await
    }

    /// Stores these bytes.
    pub async fn put_blob(&self, bytes: impl Into<Bytes>) -> Result<BlobView, ClientError> {
        self.put_labelled_blob(bytes, &LabelsRequest::default()).await
    }

    /// Stores these bytes, of which this is said.
    pub async fn put_labelled_blob(
        &self,
        bytes: impl Into<Bytes>,
        labels: &LabelsRequest,
    ) -> Result<BlobView, ClientError> {
        let answer = self.pool.send(Method::POST, &blobs_route(labels), Body::full(bytes.into())).await?;
        self.read(answer).await
    }

    /// Stores what the reader gives, `length` bytes of it, without holding it in memory.
    pub async fn put_blob_from(
        &self,
        reader: impl AsyncRead + Send + 'static,
        length: u64,
        labels: &LabelsRequest,
    ) -> Result<BlobView, ClientError> {
        let answer = self.pool.send(Method::POST, &blobs_route(labels), Body::reader(reader, length)).await?;
        self.read(answer).await
    }

    /// A blob's bytes, from here, from the peer named, or from any neighbour that has it.
    pub async fn blob(&self, id: BlobId, from: Option<&str>) -> Result<Download, ClientError> {
        match from {
            None => self.download(&format!("/v1/blobs/{id}")).await,
            Some(peer) => self.download(&format!("/v1/blobs/{id}?from={}", encode(peer))).await,
        }
    }

    /// What is known of a blob; with `seek`, the neighbours are asked who has it.
    pub async fn blob_stat(&self, id: BlobId, seek: bool) -> Result<BlobStat, ClientError> {
        self.get(&format!("/v1/blobs/{id}/stat?seek={seek}")).await
    }

    /// Keeps a blob at this peer.
    pub async fn pin_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.order(&format!("/v1/blobs/{id}/pin")).await
    }

    /// Lets it go when room is wanted.
    pub async fn unpin_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.order(&format!("/v1/blobs/{id}/unpin")).await
    }

    /// Removes a blob from this peer.
    pub async fn remove_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.download_by(Method::DELETE, &format!("/v1/blobs/{id}")).await?.bytes(ANSWER_BYTES_MAX).await.map(drop)
    }
}

/// Where a blob is stored of which this is said.
fn blobs_route(labels: &LabelsRequest) -> String {
    let list =
        |name: &str, items: &[String]| (!items.is_empty()).then(|| format!("{name}={}", encode(&items.join(","))));
    let ttl = labels.ttl_ms.map(|ms| format!("ttl_ms={ms}"));
    let said = [list("residency", &labels.residency), list("class", &labels.class), ttl];
    let said = said.into_iter().flatten().collect::<Vec<_>>().join("&");
    if said.is_empty() { "/v1/blobs".to_owned() } else { format!("/v1/blobs?{said}") }
}
