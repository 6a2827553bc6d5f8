//! Reading a whole blob.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::RawFd;

use super::Pin;
use super::seal::{BlobKey, Content};

/// An open blob; it stays while it is read.
#[derive(Debug)]
pub struct BlobReader {
    content: Content,
    at: u64,
    _pin: Pin,
}

impl BlobReader {
    pub(super) fn new(content: Content, pin: Pin) -> Self {
        Self { content, at: 0, _pin: pin }
    }

    /// The size of the whole blob.
    pub fn size_bytes(&self) -> u64 {
        self.content.bytes()
    }

    /// For a process that has no files of its own: the open file, which stands where the content begins, and the key that
    /// content takes.
    pub(crate) fn lend(&self) -> io::Result<(RawFd, Option<BlobKey>)> {
        self.content.lend()
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.sealed().read_at(self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let at = match position {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
