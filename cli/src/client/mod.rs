//! The connection to a `shoald`: one method for each route of [`shoal_protocol::api`].
//!
//! Connections are kept and used again, so a request in the ordinary course costs one write and one read. A [`Client`]
//! is cheap to clone; clones share the kept connections. The methods stand with the part of the API they belong to.
//!
//! **Invariant:** an answer whose schema is not ours is never interpreted.
//! **Not here:** what a person sees of it. That is `commands/`.

mod answer;
mod blobs;
mod body;
mod connection;
mod encoding;
mod error;
mod events;
mod members;
mod patience;
mod peers;
mod pipelines;
mod policy;
mod privacy;
mod request;
mod services;
mod streams;
mod tasks;

use core::time::Duration;
use std::path::{Path, PathBuf};

pub use self::connection::Download;
use self::connection::Pool;
pub use self::error::ClientError;
pub use self::events::EventStream;
pub use self::patience::Patience;
pub use self::services::{Answered, CallOptions};

/// How long an ordinary request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to talk to one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon at this socket; connects when first used.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { pool: Pool::new(socket.into()), timeout: REQUEST_TIMEOUT }
    }

    /// A client of the daemon at an address as people write it: `unix:PATH`, or nothing for the default.
    pub fn at(address: Option<&str>) -> Result<Self, ClientError> {
        match address {
            None => Ok(Self::new(crate::home::socket())),
            Some(text) => match text.strip_prefix("unix:") {
                Some(path) if !path.is_empty() => Ok(Self::new(path)),
                Some(_) | None => Err(ClientError::Address { text: text.to_owned() }),
            },
        }
    }

    /// The same client, giving ordinary requests this long.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        self.pool.socket()
    }
}
