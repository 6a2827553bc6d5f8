//! Streams, and the records that are fed to them.

use hyper::Method;
use hyper::body::Bytes;
use shoal_protocol::api::{Listing, StreamRequest, StreamView, TakenView};

use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError};

impl Client {
    /// Starts a stream, or one that was stopped again.
    pub async fn start_stream(&self, request: &StreamRequest) -> Result<StreamView, ClientError> {
        self.post("/v1/streams", Body::json(request)).await
    }

    /// The streams that the daemon knows of.
    pub async fn streams(&self) -> Result<Listing<StreamView>, ClientError> {
        self.get("/v1/streams").await
    }

    /// One of them.
    pub async fn stream(&self, name: &str) -> Result<StreamView, ClientError> {
        self.get(&format!("/v1/streams/{}", encode(name))).await
    }

    /// Stops a stream; with `forget`, for good.
    pub async fn stop_stream(&self, name: &str, forget: bool) -> Result<StreamView, ClientError> {
        self.post(&format!("/v1/streams/{}/stop?forget={forget}", encode(name)), Body::empty()).await
    }

    /// Hands in lines of a feed, of which the first is its `from`-th, and returns when they are on disk.
    pub async fn feed_stream(
        &self,
        name: &str,
        feed: &str,
        from: u64,
        lines: impl Into<Bytes>,
    ) -> Result<TakenView, ClientError> {
        let path = format!("/v1/streams/{}/records?feed={}&from={from}", encode(name), encode(feed));
        // The daemon says itself when it has no room, or takes too long.
        self.within(2 * self.timeout, self.pool.send(Method::POST, &path, Body::full(lines.into()))).await
    }
}
