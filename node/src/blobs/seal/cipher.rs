//! The key of one file, and what it does to bytes at a place.

use std::fmt;
use std::io;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// What counter mode counts.
const BLOCK_BYTES: usize = 16;

/// The key of one file.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct BlobKey(#[serde(with = "serde_bytes")] [u8; 32]);

impl BlobKey {
    /// One that was never used.
    pub(crate) fn draw() -> io::Result<Self> {
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0).map_err(io::Error::other)?;
        Ok(key)
    }

    pub(crate) fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of the hashes that stand in a file beside the content.
    pub(in crate::blobs) fn of_tree(&self) -> Self {
        Self(blake3::derive_key("shoal 2026-11 tree of a sealed blob", &self.0))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobKey(..)")
    }
}

impl Drop for BlobKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Seals and opens what stands at a place; the two are the same. Without a key it changes nothing.
pub(crate) struct Cipher(Option<Box<EncryptingKey>>);

impl Cipher {
    pub(crate) fn new(key: &BlobKey) -> io::Result<Self> {
        // A key of the right length is a key.
        let bound = UnboundCipherKey::new(&AES_256, &key.0).and_then(EncryptingKey::ctr);
        Ok(Self(Some(Box::new(bound.map_err(unsealable)?))))
    }

    /// For what is not sealed.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether it changes nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// `at` is where the first of these bytes stands.
    pub(crate) fn apply(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let Some(key) = &self.0 else { return Ok(()) };
        let skipped = (at % BLOCK_BYTES as u64) as usize;
        let in_first = ((BLOCK_BYTES - skipped) % BLOCK_BYTES).min(bytes.len());
        let (first, rest) = bytes.split_at_mut(in_first);
        if !first.is_empty() {
            let mut block = [0; BLOCK_BYTES];
            let place = skipped..skipped + first.len();
            block[place.clone()].copy_from_slice(first);
            add_stream(key, at, &mut block)?;
            first.copy_from_slice(&block[place]);
        }
        if !rest.is_empty() {
            add_stream(key, at + in_first as u64, rest)?;
        }
        Ok(())
    }
}

/// The key stream from the beginning of the block on that this place is in.
fn add_stream(key: &EncryptingKey, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    let counter = u128::from(at / BLOCK_BYTES as u64).to_be_bytes();
    let context = EncryptionContext::Iv128(FixedLength::from(counter));
    key.less_safe_encrypt(bytes, context).map(|_| ()).map_err(unsealable)
}

fn unsealable(_: aws_lc_rs::error::Unspecified) -> io::Error {
    io::Error::other("the cipher refused")
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Cipher(..)" } else { "Cipher(none)" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cipher(n: u8) -> Cipher {
        Cipher::new(&BlobKey::of([n; 32])).unwrap()
    }

    proptest! {
        #[test]
        fn any_part_is_sealed_as_the_whole_is(
            bytes in 0usize..4_096,
            cuts in prop::collection::vec(0usize..4_096, 0..6),
            begin in 0u64..1 << 40,
        ) {
            let whole: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            let mut at_once = whole.clone();
            cipher(1).apply(begin, &mut at_once).unwrap();
            let mut in_parts = whole.clone();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes)).chain([0, bytes]).collect();
            cuts.sort_unstable();
            for cut in cuts.windows(2) {
                cipher(1).apply(begin + cut[0] as u64, &mut in_parts[cut[0]..cut[1]]).unwrap();
            }

            prop_assert_eq!(&in_parts, &at_once);
            cipher(1).apply(begin, &mut in_parts).unwrap();
            prop_assert_eq!(in_parts, whole);
        }
    }

    /// Counter mode as everybody has it (NIST SP 800-38A, F.5.5), but for the counter's beginning.
    #[test]
    fn the_stream_is_that_of_aes_in_counter_mode() {
        let mut zeros = [0; 16];
        cipher(0).apply(0, &mut zeros).unwrap();

        // AES-256 of a block of zeros under a key of zeros (FIPS 197 test vectors, KAT of NESSIE).
        let known = [0xdc, 0x95, 0xc0, 0x78, 0xa2, 0x40, 0x89, 0x89, 0xad, 0x48, 0xa2, 0x14, 0x92, 0x84, 0x20, 0x87];
        assert_eq!(zeros, known);
    }

    #[test]
    fn keys_are_told_apart_and_not_told() {
        let (mut one, mut other) = ([7; 40], [7; 40]);
        cipher(1).apply(0, &mut one).unwrap();
        cipher(2).apply(0, &mut other).unwrap();

        assert_ne!(one, other);
        assert_ne!(BlobKey::of([1; 32]).of_tree().bytes(), &[1; 32]);
        assert_ne!(BlobKey::draw().unwrap().bytes(), BlobKey::draw().unwrap().bytes());
        assert_eq!(format!("{:?} {:?}", BlobKey::of([1; 32]), cipher(1)), "BlobKey(..) Cipher(..)");
    }
}
