//! Moving blobs over streams: each slice is verified as it arrives, whoever it comes from.
//!
//! ```text
//! asking                                         holding
//!   Request: which blob, which groups,   ─►
//!            with a proof of its size?
//!                                        ◄─   Answer: status, size of the whole blob
//!                                        ◄─   the last group with its hashes, where a proof was asked for
//!                                        ◄─   slice after slice with its hashes
//!   the next Request, ahead of need …    ─►   … until the asking side ends the stream
//! ```
//!
//! A blob with labels goes only to who may have it, and its manifests go before it, in the first answer.
//!
//! **Invariant:** neither side reads more than [`wire::HEADER_BYTES_MAX`] before it knows what follows, and never more than
//! a slice before it is verified; nothing is stored before the size is proved by the tree.
//! **Not here:** opening streams, and knowing whom to ask.

mod download;
mod pace;
mod plan;
mod serve;
mod wire;

use std::time::Duration;

use shoal_protocol::config::INPUT_BYTES_MAX;
use shoal_protocol::id::BlobId;
use shoal_protocol::residency::Denial;
use tokio::time::timeout;

pub use download::{Arriving, Download, fetch};
pub use pace::Pace;
pub use serve::{Asker, BlobServer, ServeLimits};

use super::BlobError;

/// A stream on which nothing moves for this long is given up.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Slower than this over a whole stretch is given up, so that drops of bytes cannot hold a slot for ever.
const BYTES_PER_S_MIN: u64 = 16 * 1024;
/// Time any stretch has before its rate matters.
const GRACE: Duration = Duration::from_secs(30);

/// Why a blob did not come over, or was not sent.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The holder does not hold it.
    #[error("the peer does not hold blob {0}")]
    NotThere(BlobId),
    /// The holder serves as many as it will; worth another try.
    #[error("the peer is busy with other transfers")]
    Busy,
    /// The holder could not make sense of the request, or cannot read the blob.
    #[error("the peer refused to send blob {0}")]
    Refused(BlobId),
    /// The holder may not send it here: its labels forbid it.
    #[error("the labels of blob {0} do not let this peer have it")]
    NotForUs(BlobId),
    /// It is here, and its labels do not let who asked have it.
    #[error("blob {id} is withheld: {denial}")]
    Withheld {
        /// Which blob.
        id: BlobId,
        /// The label at fault.
        denial: Denial,
    },
    /// The holder announced another size than the task did.
    #[error("the peer announced {announced} bytes where {expected} were expected")]
    UnexpectedSize {
        /// What the task says.
        expected: u64,
        /// What the holder says.
        announced: u64,
    },
    /// Larger than any blob may be.
    #[error("the peer announced {announced} bytes, and a blob has at most {INPUT_BYTES_MAX}")]
    TooLarge {
        /// What the holder says.
        announced: u64,
    },
    /// What the holder sent is not what this blob has there.
    #[error("the peer sent bytes that do not hash to blob {id}, from byte {at} on")]
    Lied {
        /// Which blob.
        id: BlobId,
        /// Where it began.
        at: u64,
    },
    /// Not this protocol, or not this version of it.
    #[error("the peer does not speak this transfer protocol: {0}")]
    Protocol(String),
    /// Nothing moved for too long, or too little.
    #[error("the transfer stalled at {at} bytes")]
    Stalled {
        /// How far it came.
        at: u64,
    },
    /// The stream broke; what came is kept and the transfer can go on.
    #[error("the stream broke at {at} bytes: {source}")]
    Broken {
        /// How far it came.
        at: u64,
        /// What the transport said.
        source: std::io::Error,
    },
    /// The local store refused.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The blocking work of this process was cut short.
    #[error("the daemon is stopping")]
    Stopping,
}

impl TransferError {
    /// Whether the same transfer may go on over a new stream.
    pub fn is_resumable(&self) -> bool {
        match self {
            Self::Busy
            | Self::Stalled { .. }
            | Self::Broken { .. }
            // What was given up a moment ago is laid down soon.
            | Self::Store(BlobError::Arriving { .. }) => true,
            Self::NotThere(_)
            | Self::Refused(_)
            | Self::NotForUs(_)
            | Self::Withheld { .. }
            | Self::UnexpectedSize { .. }
            | Self::TooLarge { .. }
            | Self::Lied { .. }
            | Self::Protocol(_)
            | Self::Store(_)
            | Self::Stopping => false,
        }
    }

    /// Whether the holder is to blame: no honest peer does that.
    pub fn is_lie(&self) -> bool {
        matches!(self, Self::Lied { .. })
    }

    /// Whether another holder cannot help either.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Stopping) && !self.is_resumable()
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotThere(_) | Self::Refused(_) => "name another peer that holds it, or store it again",
            Self::NotForUs(_) | Self::Withheld { .. } => {
                "run the task where the blob may be (`shoal policy check`), or label this peer: `shoal peer label`"
            }
            Self::Busy => "try again in a moment",
            Self::UnexpectedSize { .. } => "correct the size in the task, or name another holder",
            Self::TooLarge { .. } => "cut it into several blobs",
            Self::Lied { .. } => "name another peer that holds it",
            Self::Protocol(_) => "bring both peers to the same release",
            Self::Stalled { .. } | Self::Broken { .. } => "check the link to the peer (`shoal peer ping`)",
            Self::Store(error) => error.hint(),
            Self::Stopping => "try again when it is back",
        }
    }
}

/// One step of a transfer, which must not take for ever.
async fn moved<T>(step: impl Future<Output = std::io::Result<T>>, at: u64) -> Result<T, TransferError> {
    match timeout(IDLE_MAX, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(TransferError::Broken { at, source }),
        Err(_) => Err(TransferError::Stalled { at }),
    }
}

fn time_for(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / BYTES_PER_S_MIN)
}

fn unexpected_end() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof)
}
