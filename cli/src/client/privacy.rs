//! Statistics within a privacy budget.

use core::time::Duration;

use hyper::Method;
use shoal_protocol::api::{DatasetView, Listing, ReleaseRequest};
use shoal_protocol::privacy::{Declaration, Release};

use super::body::Body;
use super::{Client, ClientError};

/// Time beyond that of an ordinary request for a statistic: its keeper may be far away, and its rows many.
const RELEASE_PATIENCE: Duration = Duration::from_secs(150);

impl Client {
    /// Declares a data set at the daemon's peer.
    pub async fn declare(&self, declared: &Declaration) -> Result<DatasetView, ClientError> {
        self.post("/v1/privacy/datasets", Body::json(declared)).await
    }

    /// The data sets that are declared there, and what is left of their budgets.
    pub async fn datasets(&self) -> Result<Listing<DatasetView>, ClientError> {
        self.get("/v1/privacy/datasets").await
    }

    /// A statistic of one, here or at its keeper; it may have to read many rows first.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Release, ClientError> {
        let sent = self.pool.send(Method::POST, "/v1/privacy/releases", Body::json(request));
        self.within(self.timeout + RELEASE_PATIENCE, sent).await
    }
}
