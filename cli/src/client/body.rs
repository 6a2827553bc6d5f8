//! What a request carries: nothing, bytes in hand, or bytes read while they are sent.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use hyper::body::{Bytes, Frame, SizeHint};
use serde::Serialize;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at a time from a reader.
const CHUNK_BYTES: usize = 128 * 1024;

/// The body of a request.
pub(super) enum Body {
    /// Bytes in hand, and whether they are a JSON document.
    Full { bytes: Option<Bytes>, is_json: bool },
    /// Bytes still to be read, and how many.
    Reader { reader: Pin<Box<dyn AsyncRead + Send>>, left: u64, chunk: Box<[u8]> },
}

impl Body {
    pub(super) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self::Full { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), is_json: false }
    }

    pub(super) fn json<T: Serialize>(value: &T) -> Self {
        Self::Full { bytes: Some(to_json(value)), is_json: true }
    }

    pub(super) fn reader(reader: impl AsyncRead + Send + 'static, length: u64) -> Self {
        Self::Reader { reader: Box::pin(reader), left: length, chunk: vec![0; CHUNK_BYTES].into() }
    }
}

impl Body {
    /// What the daemon is told it is.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Full { bytes: None, .. } => None,
            Self::Full { is_json: true, .. } => Some("application/json"),
            Self::Full { is_json: false, .. } | Self::Reader { .. } => Some("application/octet-stream"),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Reader { left: 0, .. } => Poll::Ready(None),
            Self::Reader { reader, left, chunk } => {
                let mut buffer = ReadBuf::new(chunk);
                ready!(reader.as_mut().poll_read(cx, &mut buffer))?;
                let read = buffer.filled();
                let take = read.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                if take == 0 {
                    let short = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was sent");
                    return Poll::Ready(Some(Err(short)));
                }
                *left -= take as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&read[..take])))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full { bytes, .. } => bytes.is_none(),
            Self::Reader { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Reader { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Requests are plain structs with text keys, which cannot fail to serialize.
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
