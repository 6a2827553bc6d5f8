//! Who runs which stream, as this disk says.

use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::of_stream;
use shoal_protocol::stream::succession::Tenure;

use super::{StreamError, Streams};

/// What a stream is, and who runs it: the kind of its key.
pub(super) const TENURE: u8 = b'd';
/// That a copy of another peer's stream is not whole: the kind of its key.
pub(super) const PARTIAL: u8 = b'x';

pub(super) fn tenure_key(name: &str) -> Vec<u8> {
    of_stream(TENURE, name)
}

impl Streams {
    pub(super) async fn tenure(&self, name: &str) -> Option<Tenure> {
        let key = tenure_key(name);
        let bytes = self.opened()?.get(&key)?;
        store::decode(&key, &bytes).ok()
    }

    pub(super) async fn count(&self) -> usize {
        self.opened().map_or(0, |keeper| keeper.of_kind(TENURE).len())
    }

    pub(super) async fn write_tenure(&self, tenure: &Tenure) -> Result<(), StreamError> {
        let key = tenure_key(&tenure.spec.name);
        let bytes = store::encode(&key, tenure);
        self.keeper().await?.write(vec![Change::Put { key, bytes }]).await.map(drop).map_err(StreamError::Disk)
    }
}
