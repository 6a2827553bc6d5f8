//! Asking for something: one request, and its answer within the time it may take.

use core::time::Duration;

use hyper::Method;

use super::answer::{ANSWER_BYTES_MAX, Answer, parse, problem};
use super::body::Body;
use super::{Client, ClientError, Download};

impl Client {
    /// A request whose answer is that it was done.
    pub(super) async fn order(&self, path: &str) -> Result<(), ClientError> {
        let done = async { self.download_by(Method::POST, path).await?.bytes(ANSWER_BYTES_MAX).await.map(drop) };
        tokio::time::timeout(self.timeout, done).await.unwrap_or(Err(ClientError::Timeout { after: self.timeout }))
    }

    pub(super) async fn get<T: Answer>(&self, path: &str) -> Result<T, ClientError> {
        self.within(self.timeout, self.pool.send(Method::GET, path, Body::empty())).await
    }

    pub(super) async fn post<T: Answer>(&self, path: &str, body: Body) -> Result<T, ClientError> {
        self.within(self.timeout, self.pool.send(Method::POST, path, body)).await
    }

    pub(super) async fn within<T: Answer>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<Download, ClientError>>,
    ) -> Result<T, ClientError> {
        let answer = async { self.read(request.await?).await };
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(ClientError::Timeout { after: limit }))
    }

    pub(super) async fn download(&self, path: &str) -> Result<Download, ClientError> {
        self.download_by(Method::GET, path).await
    }

    pub(super) async fn download_by(&self, method: Method, path: &str) -> Result<Download, ClientError> {
        // A result or a blob may first have to come from another peer, so only the daemon can say when to give up.
        let answer = self.pool.send(method, path, Body::empty()).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await) }
    }

    pub(super) async fn read<T: Answer>(&self, answer: Download) -> Result<T, ClientError> {
        if !answer.status().is_success() {
            return Err(problem(answer).await);
        }
        parse(&answer.bytes(ANSWER_BYTES_MAX).await?)
    }
}
