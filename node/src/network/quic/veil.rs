//! Hides a member certificate from whoever does not know the mesh.
//!
//! In TLS the side that was dialled shows its certificate first, to anybody who asks. So that a scan of the internet does
//! not read names and labels out of it, it is encrypted under a key that follows from the mesh's id: members know that
//! id, and nothing depends on its being secret but this.
//!
//! **Not here:** proof. What is under the veil is signed.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use shoal_protocol::{MeshId, PeerId};

/// The key of one mesh.
pub(super) struct Veil(Option<LessSafeKey>);

impl Veil {
    pub(super) fn of(mesh: MeshId) -> Self {
        let key = blake3::derive_key("shoal 2026-11 veil over member certificates", &mesh.0);
        // A key of the right length is a key.
        Self(UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new))
    }

    /// Encrypts what `holder` shows; none when there is no randomness.
    pub(super) fn cover(&self, holder: PeerId, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut covered = plain.to_vec();
        let bound = Nonce::assume_unique_for_key(nonce);
        self.0.as_ref()?.seal_in_place_append_tag(bound, Aad::from(holder.0), &mut covered).ok()?;
        Some([&nonce[..], &covered].concat())
    }

    /// Decrypts what `holder` shows; none when it is of another mesh, or made up.
    pub(super) fn uncover(&self, holder: PeerId, covered: &[u8]) -> Option<Vec<u8>> {
        let (nonce, covered) = covered.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = covered.to_vec();
        let bound = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.as_ref()?.open_in_place(bound, Aad::from(holder.0), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Veil(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_mesh_sees_what_is_under_it() {
        let (ours, other) = (Veil::of(MeshId([1; 32])), Veil::of(MeshId([2; 32])));
        let holder = PeerId([3; 32]);

        let covered = ours.cover(holder, b"ward-3").unwrap();

        assert!(!covered.windows(6).any(|bytes| bytes == b"ward-3"));
        assert_eq!(ours.uncover(holder, &covered).as_deref(), Some(&b"ward-3"[..]));
        assert_eq!(other.uncover(holder, &covered), None);
        assert_eq!(ours.uncover(PeerId([4; 32]), &covered), None, "it is bound to its holder");
        assert_eq!(ours.uncover(holder, &covered[..11]), None);
        assert_ne!(ours.cover(holder, b"ward-3").unwrap(), covered, "no two look alike");
    }
}
