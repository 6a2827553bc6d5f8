//! The bytes of a small log: every byte changed, every length cut, every torn write.

use super::log::{BLOCK, Entry, Found, Log, create, scan};
use super::*;

/// Writes in the database.
const HAS: u64 = 6;
/// Writes acknowledged.
const LAST: u64 = 9;

/// A log that has begun anew once: writes 7 to 9, the second of two blocks, and behind them some of the lap before.
fn image() -> (Vec<u8>, Vec<Entry>) {
    let dir = tempfile::tempdir().unwrap();
    let path = log::path(dir.path());
    let mut log = writer(&path, create(&path, 10 * BLOCK as u64).unwrap());
    for sequence in 1..=HAS {
        log.append(sequence, &body(sequence, 10)).unwrap();
    }
    log.restart();
    for sequence in HAS + 1..=LAST {
        log.append(sequence, &body(sequence, if sequence == 8 { 5_000 } else { 300 })).unwrap();
    }
    let image = std::fs::read(&path).unwrap();
    let entries = scan(&image, None).unwrap().beyond(HAS).unwrap().to_vec();
    assert!(entries.iter().map(|entry| entry.sequence).eq(HAS + 1..=LAST));
    (image, entries)
}

fn writer(path: &Path, found: Found) -> Log {
    Log::open(log::open_target(path).unwrap(), &found, &[])
}

fn body(sequence: u64, bytes: usize) -> Vec<u8> {
    shoal_protocol::cbor::encode(&vec![put(sequence as u32, &"x".repeat(bytes))])
}

/// What a start would make of it: `known` writes were acknowledged for certain.
fn read(image: &[u8], known: u64) -> Result<Vec<Entry>, String> {
    let found = scan(image, None)?;
    let beyond = found.beyond(HAS)?;
    match beyond.last().map_or(HAS, |entry| entry.sequence) < known {
        true => Err("it ends early".into()),
        false => Ok(beyond.to_vec()),
    }
}

#[test]
fn every_changed_byte_is_named_or_costs_nothing() {
    let (mut image, entries) = image();
    let last_record = 4 * BLOCK..5 * BLOCK;
    let mut named = 0;
    for at in 0..image.len() {
        image[at] ^= 0x41;
        match read(&image, LAST) {
            Ok(found) => assert_eq!(found, entries, "byte {at}"),
            Err(_) => named += 1,
        }
        // Where nothing tells that it was acknowledged, the last record alone can pass for one that was torn.
        if let Ok(found) = read(&image, 0) {
            let is_torn = last_record.contains(&at) && found == entries[..2];
            assert!(found == entries || is_torn, "byte {at}");
        }
        image[at] ^= 0x41;
    }
    assert!(named > 5_000, "{named} bytes matter");
}

#[test]
fn every_cut_is_named() {
    let (image, entries) = image();
    for length in 0..image.len() {
        assert!(read(&image[..length], 0).is_err(), "{length} bytes");
    }
    assert_eq!(read(&image, LAST).unwrap(), entries);
}

#[test]
fn a_torn_record_that_nobody_was_told_of_is_dropped() {
    let (image, entries) = image();
    let mut before = image.clone();
    // Another lap lay where the last record was being written.
    before.copy_within(6 * BLOCK..7 * BLOCK, 4 * BLOCK);
    for written in 0..BLOCK {
        let mut torn = before.clone();
        torn[4 * BLOCK..4 * BLOCK + written].copy_from_slice(&image[4 * BLOCK..4 * BLOCK + written]);

        let found = read(&torn, LAST - 1).unwrap_or_else(|why| panic!("{written} bytes: {why}"));

        assert!(found == entries || found == entries[..2], "{written} bytes");
    }
}

#[test]
fn a_missing_record_between_others_is_damage() {
    let (mut image, _) = image();
    image[2 * BLOCK..4 * BLOCK].fill(0);

    assert!(read(&image, 0).unwrap_err().contains("write 8 cannot be read, and write 9 follows"));
}

#[test]
fn a_record_inside_a_record_is_none() {
    let (foreign, _) = image();
    let dir = tempfile::tempdir().unwrap();
    let path = log::path(dir.path());
    let mut log = writer(&path, create(&path, 10 * BLOCK as u64).unwrap());
    // A user's bytes that are those of a log, at the beginning of a block.
    let mut hostile = foreign[BLOCK..5 * BLOCK].to_vec();
    let front = 44;
    hostile.rotate_right(front);
    log.append(1, &hostile).unwrap();
    let mut image = std::fs::read(&path).unwrap();
    image[BLOCK] ^= 1;

    assert_eq!(scan(&image, None).unwrap().entries, []);
}
