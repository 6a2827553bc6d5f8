//! Opening a store: what a crash left is removed, what lies here is found again, and the oldest go where the quota is smaller
//! than last time, once it is known what must stay.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use super::erase::Eraser;
use super::found::{self, Finder};
use super::holds::{Holds, HoldsFile};
use super::index::Index;
use super::manifests::Manifests;
use super::seal::Keys;
use super::{BlobError, BlobStore, Sealing, Shared, partial, unlock, upgrade};
use crate::small_file;

impl BlobStore {
    /// Opens the store in `dir`, whose key is there as well.
    pub fn open(dir: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        Self::open_sealed(dir, quota_bytes, &Sealing::within(dir))
    }

    /// Opens the store in `dir`, and removes what torn writes left. What the version before wrote in the clear is sealed meanwhile.
    /// Where the quota is smaller than last time nothing goes before [`BlobStore::fit_to_quota`].
    pub fn open_sealed(dir: &Path, quota_bytes: u64, sealing: &Sealing) -> Result<Self, BlobError> {
        let names = ["objects", "trees", "partial", "incoming", "set-aside", "manifests", "erasing"];
        let [objects, trees, partial, incoming, set_aside, manifests, erasing] = names.map(|name| dir.join(name));
        for path in [&objects, &trees, &partial, &incoming, &set_aside, &manifests, &erasing] {
            fs::create_dir_all(path).map_err(BlobError::io("create", path))?;
        }
        [dir, &manifests].into_iter().for_each(small_file::remove_unfinished);
        let keys = Arc::new(unlock::unlock(dir, sealing)?);
        let eraser = Eraser::open(erasing)?;
        found::clear_out(&partial, &eraser)?;
        upgrade::remove_what_can_be_had_again(&incoming, &set_aside)?;
        let finder = Finder { keys: &keys, eraser: &eraser, set_aside: &set_aside };
        let holds_path = dir.join("holds.cbor");
        let holds = Holds::open(&holds_path, &keys)?;
        let is_sealed = fs::read(&holds_path).is_ok_and(|bytes| Keys::is_sealed(&bytes));
        let mut index = Index::new(quota_bytes);
        index.set_held(holds.all());
        let clear = upgrade::clear_blobs(&objects)?;
        let mut whole = finder.find(&objects)?;
        whole.extend(clear.iter().copied());
        whole.sort();
        for (_, id, bytes) in whole {
            index.insert(id, bytes, None);
        }
        let mut surplus = Vec::new();
        for (_, id, bytes) in finder.find(&incoming)? {
            index.insert_part(id, bytes, true);
            surplus.extend(index.lay_down_part(id));
        }
        let clear = Mutex::new(clear.into_iter().map(|(_, id, _)| id).collect());
        let (index, holds, holds_file) = (Mutex::new(index), Mutex::new(holds), Mutex::new(HoldsFile(holds_path)));
        let manifests = Mutex::new(Manifests::open(manifests, Arc::clone(&keys), eraser.clone())?);
        let (owner, fetched) = (OnceLock::new(), AtomicU64::new(0));
        let shared = Shared {
            keys,
            eraser,
            objects,
            trees,
            partial,
            incoming,
            set_aside,
            clear,
            index,
            live: Mutex::default(),
            holds,
            holds_file,
            manifests,
            labelling: Mutex::default(),
            owner,
            fetched,
        };
        let store = Self(Arc::new(shared));
        if !is_sealed {
            // From now on something lies under the key of this store.
            store.save_holds()?;
        }
        store.unlink(&surplus);
        store.remove_stray_trees()?;
        // What lapsed while nobody was here.
        store.expire();
        // And what a crash kept from being erased.
        store.0.eraser.erase_soon();
        upgrade::seal_in_the_background(&store);
        Ok(store)
    }

    /// Lets the oldest go where the quota is smaller than last time; once everything that must stay is held.
    pub fn fit_to_quota(&self) {
        // Where what must stay is more than the quota nothing goes, and nothing new finds room.
        let _fits = self.with_room(0, |_| Ok(()));
    }

    /// Trees of blobs that are not here any more, after a crash between the two files.
    fn remove_stray_trees(&self) -> Result<(), BlobError> {
        let whole = self.list().into_iter().map(|(id, _)| self.0.keys.name(id)).collect();
        let parts = self.parts().into_iter().map(|(id, _)| partial::tree_name(&self.0.keys, id)).collect();
        found::remove_all_but(&self.0.trees, "", &whole)?;
        found::remove_all_but(&self.0.incoming, partial::TREE_ENDING, &parts)
    }
}
