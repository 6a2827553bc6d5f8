//! Cuts a stream of bytes into frames: a big-endian `u32` length, then so many bytes.
//!
//! **Invariant:** a length over the limit is an error before a byte of that frame is read, and the buffer never
//! grows past one frame of the limit in force.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

const PREFIX_BYTES: usize = 4;
/// Many small frames come with one read; an idle neighbour must not cost more.
const BUFFER_BYTES: usize = 8 * 1024;

/// A frame was announced that no honest peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} bytes was announced; the limit is {limit}")]
pub(super) struct FrameTooLong {
    pub(super) announced: usize,
    pub(super) limit: usize,
}

#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    /// The next frame that has arrived completely.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Vec<u8>>, FrameTooLong> {
        let arrived = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((prefix, rest)) = arrived.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let announced = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(FrameTooLong { announced, limit });
        }
        let Some(body) = rest.get(..announced) else {
            self.make_room(PREFIX_BYTES + announced);
            return Ok(None);
        };
        let body = body.to_vec();
        self.start += PREFIX_BYTES + announced;
        Ok(Some(body))
    }

    /// Reads once; `Ok(0)` is the end of the stream. To be called when [`FrameReader::next`] has nothing.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(PREFIX_BYTES);
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let mut into = ReadBuf::new(free);
        futures::ready!(Pin::new(stream).poll_read(context, &mut into))?;
        let read = into.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// Bytes of a frame that is not complete.
    pub(super) fn has_partial_frame(&self) -> bool {
        self.end > self.start
    }

    /// Room for a frame of `wanted` bytes that begins at `start`, and for at least one byte more than has arrived.
    fn make_room(&mut self, wanted: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // A large frame is rare; its buffer is not kept for the small ones that follow.
            if self.buffer.len() > BUFFER_BYTES && wanted <= BUFFER_BYTES {
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
        if self.buffer.len() - self.start < wanted || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Gives its bytes in chunks of the given sizes, over and over.
    struct Chunks {
        bytes: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl AsyncRead for Chunks {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            assert!(into.remaining() > 0, "a read into nothing looks like the end");
            let size = self.sizes[self.turn % self.sizes.len()].min(into.remaining()).min(self.bytes.len() - self.at);
            into.put_slice(&self.bytes[self.at..self.at + size]);
            self.at += size;
            self.turn += 1;
            Poll::Ready(Ok(()))
        }
    }

    fn read_all(bytes: Vec<u8>, sizes: Vec<usize>, limit: usize) -> Result<Vec<Vec<u8>>, FrameTooLong> {
        let mut stream = Chunks { bytes, at: 0, sizes, turn: 0 };
        let mut reader = FrameReader::new();
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = reader.next(limit)? {
                frames.push(frame);
            }
            assert!(reader.buffer.len() <= BUFFER_BYTES.max(limit + PREFIX_BYTES));
            let filled = reader.poll_fill(&mut stream, &mut Context::from_waker(Waker::noop()));
            match filled {
                Poll::Ready(Ok(0)) => return Ok(frames),
                Poll::Ready(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_are_cut(
            lengths in prop::collection::vec(prop_oneof![0..40_usize, 0..30_000_usize], 0..20),
            sizes in prop::collection::vec(prop_oneof![1..9_usize, 1..20_000_usize], 1..8),
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, &length)| vec![i as u8; length]).collect();
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend((frame.len() as u32).to_be_bytes());
                bytes.extend(frame);
            }

            prop_assert_eq!(read_all(bytes, sizes, 30_000).unwrap(), frames);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_an_error_before_the_frame_is_read() {
        let error = read_all(65_537_u32.to_be_bytes().to_vec(), vec![4], 65_536).unwrap_err();

        assert_eq!(error, FrameTooLong { announced: 65_537, limit: 65_536 });
    }
}
