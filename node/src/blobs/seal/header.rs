//! The beginning of a sealed file: the key of what follows, wrapped.
//!
//! ```text
//! "shoalb" 0 1 · nonce (12) · AES-256-GCM of: key (32) · name of the blob (32) · size (8) · tag (16) · zeros up to 128
//! ```
//!
//! **Invariant:** without these 128 bytes the rest of the file is noise, also to who has the store's key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use shoal_protocol::id::BlobId;

use super::cipher::BlobKey;
use super::keys::Keys;

/// Where content begins.
pub(in crate::blobs) const HEADER_BYTES: u64 = 128;
/// The same, in memory.
const BYTES: usize = HEADER_BYTES as usize;
/// With the version of the form.
const MAGIC: &[u8; 8] = b"shoalb\0\x01";
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 32;

/// What a file says of itself.
#[derive(Debug)]
pub(in crate::blobs) struct Header {
    pub(in crate::blobs) key: BlobKey,
    pub(in crate::blobs) id: BlobId,
    /// Of the whole blob.
    pub(in crate::blobs) bytes: u64,
}

/// What stands where a header should.
#[derive(Debug)]
pub(in crate::blobs) enum Beginning {
    Good(Header),
    /// Nothing: erased, or a power cut came before it was written.
    Blank,
    /// Something that this store's key does not open.
    Damaged,
}

impl Header {
    /// As it is written.
    pub(in crate::blobs) fn sealed(&self, keys: &Keys) -> io::Result<[u8; BYTES]> {
        let mut plain = Vec::with_capacity(BYTES);
        plain.extend_from_slice(self.key.bytes());
        plain.extend_from_slice(&self.id.0);
        plain.extend_from_slice(&self.bytes.to_be_bytes());
        let sealed = keys.wrap(MAGIC, plain)?;
        let mut header = [0; BYTES];
        let (magic, rest) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        rest[..sealed.len()].copy_from_slice(&sealed);
        Ok(header)
    }

    /// Puts it where it belongs.
    pub(in crate::blobs) fn write(&self, keys: &Keys, file: &File) -> io::Result<()> {
        file.write_all_at(&self.sealed(keys)?, 0)
    }

    /// The beginning of this file.
    pub(in crate::blobs) fn read(keys: &Keys, file: &File) -> io::Result<Beginning> {
        let mut header = [0; BYTES];
        let mut filled = 0;
        while filled < BYTES {
            match file.read_at(&mut header[filled..], filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if header == [0; BYTES] {
            return Ok(Beginning::Blank);
        }
        Ok(Self::parse(keys, &header).map_or(Beginning::Damaged, Beginning::Good))
    }

    fn parse(keys: &Keys, header: &[u8; BYTES]) -> Option<Self> {
        const SEALED_BYTES: usize = KEY_BYTES + ID_BYTES + 8 + Keys::WRAPPING_BYTES;
        let sealed = header.strip_prefix(MAGIC)?.get(..SEALED_BYTES)?;
        let plain = keys.unwrap(MAGIC, sealed)?;
        let (key, rest) = plain.split_first_chunk::<KEY_BYTES>()?;
        let (id, bytes) = rest.split_first_chunk::<ID_BYTES>()?;
        let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { key: BlobKey::of(*key), id: BlobId(*id), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: u8) -> Keys {
        Keys::of(&[n; 32], shoal_protocol::MeshId([9; 32])).unwrap()
    }

    fn read(keys: &Keys, header: &[u8]) -> Beginning {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(header, 0).unwrap();
        Header::read(keys, &file).unwrap()
    }

    #[test]
    fn a_header_is_read_by_who_wrote_it_and_by_nobody_else() {
        let header = Header { key: BlobKey::of([1; 32]), id: BlobId([2; 32]), bytes: 1 << 40 };
        let sealed = header.sealed(&keys(3)).unwrap();

        let Beginning::Good(again) = read(&keys(3), &sealed) else { panic!("not read") };
        assert_eq!((again.key.bytes(), again.id, again.bytes), (&[1; 32], BlobId([2; 32]), 1 << 40));
        assert!(matches!(read(&keys(4), &sealed), Beginning::Damaged));
        assert!(!sealed.windows(8).any(|bytes| bytes == [1; 8] || bytes == [2; 8]));
        assert_ne!(sealed, header.sealed(&keys(3)).unwrap(), "no two look alike");
    }

    #[test]
    fn what_is_cut_or_changed_anywhere_is_not_a_header() {
        let header = Header { key: BlobKey::of([1; 32]), id: BlobId([2; 32]), bytes: 7 };
        let sealed = header.sealed(&keys(3)).unwrap();
        let said = MAGIC.len() + KEY_BYTES + ID_BYTES + 8 + Keys::WRAPPING_BYTES;

        for at in 0..said {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert!(matches!(read(&keys(3), &changed), Beginning::Damaged), "byte {at}");
            // What is cut reads as zeros: where it was those, nothing is missing.
            let is_less = sealed[at..said].iter().any(|byte| *byte != 0);
            let cut = read(&keys(3), &sealed[..at]);
            assert!(!is_less || matches!(cut, Beginning::Damaged | Beginning::Blank), "cut at {at}");
        }
        assert!(matches!(read(&keys(3), &[0; BYTES]), Beginning::Blank));
        assert!(matches!(read(&keys(3), &[]), Beginning::Blank));
    }
}
