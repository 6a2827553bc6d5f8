//! Reading a whole blob in slices that go to others, each with the hashes that prove it; and its tree, which is made again
//! where it is missing.

use std::fs;
use std::io;

use shoal_protocol::id::BlobId;

use super::seal::Content;
use super::tree::{Shape, Tree, Unsound};
use super::{BlobError, BlobStore, CHUNK_BYTES, Pin};

/// An open blob with its tree; it stays while it is sent.
#[derive(Debug)]
pub(super) struct Slices {
    store: BlobStore,
    pub(super) id: BlobId,
    content: Content,
    tree: Tree<Vec<u8>>,
    _pin: Pin,
}

impl Slices {
    pub(super) fn shape(&self) -> Shape {
        self.tree.shape()
    }

    /// A slice with its hashes. Nothing is handed out that its receiver would find to be wrong.
    pub(super) fn encode(&mut self, groups: &std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
        let failed = |unsound, store: &BlobStore| match unsound {
            Unsound::Changed => None,
            Unsound::Io(error) => Some(store.reading_failed(self.id, error)),
        };
        match self.tree.encode(self.content.sealed(), groups) {
            Ok(encoded) => return Ok(encoded),
            Err(unsound) => failed(unsound, &self.store).map_or(Ok(()), Err)?,
        }
        // The tree may be damaged and the blob whole; if not, it is set aside.
        self.tree = self.store.build_tree(self.id, &self.content)?;
        let again = self.tree.encode(self.content.sealed(), groups);
        again.map_err(|unsound| failed(unsound, &self.store).unwrap_or_else(|| self.store.put_aside(self.id)))
    }
}

impl BlobStore {
    /// A blob to be sent in slices, each checked against the tree as it is read.
    pub(super) fn open_slices(&self, id: BlobId) -> Result<Slices, BlobError> {
        let pin = self.pin(id)?;
        let content = self.open_content(id)?;
        let tree = self.tree(id, &content)?;
        Ok(Slices { store: self.clone(), id, content, tree, _pin: pin })
    }

    /// The tree of a blob: from disk, or made from its content, which is read for that once.
    fn tree(&self, id: BlobId, content: &Content) -> Result<Tree<Vec<u8>>, BlobError> {
        let shape = Shape::of(content.bytes());
        if self.stat(id) == Some(shape.bytes())
            && let Ok(mut hashes) = fs::read(self.tree_path(id))
            && hashes.len() as u64 == shape.tree_bytes()
            && content.turn_hashes(&self.0.keys, &mut hashes).is_ok()
        {
            return Ok(Tree::new(id, shape, hashes));
        }
        self.build_tree(id, content)
    }

    fn build_tree(&self, id: BlobId, content: &Content) -> Result<Tree<Vec<u8>>, BlobError> {
        let shape = Shape::of(content.bytes());
        let built = Tree::build(shape, io::BufReader::with_capacity(CHUNK_BYTES, content.sealed().reader()));
        let (found, tree) = built.map_err(|error| self.reading_failed(id, error))?;
        if found != id {
            return Err(self.put_aside(id));
        }
        if shape.tree_bytes() > 0
            && content.key().is_some()
            && let Err(error) = self.keep_tree(id, content, tree.hashes().to_vec())
        {
            // It only saves hashing the blob again the next time.
            tracing::warn!(blob = %id, %error, "the tree of a blob cannot be kept");
        }
        Ok(tree.named(id))
    }

    fn keep_tree(&self, id: BlobId, content: &Content, mut hashes: Vec<u8>) -> io::Result<()> {
        content.turn_hashes(&self.0.keys, &mut hashes)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0.partial)?;
        io::Write::write_all(&mut file, &hashes)?;
        file.persist(self.tree_path(id)).map(|_| ()).map_err(|error| error.error)
    }
}
