//! Reading a whole blob.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::RawFd;
use std::path::Path;

use shoal_protocol::id::BlobId;

use super::seal::{BlobKey, Content};
use super::{BlobError, BlobStore, CHUNK_BYTES, Pin, fingerprint};
use crate::store::is_unreadable;

impl BlobStore {
    /// A whole blob, checked against its name. For blobs of bounded size; others are read with [`Self::open_read`].
    pub fn read(&self, id: BlobId) -> Result<Vec<u8>, BlobError> {
        let _pin = self.pin(id)?;
        let content = self.open_content(id)?;
        let mut bytes = vec![0; usize::try_from(content.bytes()).unwrap_or(usize::MAX)];
        content.sealed().read_exact_at(0, &mut bytes).map_err(|error| self.reading_failed(id, error))?;
        if BlobId::of(&bytes) == id { Ok(bytes) } else { Err(self.put_aside(id)) }
    }

    /// A blob to be read piece by piece; its content was checked since it was last changed.
    pub fn open_read(&self, id: BlobId) -> Result<BlobReader, BlobError> {
        let pin = self.pin(id)?;
        let content = self.open_content(id)?;
        let fingerprint = fingerprint(content.file()).map_err(|error| self.reading_failed(id, error))?;
        if self.index().verified(id) != Some(fingerprint) {
            if hash(content.sealed().reader()).map_err(|error| self.reading_failed(id, error))? != id {
                return Err(self.put_aside(id));
            }
            self.index().set_verified(id, fingerprint);
        }
        Ok(BlobReader::new(content, pin))
    }

    /// Whether a blob is here, so that there is no place for it under another key. An error where that cannot be said now: what
    /// others count on is not replaced for that.
    pub(super) fn is_readable(&self, id: BlobId) -> Result<bool, BlobError> {
        match self.open_read(id) {
            Ok(_) => Ok(true),
            // What the disk has lost is lost, and may be put again.
            Err(BlobError::Io { source, .. }) if is_unreadable(&source) => {
                self.put_aside(id);
                Ok(false)
            }
            Err(error @ BlobError::Io { .. }) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The file of a whole blob, whoever wrote it.
    pub(super) fn open_content(&self, id: BlobId) -> Result<Content, BlobError> {
        match self.open_file(id).map_err(|error| self.reading_failed(id, error))? {
            Some(content) => Ok(content),
            // It was removed between the look at the index and this.
            None if self.index().bytes_of(id).is_none() => Err(BlobError::NotFound { id }),
            None => Err(self.put_aside(id)),
        }
    }

    fn open_file(&self, id: BlobId) -> io::Result<Option<Content>> {
        let find = |path: &Path| match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        if let Some(file) = find(&self.path(id))? {
            return Content::open(&self.0.keys, file, id);
        }
        if let Some(file) = find(&self.clear_path(id))? {
            return Content::clear(file).map(Some);
        }
        // It may have been sealed between the two looks.
        Content::open(&self.0.keys, File::open(self.path(id))?, id)
    }
}

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

    /// What the system's memory has of it is on disk then.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.content.file().sync_all()
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

fn hash(mut content: impl Read) -> io::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = content.read(&mut chunk)?;
        if count == 0 {
            return Ok(BlobId(*hasher.finalize().as_bytes()));
        }
        hasher.update(&chunk[..count]);
    }
}
