//! HTTP/1.1 over the daemon's Unix socket, with connections kept for the next request.
//!
//! **Invariant:** a connection returns to the pool only when its answer has been read to the end.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ClientError;
use super::body::Body;

/// Idle connections kept; more are closed after their answer.
const IDLE_MAX: usize = 128;

/// Connections to one daemon.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.0.socket).finish()
    }
}

impl Pool {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Shared { socket, idle: Mutex::new(Vec::new()) }))
    }

    pub(super) fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// Sends a request and returns when the answer's head is here.
    pub(super) async fn send(&self, method: Method, path: &str, body: Body) -> Result<Download, ClientError> {
        let content_type = body.content_type();
        let uri: Uri = path.parse().map_err(|_| ClientError::Malformed { why: format!("`{path}` is not a path") })?;
        // What changes nothing and carries nothing can be asked again whatever became of the first time.
        let is_question = method.is_safe();
        let question = || {
            let mut request = Request::new(Body::empty());
            (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri.clone());
            request.headers_mut().insert(HOST, HeaderValue::from_static("shoald"));
            request
        };
        let mut request = question();
        *request.body_mut() = body;
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }

        while let Some(mut sender) = self.take_idle() {
            // The daemon may have closed a kept connection; a request it never saw is safe to send again.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Download::new(response, sender, self.clone())),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if is_question => request = question(),
                    None => return Err(broken(&error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        Ok(Download::new(response, sender, self.clone()))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, ClientError> {
        let stream = UnixStream::connect(&self.0.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.0.socket.clone(), source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // Its errors reach whoever waits for an answer through the sender.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }
}

fn broken(error: &hyper::Error) -> ClientError {
    use core::error::Error;
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    ClientError::Broken { why: format!("{error}{cause}") }
}

/// An answer whose body is read piece by piece.
pub struct Download {
    response: Response<Incoming>,
    connection: Option<SendRequest<Body>>,
    pool: Pool,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("status", &self.status()).field("length", &self.length()).finish()
    }
}

impl Download {
    fn new(response: Response<Incoming>, connection: SendRequest<Body>, pool: Pool) -> Self {
        Self { response, connection: Some(connection), pool }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// What the daemon says of the answer under this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The size of the whole, when the daemon knows it beforehand.
    pub fn length(&self) -> Option<u64> {
        hyper::body::Body::size_hint(self.response.body()).exact()
    }

    /// The next piece, or nothing at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        if let Some(connection) = self.connection.take() {
            self.pool.keep(connection);
        }
        Ok(None)
    }

    /// All of it, if it is no more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, ClientError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = Vec::from(first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if whole.len().saturating_add(piece.len()) > limit {
                return Err(ClientError::Malformed { why: format!("it is longer than {limit} bytes") });
            }
            whole.extend_from_slice(&piece);
            next = self.chunk().await?;
        }
        Ok(whole.into())
    }
}
