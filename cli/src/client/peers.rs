//! This peer, its machine and configuration, and the peers around it.

use shoal_protocol::api::{Check, ConfigView, Listing, PeerView, PingView, RttView, Status};

use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError, EventStream};

impl Client {
    /// This peer and its neighbours.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// What of its machine stands in its way.
    pub async fn checks(&self) -> Result<Listing<Check>, ClientError> {
        self.get("/v1/checks").await
    }

    /// The daemon's configuration.
    pub async fn config(&self) -> Result<ConfigView, ClientError> {
        self.get("/v1/config").await
    }

    /// The peers this one knows.
    pub async fn peers(&self) -> Result<Listing<PeerView>, ClientError> {
        self.get("/v1/peers").await
    }

    /// Measures the round trip to a peer once.
    pub async fn ping(&self, peer: &str) -> Result<PingView, ClientError> {
        self.post(&format!("/v1/peers/{}/ping", encode(peer)), Body::empty()).await
    }

    /// The distance of two peers.
    pub async fn rtt(&self, a: &str, b: &str) -> Result<RttView, ClientError> {
        self.get(&format!("/v1/rtt?a={}&b={}", encode(a), encode(b))).await
    }

    /// News from now on.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.download("/v1/events").await?))
    }

    /// Asks the daemon to hand back queued work and end.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.order("/v1/shutdown").await
    }
}
