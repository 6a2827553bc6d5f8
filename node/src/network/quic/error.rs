//! Why a listener, a dial or a handshake has come to nothing.

use std::io;
use std::net::SocketAddr;

use libp2p::relay;

/// What can go wrong below the streams.
#[derive(Debug, thiserror::Error)]
pub(in crate::network) enum QuicError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the handshake took longer than {} s", super::settings::HANDSHAKE_MAX.as_secs())]
    Slow,
    /// Its address had the most of them when one too many began.
    #[error("the handshake was given up for others: too many had begun and not gone on")]
    GivenUp,
    /// This side does not take the other for a member.
    #[error("{0}")]
    Refused(String),
    /// The other side does not take this one for a member, or is no peer at all.
    #[error("it does not take this peer for a member: {0}")]
    RefusedThere(String),
    #[error(transparent)]
    Connection(quinn::ConnectionError),
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error("no listener of this kind to be reached through")]
    NoListener,
    #[error("the relay: {0}")]
    Relay(#[from] relay::client::transport::Error),
    #[error("too many connections through relays are being made")]
    TooManyCircuits,
    #[error("a way to {0} is being opened already")]
    PunchingAlready(SocketAddr),
}

impl QuicError {
    /// Whether whoever began this handshake did not go on with it: it may be lost on the way, and it may be an attack.
    pub(in crate::network) fn is_half_open(&self) -> bool {
        matches!(self, Self::Slow | Self::GivenUp | Self::Connection(quinn::ConnectionError::TimedOut))
    }

    /// Whether one of the two does not take the other for a member: strangers are strangers to each other, and the one
    /// that dialled is the first to find out.
    pub(in crate::network) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::RefusedThere(_))
    }
}

/// TLS alerts are QUIC error codes from here on (RFC 9001, 4.8).
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;
/// What rustls puts before words that are not its own.
const FOREIGN_WORDS: &str = "unexpected error: ";

impl From<quinn::ConnectionError> for QuicError {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::TransportError(error) if CRYPTO_ERRORS.contains(&u64::from(error.code)) => {
                let words = error.reason.rsplit(FOREIGN_WORDS).next().unwrap_or(&error.reason);
                Self::Refused(words.to_owned())
            }
            quinn::ConnectionError::ConnectionClosed(close) if CRYPTO_ERRORS.contains(&u64::from(close.error_code)) => {
                Self::RefusedThere(close.error_code.to_string())
            }
            error => Self::Connection(error),
        }
    }
}
