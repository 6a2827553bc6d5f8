//! Marks in data that say themselves where they may be, so that a checker finds them wherever they turn up.
//!
//! What a machine sends is searched for marks as bytes, whatever kind of message it is and whatever labels it has: a checker that
//! reads labels would miss the ones that are lost. What a run writes has the mark of everything it read.
//!
//! **Invariant:** nothing of how labels are kept is used here; a region is a bit of a mark, and each machine has one or none.

use shoal_protocol::residency::Labels;
use shoal_protocol::task::spec::Payload;

/// No payload of the simulator has these bytes by chance.
const MAGIC: [u8; 8] = [0xf5, 0x9c, b'm', b'a', b'r', b'k', 0x0d, 0xfe];

/// Regions of simulated meshes.
pub const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Where data may be: a bit for each region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// Data that may be in these regions.
    pub fn of(regions: impl IntoIterator<Item = usize>) -> Self {
        Self(regions.into_iter().fold(0, |mask, region| mask | 1 << region))
    }

    /// What an honest owner says of such data.
    pub fn labels(self) -> Labels {
        let regions = (0..REGIONS.len()).filter(|region| self.0 & 1 << region != 0);
        // Names of a fixed list, of which there are few.
        Labels::residing(regions.map(|region| REGIONS[region])).unwrap_or_else(|_| Labels::sealed())
    }

    /// Data with this mark.
    pub fn bytes(self) -> Vec<u8> {
        [MAGIC.as_slice(), &[self.0]].concat()
    }

    /// What all marks in these bytes allow together; nothing where there is none.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let marks = bytes.windows(MAGIC.len() + 1).filter(|window| window.starts_with(&MAGIC));
        marks.filter_map(|window| window.last().copied().map(Self)).reduce(Self::and)
    }

    /// The mark of what these inputs become.
    pub fn of_inputs(inputs: &[Payload], of_blob: impl Fn(shoal_protocol::BlobId) -> Option<Self>) -> Option<Self> {
        let marks = inputs.iter().filter_map(|input| match input {
            Payload::Inline(bytes) => Self::find(bytes),
            Payload::Blob(blob) => of_blob(blob.id),
        });
        marks.reduce(Self::and)
    }

    /// What both allow.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it may be in a region; a machine that is in none may have nothing that is marked.
    pub fn allows(self, region: Option<usize>) -> bool {
        region.is_some_and(|region| self.0 & 1 << region != 0)
    }
}

/// Marked data that reached who may not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// When.
    pub at: shoal_protocol::Time,
    /// From whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// In what: the kind of a message, or `blob`.
    pub what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_they_are_and_hold_together() {
        let (wide, narrow) = (Mark::of([0, 1]), Mark::of([1, 2]));
        let bytes = [b"before".to_vec(), wide.bytes(), b"between".to_vec(), narrow.bytes()].concat();

        let both = Mark::find(&bytes).expect("there are two");

        assert_eq!(both, Mark::of([1]));
        assert_eq!([Some(0), Some(1), Some(2), None].map(|region| both.allows(region)), [false, true, false, false]);
        assert_eq!(Mark::find(b"nothing is said of this"), None);
        assert_eq!(both.labels().to_string(), "residency=us");
    }
}
