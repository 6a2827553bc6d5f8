//! The tree of hashes over a blob, and how a blob is cut into what is verified and what is sent.
//!
//! ```text
//! blob  = groups of 16 KiB           what is verified, kept and asked for; the last may be shorter
//! slice = up to 16 groups            what is encoded, sent and written at a time: 256 KiB
//! tree  = a pair of hashes a node    64 B for each group but one: 0.4 % of the blob
//! ```
//!
//! A slice is sent with the hashes on the way from the root to it, so that each can be verified by itself: what that
//! repeats is a thousandth of the slice.
//!
//! **Invariant:** nothing outside this file names a type of `bao-tree`.

use std::io::{self, Read};
use std::ops::Range;

use bao_tree::io::BaoContentItem;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{
    CreateOutboard, DecodeResponseIter, OutboardMut, ReadAt, WriteAt, encode_ranges_validated, truncate_ranges,
};
use bao_tree::io::{DecodeError, EncodeError};
use bao_tree::iter::{BaoChunk, ResponseIterRef};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use shoal_protocol::config::INPUT_BYTES_MAX;
use shoal_protocol::id::BlobId;

use super::seal::Sealed;

/// Chunks of BLAKE3 (1 KiB) in a group, as a power of two. The same as in iroh-blobs: a tree of 0.4 % of the blob.
const GROUP_CHUNKS_LOG: u8 = 4;
/// What is verified at once.
pub(super) const GROUP_BYTES: u64 = 1024 << GROUP_CHUNKS_LOG;
/// What is encoded, sent and written at once.
pub(super) const SLICE_GROUPS: u64 = 16;
/// Groups of the largest blob.
pub(super) const GROUPS_MAX: u64 = INPUT_BYTES_MAX.div_ceil(GROUP_BYTES);

/// The shape of the tree over a blob of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape(BaoTree);

impl Shape {
    pub(super) fn of(bytes: u64) -> Self {
        Self(BaoTree::new(bytes, BlockSize::from_chunk_log(GROUP_CHUNKS_LOG)))
    }

    /// Size of the blob.
    pub(super) fn bytes(self) -> u64 {
        self.0.size()
    }

    /// At least one, also of nothing.
    pub(super) fn groups(self) -> u64 {
        self.0.blocks()
    }

    /// Size of the hashes; nothing for a blob of one group.
    pub(super) fn tree_bytes(self) -> u64 {
        self.0.outboard_size()
    }

    /// What the last group alone is: it proves the size of the blob.
    pub(super) fn last(self) -> Range<u64> {
        self.groups() - 1..self.groups()
    }

    /// Where these groups are in the blob.
    pub(super) fn span(self, groups: &Range<u64>) -> Range<u64> {
        let at = |group: u64| group.saturating_mul(GROUP_BYTES).min(self.bytes());
        at(groups.start)..at(groups.end)
    }

    /// The groups that these bytes of the blob are in.
    pub(super) fn groups_of(self, bytes: &Range<u64>) -> Range<u64> {
        let end = bytes.end.min(self.bytes()).div_ceil(GROUP_BYTES).clamp(1, self.groups());
        (bytes.start / GROUP_BYTES).min(end)..end
    }

    /// How long a slice is with its hashes.
    pub(super) fn encoded_bytes(self, groups: &Range<u64>) -> usize {
        let length = |chunk| match chunk {
            BaoChunk::Parent { .. } => 64,
            BaoChunk::Leaf { size, .. } => size,
        };
        ResponseIterRef::new(self.0, truncate_ranges(&chunks(groups), self.bytes())).map(length).sum()
    }
}

/// A stretch of groups as slices, none over a multiple of [`SLICE_GROUPS`].
pub(super) fn slices(groups: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = groups.start;
    std::iter::from_fn(move || {
        let end = (at / SLICE_GROUPS + 1).saturating_mul(SLICE_GROUPS).min(groups.end);
        let slice = at..end;
        at = end;
        (slice.start < slice.end).then_some(slice)
    })
}

fn chunks(groups: &Range<u64>) -> ChunkRanges {
    let at = |group: u64| ChunkNum(group.saturating_mul(1 << GROUP_CHUNKS_LOG));
    ChunkRanges::from(at(groups.start)..at(groups.end))
}

/// The hashes of a blob, in a file or in memory.
#[derive(Debug)]
pub(super) struct Tree<D>(PreOrderOutboard<D>);

impl<D> Tree<D> {
    /// Hashes that are, or are to be, in `data`.
    pub(super) fn new(id: BlobId, shape: Shape, data: D) -> Self {
        Self(PreOrderOutboard { root: id.0.into(), tree: shape.0, data })
    }

    pub(super) fn shape(&self) -> Shape {
        Shape(self.0.tree)
    }
}

impl Tree<Vec<u8>> {
    /// Hashes a blob, and returns its name beside its tree.
    pub(super) fn build(shape: Shape, content: impl Read) -> io::Result<(BlobId, Self)> {
        let data = vec![0; usize::try_from(shape.tree_bytes()).unwrap_or(usize::MAX)];
        let mut tree = Self::new(BlobId([0; 32]), shape, data);
        tree.0.init_from(content)?;
        Ok((BlobId(*tree.0.root.as_bytes()), tree))
    }

    /// The same, once its name is known to be right.
    pub(super) fn named(mut self, id: BlobId) -> Self {
        self.0.root = id.0.into();
        self
    }

    pub(super) fn hashes(&self) -> &[u8] {
        &self.0.data
    }

    /// A slice with its hashes, checked against them.
    pub(super) fn encode(&self, content: &Sealed, groups: &Range<u64>) -> Result<Vec<u8>, Unsound> {
        let mut encoded = Vec::with_capacity(self.shape().encoded_bytes(groups));
        encode_ranges_validated(InFile(content), &self.0, &chunks(groups), &mut encoded).map_err(Unsound::of)?;
        Ok(encoded)
    }
}

