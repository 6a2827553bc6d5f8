//! A place in the space of round trips, as peers tell it to each other: nineteen bytes.
//!
//! ```text
//! 8 × i16  position, in units of [`UNIT_MS`]      u16  height, in units of [`UNIT_MS`]      u8  error, in 255ths
//! ```
//! Little endian; a reader skips bytes after these. Floats in CBOR would take 65 bytes and say no more: a unit is a
//! sixth of the shortest round trip between two machines.
//!
//! **Invariant:** what was read from the wire is a place a peer can be at.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Dimensions of the space; below eight PlanetLab folds, with twelve nothing is gained.
pub const DIMENSIONS: usize = 8;
/// The step of a coordinate on the wire.
const UNIT_MS: f64 = 1.0 / 32.0;
/// No component is larger: what fits its sixteen bits.
pub(super) const POSITION_MS_MAX: f64 = i16::MAX as f64 * UNIT_MS;
/// No height is larger: what fits its sixteen bits.
pub(super) const HEIGHT_MS_MAX: f64 = u16::MAX as f64 * UNIT_MS;
/// Steps of the error on the wire.
const ERROR_STEPS: f64 = 255.0;
const WIRE_BYTES: usize = 2 * DIMENSIONS + 2 + 1;

/// A Vivaldi coordinate (Dabek et al., SIGCOMM 2004): eight dimensions and a height, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinate {
    /// Position, in milliseconds.
    pub position_ms: [f32; DIMENSIONS],
    /// The part of every path that is the peer's own access link, in milliseconds.
    pub height_ms: f32,
    /// How wrong the peer believes this to be: 0 (sure) to 1 (no idea).
    pub error: f32,
}

impl Coordinate {
    /// Whether this can be a place.
    pub fn is_sane(&self) -> bool {
        self.position_ms.iter().all(|x| f64::from(*x).abs() <= POSITION_MS_MAX) // false for NaN
            && (0.0..=HEIGHT_MS_MAX).contains(&f64::from(self.height_ms))
            && (0.0..=1.0).contains(&self.error)
    }

    /// The round trip between two places.
    pub fn rtt_to(&self, other: &Self) -> Duration {
        let ms = self.flat_ms(other) + f64::from(self.height_ms) + f64::from(other.height_ms);
        Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
    }

    /// How differently two peers see the rest of the mesh. The coordinates of two that are side by side behind one long
    /// access link are alike, though each link alone would put them far apart: only a measurement tells.
    pub fn unlike(&self, other: &Self) -> Duration {
        let heights_ms = f64::from(self.height_ms) - f64::from(other.height_ms);
        let ms = (self.flat_ms_squared(other) + heights_ms * heights_ms).sqrt();
        Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
    }

    /// The distance without the access links.
    pub(super) fn flat_ms(&self, other: &Self) -> f64 {
        self.flat_ms_squared(other).sqrt()
    }

    pub(super) fn flat_ms_squared(&self, other: &Self) -> f64 {
        let squares = self.position_ms.iter().zip(&other.position_ms).map(|(a, b)| {
            let apart = f64::from(*a) - f64::from(*b);
            apart * apart
        });
        squares.sum()
    }

    /// As the other end of a wire reads it.
    pub fn as_sent(&self) -> Self {
        Self::from_wire(&self.to_wire())
    }

    fn to_wire(self) -> [u8; WIRE_BYTES] {
        let mut bytes = [0; WIRE_BYTES];
        let units = |ms: f32| (f64::from(ms) / UNIT_MS).round();
        let words = self.position_ms.map(|ms| (units(ms) as i16).to_le_bytes()); // `as` saturates
        let height = (units(self.height_ms) as u16).to_le_bytes();
        for (place, word) in bytes.chunks_exact_mut(2).zip(words.iter().chain([&height])) {
            place.copy_from_slice(word);
        }
        bytes[WIRE_BYTES - 1] = (f64::from(self.error) * ERROR_STEPS).round() as u8;
        bytes
    }

