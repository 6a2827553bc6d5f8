//! Why something was not done with a stream.

use shoal_protocol::PeerId;
use shoal_protocol::stream::{JournalError, STREAMS_MAX, SpecError};

use super::intake::NotTaken;
use crate::blobs::BlobError;
use crate::store::StoreError;

/// Why something was not done with a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("there is no stream `{0}` here")]
    Unknown(String),
    #[error("stream `{0}` is another one: stop it with --forget first, or use another name")]
    Different(String),
    #[error("stream `{name}` is run by {owner}")]
    Elsewhere { name: String, owner: PeerId },
    #[error("stream `{0}` is not running")]
    NotRunning(String),
    #[error("stream `{name}` cannot go on: {why}")]
    Stuck { name: String, why: String },
    #[error("stream `{0}` takes records from elsewhere")]
    NotFed(String),
    #[error("stream `{0}` has no room for more records now")]
    Full(String),
    #[error("this peer has {STREAMS_MAX} streams, which is as many as it may")]
    TooMany,
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Taken(#[from] NotTaken),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("it could not be written down: {0}")]
    Disk(String),
}
