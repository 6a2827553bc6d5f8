//! Inputs that are almost right.

use rand::{Rng, RngExt};

/// No input is longer: a frame.
pub(crate) const BYTES_MAX: usize = 64 * 1024;
/// Changes to one input at once.
const CHANGES_MAX: u32 = 6;
/// What decoders stumble over: CBOR heads of unknown and of enormous length, ends, nothing, numbers at their limits.
const PIECES: &[&[u8]] = &[
    &[0x00],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xf6],
    &[0x9f],
    &[0xbf],
    &[0x5f],
    &[0x7f, 0x60, 0xff],
    &[0xa0],
    &[0x81, 0x81, 0x81, 0x81],
    &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x7b, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0x00, 0x00, 0x00, 0x00, 0x0f, 0xff, 0xff, 0xff],
    &[0xc2, 0x49, 0x01],
    &[0xd8, 0x40],
    &[0xfb, 0x7f, 0xf8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0xfb, 0x7f, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    b"\"",
    b"\\u0000",
    b"[[[[[[[[",
    b"{\"a\":",
    b"1e999",
    b"-0",
    b"null",
    b"\n",
];

/// A variation of `input`, perhaps with a part of `other` in it.
pub fn mutated(rng: &mut impl Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        change(rng, &mut bytes, other);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(1..=16)).min(bytes.len());
    match rng.random_range(0..9u8) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8u8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(rng.random_range(0..=8u8)).wrapping_sub(4);
            }
        }
        3 => bytes.insert(at, rng.random()),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let again = bytes[at..end].to_vec();
            let times = rng.random_range(1..=8usize);
            bytes.splice(at..at, again.repeat(times));
        }
        6 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        7 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            let end = (at + piece.len()).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        _ => {
            let from = rng.random_range(0..=other.len());
            let to = (from + rng.random_range(1..=64usize)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}