    fn from_wire(bytes: &[u8; WIRE_BYTES]) -> Self {
        let ms = |at: usize| (f64::from(i16::from_le_bytes([bytes[at], bytes[at + 1]])) * UNIT_MS) as f32;
        let height = u16::from_le_bytes([bytes[2 * DIMENSIONS], bytes[2 * DIMENSIONS + 1]]);
        Self {
            // −2¹⁵ has no positive twin and would lie a unit outside.
            position_ms: core::array::from_fn(|i| ms(2 * i).max(-POSITION_MS_MAX as f32)),
            height_ms: (f64::from(height) * UNIT_MS) as f32,
            error: (f64::from(bytes[WIRE_BYTES - 1]) / ERROR_STEPS) as f32,
        }
    }
}

impl Serialize for Coordinate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_wire())
    }
}

impl<'de> Deserialize<'de> for Coordinate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(CoordinateVisitor)
    }
}

struct CoordinateVisitor;

impl de::Visitor<'_> for CoordinateVisitor {
    type Value = Coordinate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at least {WIRE_BYTES} bytes of a coordinate")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Coordinate, E> {
        let bytes = bytes.first_chunk().ok_or_else(|| E::invalid_length(bytes.len(), &self))?;
        Ok(Coordinate::from_wire(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coordinate() -> Coordinate {
        Coordinate {
            position_ms: [1.5, -300.25, 0.03, 1_023.9, -1_023.9, 0.0, 7.77, -0.1],
            height_ms: 12.34,
            error: 0.2,
        }
    }

    #[test]
    fn what_is_read_is_what_was_said_to_half_a_unit() {
        let said = coordinate();

        let bytes = crate::cbor::encode(&said);
        let read: Coordinate = crate::cbor::decode(&bytes).unwrap();

        assert_eq!(bytes.len(), 1 + WIRE_BYTES);
        assert_eq!(read, said.as_sent());
        for (said, read) in said.position_ms.iter().zip(read.position_ms) {
            assert!((said - read).abs() <= UNIT_MS as f32 / 2.0, "{said} was read as {read}");
        }
        assert!((said.height_ms - read.height_ms).abs() <= UNIT_MS as f32 / 2.0);
        assert!((said.error - read.error).abs() <= 0.5 / ERROR_STEPS as f32 + f32::EPSILON);
    }

    #[test]
    fn any_bytes_from_the_wire_are_a_place() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            assert!(Coordinate::from_wire(&[byte; WIRE_BYTES]).is_sane(), "{byte:x}");
        }
        let mut lowest = [0; WIRE_BYTES];
        lowest[1] = 0x80;
        assert!(Coordinate::from_wire(&lowest).is_sane());
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_and_a_stump_is_refused() {
        let mut bytes = coordinate().to_wire().to_vec();
        bytes.push(42);
        let longer = crate::cbor::encode(&serde_bytes::Bytes::new(&bytes));
        let stump = crate::cbor::encode(&serde_bytes::Bytes::new(&bytes[..WIRE_BYTES - 1]));

        assert_eq!(crate::cbor::decode::<Coordinate>(&longer).unwrap(), coordinate().as_sent());
        assert!(crate::cbor::decode::<Coordinate>(&stump).is_err());
    }

    #[test]
    fn no_place_is_outside_or_not_a_number() {
        let insane = |change: fn(&mut Coordinate)| {
            let mut place = coordinate();
            change(&mut place);
            !place.is_sane()
        };

        assert!(coordinate().is_sane());
        assert!(insane(|place| place.position_ms[3] = f32::NAN));
        assert!(insane(|place| place.position_ms[0] = f32::INFINITY));
        assert!(insane(|place| place.position_ms[7] = -1_024.0));
        assert!(insane(|place| place.height_ms = -0.1));
        assert!(insane(|place| place.error = 1.1));
    }
}
