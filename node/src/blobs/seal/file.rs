//! Files as they are inside: positions count from the beginning of the content.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use shoal_protocol::id::BlobId;

use super::cipher::{BlobKey, Cipher};
use super::header::{Beginning, HEADER_BYTES, Header};
use super::keys::Keys;

/// What is sealed at a time, where that needs room beside the bytes themselves.
const PIECE_BYTES: usize = 64 * 1024;

/// A file of sealed bytes.
#[derive(Debug)]
pub(in crate::blobs) struct Sealed {
    file: File,
    cipher: Cipher,
    begins: u64,
}

impl Sealed {
    /// Hashes beside a blob under this key; as they are where it has none.
    pub(in crate::blobs) fn tree(keys: &Keys, key: Option<&BlobKey>, file: File) -> io::Result<Self> {
        Ok(Self { file, cipher: of_tree(keys, key)?, begins: 0 })
    }

    /// As `read(2)`: what is there, at most.
    pub(in crate::blobs) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.begins.saturating_add(at))?;
        self.cipher.apply(at, &mut into[..count])?;
        Ok(count)
    }

    pub(in crate::blobs) fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, self.begins.saturating_add(at))?;
        self.cipher.apply(at, into)
    }

    /// Writes bytes that nobody needs any more: they are sealed where they are.
    pub(in crate::blobs) fn write_own_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.cipher.apply(at, bytes)?;
        self.file.write_all_at(bytes, self.begins.saturating_add(at))
    }

    pub(in crate::blobs) fn write_at(&self, mut at: u64, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.write_own_at(at, &mut piece.to_vec())?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// From its beginning on, as others read files.
    pub(in crate::blobs) fn reader(&self) -> impl io::Read {
        Onwards { sealed: self, at: 0 }
    }
}

fn of_tree(keys: &Keys, key: Option<&BlobKey>) -> io::Result<Cipher> {
    match key {
        Some(key) if !keys.is_clear => Cipher::new(&key.of_tree()),
        Some(_) | None => Ok(Cipher::none()),
    }
}

struct Onwards<'a> {
    sealed: &'a Sealed,
    at: u64,
}

impl io::Read for Onwards<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.sealed.read_at(self.at, into)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The file of a blob, whole or in part.
#[derive(Debug)]
pub(in crate::blobs) struct Content {
    sealed: Sealed,
    /// None of a file that the version before wrote.
    key: Option<BlobKey>,
    bytes: u64,
}

impl Content {
    /// A blob that is to be written into this empty file. Without its header, which is written once it is what it should be,
    /// it is noise for ever.
    pub(in crate::blobs) fn begin(keys: &Keys, file: File) -> io::Result<Self> {
        let key = BlobKey::draw()?;
        let sealed = Sealed { file, cipher: keys.cipher(&key)?, begins: HEADER_BYTES };
        Ok(Self { sealed, key: Some(key), bytes: 0 })
    }

    /// Now it can be read again.
    pub(in crate::blobs) fn complete(&mut self, keys: &Keys, id: BlobId, bytes: u64) -> io::Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        Header { key: key.clone(), id, bytes }.write(keys, &self.sealed.file)?;
        self.bytes = bytes;
        Ok(())
    }

    /// A file that was sealed; nothing where it is not of this blob, or not of this size.
    pub(in crate::blobs) fn open(keys: &Keys, file: File, id: BlobId) -> io::Result<Option<Self>> {
        let Beginning::Good(header) = Header::read(keys, &file)? else { return Ok(None) };
        let is_whole = header.bytes.checked_add(HEADER_BYTES) == Some(file.metadata()?.len());
        if header.id != id || !is_whole {
            return Ok(None);
        }
        let sealed = Sealed { file, cipher: keys.cipher(&header.key)?, begins: HEADER_BYTES };
        Ok(Some(Self { sealed, key: Some(header.key), bytes: header.bytes }))
    }

    /// A file that the version before wrote.
    pub(in crate::blobs) fn clear(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { sealed: Sealed { file, cipher: Cipher::none(), begins: 0 }, key: None, bytes })
    }

    pub(in crate::blobs) fn key(&self) -> Option<&BlobKey> {
        self.key.as_ref()
    }

    pub(in crate::blobs) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::blobs) fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    pub(in crate::blobs) fn file(&self) -> &File {
        &self.sealed.file
    }

    /// For somebody else to read from its beginning on, with the key that this takes.
    pub(in crate::blobs) fn lend(&self) -> io::Result<(RawFd, Option<BlobKey>)> {
        let mut file = &self.sealed.file;
        file.seek(SeekFrom::Start(self.sealed.begins))?;
        Ok((file.as_raw_fd(), self.key.clone().filter(|_| !self.sealed.cipher.is_none())))
    }

    /// Seals or opens the hashes that stand beside it.
    pub(in crate::blobs) fn turn_hashes(&self, keys: &Keys, hashes: &mut [u8]) -> io::Result<()> {
        of_tree(keys, self.key())?.apply(0, hashes)
    }
}
