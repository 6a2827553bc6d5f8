//! What can go wrong between peers, and what a person can do about it.

use std::io;
use std::path::PathBuf;

use shoal_protocol::PeerId;
use shoal_protocol::config::MESSAGE_BYTES_MAX;

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another program holds the port.
    #[error("cannot listen on {address}: the UDP port is in use by another program")]
    AddressInUse {
        /// As configured.
        address: String,
    },
    /// The machine has no such address, or the port is privileged, or similar.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// As configured.
        address: String,
        /// The system's words.
        why: String,
    },
    /// Not a multiaddress of UDP and QUIC.
    #[error("`{address}` is not a QUIC multiaddress{why}")]
    BadAddress {
        /// As configured.
        address: String,
        /// The parser's words, after a colon, or nothing.
        why: String,
    },
    /// The node key does not make an identity.
    #[error("the node key cannot be used: {0}")]
    BadKey(String),
    /// The transport could not be built.
    #[error("the transport could not be set up: {0}")]
    Transport(String),
}

impl NetworkError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::AddressInUse { address } => {
                format!("stop the other program (another shoald?), or choose another port than in {address}")
            }
            Self::Listen { .. } => "choose an address of this machine and a port above 1023".into(),
            Self::BadAddress { .. } => "write it like /ip4/0.0.0.0/udp/7700/quic-v1".into(),
            Self::BadKey(_) => "restore the key file from a backup, or remove it to become a new peer".into(),
            Self::Transport(_) => "check that this machine allows UDP sockets".into(),
        }
    }
}

/// Why a frame was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No admitted connection to it.
    #[error("not connected to peer {0:?}")]
    NotConnected(PeerId),
    /// The neighbour takes frames slower than they are queued; it has been cut off.
    #[error("the queue to peer {0:?} was full; the connection has been closed")]
    Full(PeerId),
    /// Longer than a message may be; nothing was queued.
    #[error("a message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
}

impl SendError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "see which peers are connected with `shoal peers`",
            Self::Full(_) => "check the link to that peer with `shoal ping`; it is dialled again by itself",
            Self::TooLarge(_) => "send large data as a blob",
        }
    }
}

/// Why there is no bulk stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    /// No admitted connection to it.
    #[error("not connected to peer {0:?}")]
    NotConnected(PeerId),
    /// The connection ended, or the peer refused the stream.
    #[error("peer {peer:?} did not take a bulk stream: {why}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// What happened.
        why: String,
    },
    /// No answer in time.
    #[error("no bulk stream to peer {0:?} within {limit_s} s", limit_s = super::limits::STREAM_OPEN_TIMEOUT.as_secs())]
    TimedOut(PeerId),
}

impl BulkError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "see which peers are connected with `shoal peers`",
            Self::Refused { .. } | Self::TimedOut(_) => "try again; check the link to that peer with `shoal ping`",
        }
    }
}

/// Why the mesh was not told, or not asked, of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// As much is asked for already, or the network is closing.
    #[error("too much is asked of the mesh at once")]
    Busy,
}

impl ProvideError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Busy => "try again in some seconds",
        }
    }
}

/// Why the node key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system refused.
    #[error("cannot {action} the node key {path}: {why}", path = path.display())]
    Io {
        /// "read" or "create".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
    /// Others than the owner may read or change it.
    #[error("the node key {path} is open to other users (mode {mode:04o}), so it is no longer a secret", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not 32 bytes: truncated, or another file.
    #[error("the node key {path} is damaged: {bytes} bytes instead of 32", path = path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness for a new node key: {0}")]
    NoEntropy(String),
}

impl KeyError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { path, .. } => format!("check the owner and mode of {} and its directory", path.display()),
            Self::Exposed { path, .. } => {
                format!(
                    "if nobody copied it: `chmod 600 {0}`; otherwise remove it to become a new peer",
                    path.display()
                )
            }
            Self::WrongLength { path, .. } => {
                format!("restore {0} from a backup, or remove it to become a new peer", path.display())
            }
            Self::NoEntropy(_) => "start shoald again once the system has finished booting".into(),
        }
    }
}

/// The TLS key log could not be switched off.
#[derive(Debug, thiserror::Error)]
#[error("SSLKEYLOGFILE is set, which would write the keys of every connection to a file, and cannot be removed: {why}")]
pub struct KeyLogError {
    /// What stood in the way.
    pub why: String,
}

impl KeyLogError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        "start shoald with `env -u SSLKEYLOGFILE shoald ...`"
    }
}