/// Content, or hashes that several may be adding to at once, each at its own place.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFile<'a>(pub(super) &'a Sealed);

impl ReadAt for InFile<'_> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(at, into)
    }
}

impl WriteAt for InFile<'_> {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(at, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which of these groups are in `content` as the tree has them; what is not there costs no more than a look.
pub(super) fn sound(tree: &Tree<InFile<'_>>, content: &Sealed, groups: Range<u64>, mut found: impl FnMut(Range<u64>)) {
    let is_sound =
        |groups: &Range<u64>| encode_ranges_validated(InFile(content), &tree.0, &chunks(groups), io::sink()).is_ok();
    for slice in slices(groups) {
        if is_sound(&slice) {
            found(slice);
        } else {
            slice.map(|group| group..group + 1).filter(|group| is_sound(group)).for_each(&mut found);
        }
    }
}

/// What has come of a slice.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// How many groups, from the first.
    pub(super) groups: u64,
    /// Their bytes.
    pub(super) content: Vec<u8>,
    /// Whether what follows is not what the tree says.
    pub(super) is_wrong: bool,
}

/// Verifies a slice, or what has come of it, and keeps its hashes in `tree`. Nothing of it is kept before it is verified.
pub(super) fn decode(tree: &mut Tree<InFile<'_>>, groups: &Range<u64>, encoded: &[u8]) -> io::Result<Decoded> {
    let span = tree.shape().span(groups);
    let room = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
    let mut decoded = Decoded { content: Vec::with_capacity(room), ..Decoded::default() };
    for item in DecodeResponseIter::new(tree.0.root, tree.0.tree, encoded, &chunks(groups)) {
        match item {
            Ok(BaoContentItem::Parent(parent)) => tree.0.save(parent.node, &parent.pair)?,
            Ok(BaoContentItem::Leaf(leaf)) => {
                decoded.content.extend_from_slice(&leaf.data);
                decoded.groups += 1;
            }
            Err(DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_)) => break,
            Err(DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_)) => {
                decoded.is_wrong = true;
                break;
            }
            Err(DecodeError::Io(error)) => return Err(error),
        }
    }
    Ok(decoded)
}

/// Whether a slice is what a blob of this name has there; for one that there is no file for yet.
pub(super) fn is_right(id: BlobId, shape: Shape, groups: &Range<u64>, encoded: &[u8]) -> bool {
    encoded.len() == shape.encoded_bytes(groups)
        && DecodeResponseIter::new(id.0.into(), shape.0, encoded, &chunks(groups)).all(|item| item.is_ok())
}

/// Why a slice of a blob that is here cannot be sent.
#[derive(Debug)]
pub(super) enum Unsound {
    /// It is not what it was, or the tree is not.
    Changed,
    /// The operating system refused.
    Io(io::Error),
}

impl Unsound {
    fn of(error: EncodeError) -> Self {
        match error {
            EncodeError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Io(error),
            EncodeError::Io(_)
            | EncodeError::ParentHashMismatch(_)
            | EncodeError::LeafHashMismatch(_)
            | EncodeError::ParentWrite(_)
            | EncodeError::LeafWrite(_)
            | EncodeError::SizeMismatch => Self::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::{Content, Keys};
    use super::*;

    #[test]
    fn a_stretch_is_cut_at_multiples_of_a_slice() {
        let cut = |stretch| slices(stretch).collect::<Vec<_>>();

        assert_eq!(cut(0..17), [0..16, 16..17]);
        assert_eq!(cut(3..3), []);
        assert_eq!(cut(5..40), [5..16, 16..32, 32..40]);
    }

    #[test]
    fn bytes_are_in_groups_and_groups_are_bytes() {
        let shape = Shape::of(2 * GROUP_BYTES + 5);

        assert_eq!((shape.groups(), shape.tree_bytes()), (3, 128));
        assert_eq!(shape.span(&(2..3)), 2 * GROUP_BYTES..2 * GROUP_BYTES + 5);
        assert_eq!(shape.groups_of(&(GROUP_BYTES - 1..GROUP_BYTES + 1)), 0..2);
        assert_eq!(shape.groups_of(&(0..u64::MAX)), 0..3);
        assert_eq!(Shape::of(0).groups(), 1);
    }

    #[test]
    fn a_slice_is_as_long_as_is_said_and_proves_itself() {
        for bytes in [0, 1, GROUP_BYTES, GROUP_BYTES + 1, 40 * GROUP_BYTES + 7] {
            let content: Vec<u8> = (0..bytes).map(|i| ((i * 31) >> 3) as u8).collect();
            let shape = Shape::of(bytes);
            let keys = Keys::of(&[1; 32], shoal_protocol::MeshId([2; 32])).unwrap();
            let file = Content::begin(&keys, tempfile::tempfile().unwrap()).unwrap();
            file.sealed().write_at(0, &content).unwrap();
            let (id, tree) = Tree::build(shape, &content[..]).unwrap();
            assert_eq!(id, BlobId::of(&content));

            for slice in slices(0..shape.groups()).chain([shape.last()]) {
                let encoded = tree.encode(file.sealed(), &slice).unwrap();
                assert_eq!(encoded.len(), shape.encoded_bytes(&slice), "{bytes} {slice:?}");
                assert!(is_right(id, shape, &slice, &encoded));
                let mut wrong = encoded.clone();
                if let Some(last) = wrong.last_mut() {
                    *last ^= 1;
                    assert!(!is_right(id, shape, &slice, &wrong));
                }
            }
        }
    }
}
