//! What follows from the key of a store.

use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use shoal_protocol::MeshId;
use shoal_protocol::id::BlobId;
use zeroize::{Zeroize, Zeroizing};

use super::cipher::{BlobKey, Cipher};

/// The form of a small file that is sealed as a whole, with its version.
const SMALL: &[u8; 8] = b"shoals\0\x01";
/// Bytes of a name: as many as make it improbable that two blobs of any store ever share one.
const NAME_BYTES: usize = 20;

/// What a small file is of; one is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::blobs) enum Small {
    /// What is pinned.
    Holds,
    /// What owners say of a blob.
    Manifest,
}

impl Small {
    fn bound(self) -> &'static [u8] {
        match self {
            Self::Holds => b"shoal holds",
            Self::Manifest => b"shoal manifest",
        }
    }
}

/// The keys of one store.
pub(in crate::blobs) struct Keys {
    wrapping: LessSafeKey,
    names: Zeroizing<[u8; 32]>,
    root: Zeroizing<[u8; 32]>,
    /// Content stays as it is, so that a benchmark can tell what sealing it costs.
    pub(super) is_clear: bool,
}

impl Keys {
    /// What wrapping adds.
    pub(super) const WRAPPING_BYTES: usize = NONCE_LEN + 16;

    /// Of the store with this key, in this mesh: names of one mesh mean nothing in another.
    pub(in crate::blobs) fn of(root: &[u8; 32], mesh: MeshId) -> io::Result<Self> {
        let mut wrapping = blake3::derive_key("shoal 2026-11 wrapping of blob keys", root);
        // A key of the right length is a key.
        let key = UnboundKey::new(&AES_256_GCM, &wrapping).map_err(|_| io::Error::other("the cipher refused its key"));
        wrapping.zeroize();
        let material = Zeroizing::new([&root[..], &mesh.0].concat());
        Ok(Self {
            wrapping: LessSafeKey::new(key?),
            names: Zeroizing::new(blake3::derive_key("shoal 2026-11 names of sealed files", &material)),
            root: Zeroizing::new(*root),
            is_clear: false,
        })
    }

    /// The same, for a benchmark: content is not sealed.
    pub(in crate::blobs) fn in_the_clear(self) -> Self {
        Self { is_clear: true, ..self }
    }

    /// What the files of a blob are called.
    pub(in crate::blobs) fn name(&self, id: BlobId) -> String {
        let hash = blake3::keyed_hash(&self.names, &id.0).to_hex();
        hash.as_str()[..2 * NAME_BYTES].to_owned()
    }

    /// Whether a file could have been given this name.
    pub(in crate::blobs) fn is_name(text: &str) -> bool {
        text.len() == 2 * NAME_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// A key for something else that belongs to this store.
    pub(in crate::blobs) fn derived(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &*self.root)
    }

    /// What content under this key goes through.
    pub(super) fn cipher(&self, key: &BlobKey) -> io::Result<Cipher> {
        if self.is_clear { Ok(Cipher::none()) } else { Cipher::new(key) }
    }

    /// A nonce, and what is sealed with it and bound to `what`.
    pub(super) fn wrap(&self, what: &[u8], mut plain: Vec<u8>) -> io::Result<Vec<u8>> {
        // Sealed in place, and then longer by its tag: the plain bytes must not stay behind where it moves away from.
        plain.reserve_exact(16);
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let bound = Nonce::assume_unique_for_key(nonce);
        let sealed = self.wrapping.seal_in_place_append_tag(bound, Aad::from(what), &mut plain);
        sealed.map_err(|_| io::Error::other("the cipher refused"))?;
        Ok([&nonce[..], &plain].concat())
    }

    /// The reverse; nothing where it is not what was wrapped.
    pub(super) fn unwrap(&self, what: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let bound = Nonce::assume_unique_for_key(*nonce);
        let length = self.wrapping.open_in_place(bound, Aad::from(what), &mut plain[..]).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// The bytes of a small file.
    pub(in crate::blobs) fn seal(&self, what: Small, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok([&SMALL[..], &self.wrap(what.bound(), plain)?].concat())
    }

    /// What is in a small file; nothing where this store did not write it.
    pub(in crate::blobs) fn open(&self, what: Small, file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.unwrap(what.bound(), file.strip_prefix(SMALL)?)
    }

    /// Whether a small file is sealed, by whomever.
    pub(in crate::blobs) fn is_sealed(file: &[u8]) -> bool {
        file.starts_with(SMALL)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: u8) -> Keys {
        Keys::of(&[n; 32], MeshId([1; 32])).unwrap()
    }

    #[test]
    fn names_are_those_of_one_store_in_one_mesh() {
        let id = BlobId::of(b"known to many");
        let elsewhere = Keys::of(&[1; 32], MeshId([2; 32])).unwrap();

        assert_eq!(keys(1).name(id), keys(1).name(id));
        assert!(Keys::is_name(&keys(1).name(id)));
        assert_ne!(keys(1).name(id), keys(2).name(id));
        assert_ne!(keys(1).name(id), elsewhere.name(id));
        assert!(!Keys::is_name(id.to_string().trim_start_matches("b3:")), "names of before are told apart");
    }

    #[test]
    fn a_small_file_is_read_by_who_wrote_it_as_what_it_is() {
        let sealed = keys(1).seal(Small::Holds, b"pinned".to_vec()).unwrap();

        assert_eq!(keys(1).open(Small::Holds, &sealed).as_deref().map(Vec::as_slice), Some(&b"pinned"[..]));
        assert!(Keys::is_sealed(&sealed) && !Keys::is_sealed(b"pinned"));
        assert!(keys(1).open(Small::Manifest, &sealed).is_none());
        assert!(keys(2).open(Small::Holds, &sealed).is_none());
        assert!(keys(1).open(Small::Holds, &sealed[..sealed.len() - 1]).is_none());
    }
}
