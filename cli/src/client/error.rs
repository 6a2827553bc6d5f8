//! Why the daemon gave no answer, or none that can be used.

use core::time::Duration;
use std::io;
use std::path::PathBuf;

use shoal_protocol::api::{Problem, SCHEMA};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not of the form `unix:PATH`.
    #[error("`{text}` is not an API address: expected unix:PATH")]
    Address {
        /// What was given.
        text: String,
    },
    /// Nobody answers at the socket. Nothing was sent.
    #[error("no shoald answers at {}: {source}", socket.display())]
    Unreachable {
        /// Where it should be.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended in the middle; the request may have had its effect.
    #[error("the connection to shoald broke: {why}")]
    Broken {
        /// What was seen.
        why: String,
    },
    /// The daemon did not answer in time; the request may have had its effect.
    #[error("shoald did not answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The daemon speaks another version of the API.
    #[error("shoald speaks {theirs}, this program speaks {SCHEMA}")]
    Schema {
        /// What it speaks.
        theirs: String,
    },
    /// The answer is not one of this API.
    #[error("the answer of shoald cannot be understood: {why}")]
    Malformed {
        /// The decoder's words.
        why: String,
    },
    /// The daemon refused.
    #[error("{}", _0.title)]
    Problem(Box<Problem>),
}

impl ClientError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Address { .. } => "write it as --api unix:/run/shoal/shoald.sock".to_owned(),
            Self::Unreachable { .. } => {
                "start a peer with `shoal up -d`, or name its socket with --api unix:PATH".to_owned()
            }
            Self::Broken { .. } => "see whether the daemon still runs with `shoal status`".to_owned(),
            Self::Timeout { .. } => "see whether the daemon is alive with `shoal status`, then try again".to_owned(),
            Self::Schema { .. } | Self::Malformed { .. } => {
                "use `shoal` and `shoald` of the same version: `shoal version`".to_owned()
            }
            Self::Problem(problem) => problem.hint.clone(),
        }
    }

    /// The daemon's own code, when it was the daemon that refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::Schema { .. }
            | Self::Malformed { .. } => None,
        }
    }
}
