//! The log in front of the database: what was acknowledged and is not in the database yet.
//!
//! ```text
//! block 0   head: magic · version · id · blocks · checksum                       written once
//! block 1…  record: length · sequence · checksum of the body · checksum of these · body · zeros up to the next block
//! ```
//!
//! Every block is written before the log is used, so that an fsync writes the record and nothing else: half of what a
//! commit of the database costs, which touches half a dozen pages. When the database has everything, the log begins again
//! at block 1. No record shares a block with another: a torn write cannot hurt what was acknowledged before.
//!
//! Own code, since the crates there are do not fit: `okaywal` warns against its own use and was last released in 2023, and
//! grows its files, which the disk's metadata has to follow in each fsync; `raft-engine` brings protobuf, Prometheus and a
//! directory of files for many groups.
//!
//! **Invariant:** a record is the one that was written, whole, or is none: its checksums are keyed by the log's id, so that
//! what a user had written into a record never passes for one. The records beyond what the database has are numbered
//! without a gap, or the log is damaged.
//! **Not here:** what the changes mean, and when the database takes them (`database.rs`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use shoal_protocol::cbor;
use shoal_protocol::store::Change;

const FILE_NAME: &str = "tasks.log";
/// Unit of everything in the file, and of what a disk writes at once.
pub(super) const BLOCK: usize = 4096;
const MAGIC: &[u8; 8] = b"shoallog";
/// The layout described here.
const VERSION: u32 = 1;
const HEAD_BYTES: usize = MAGIC.len() + 4 + 8 + 8;
const SUM_BYTES: usize = 16;
/// Of a record: length, sequence, two checksums.
const FRONT_BYTES: usize = 4 + 8 + 2 * SUM_BYTES;

/// Where the log of this data directory is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) changes: Vec<Change>,
    /// The block after it.
    end: u64,
}

/// What a log file holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: u64,
    /// By number; those of earlier laps are among them.
    pub(super) entries: Vec<Entry>,
    blocks: u64,
}

impl Found {
    /// The last number that is missing before those that are here.
    pub(super) fn gap(&self) -> u64 {
        let later = self.entries.iter().skip(1);
        let mut gaps = self.entries.iter().zip(later).filter(|(a, b)| a.sequence.saturating_add(1) != b.sequence);
        let first = self.entries.first().map_or(0, |entry| entry.sequence.saturating_sub(1));
        gaps.next_back().map_or(first, |(_, after)| after.sequence.saturating_sub(1))
    }

    /// What the database, which ends with `has`, has not got; an error says that something acknowledged is missing.
    pub(super) fn beyond(&self, has: u64) -> Result<&[Entry], String> {
        let from = self.entries.partition_point(|entry| entry.sequence <= has);
        let beyond = &self.entries[from..];
        let mut last = has;
        for entry in beyond {
            if entry.sequence != last.saturating_add(1) {
                // A record is written when the one before it is on disk.
                return Err(format!("write {} cannot be read, and write {} follows", last + 1, entry.sequence));
            }
            last = entry.sequence;
        }
        Ok(beyond)
    }
}

/// A file whose blocks are written in place. A disk that fails on demand stands behind it in tests.
pub(super) trait Target: Send {
    /// The blocks are on disk when this returns.
    fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()>;
}

/// Written through the system's cache, and fsynced.
struct Cached(File);

impl Target for Cached {
    fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(blocks, offset)?;
        self.0.sync_data()
    }
}

/// Written past the system's cache, which saves a part of each fsync; each write is on disk when it returns.
#[cfg(target_os = "linux")]
struct Direct(File);

#[cfg(target_os = "linux")]
impl Direct {
    fn open(path: &Path) -> Option<Self> {
        use nix::libc::{O_DIRECT, O_DSYNC};
        use std::os::unix::fs::OpenOptionsExt;

        let file = File::options().read(true).write(true).custom_flags(O_DIRECT | O_DSYNC).open(path).ok()?;
        let mut head = Blocks::default();
        file.read_exact_at(head.zeroed(BLOCK), 0).ok()?;
        file.write_all_at(head.bytes(), 0).ok()?;
        Some(Self(file))
    }
}

#[cfg(target_os = "linux")]
impl Target for Direct {
    fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(blocks, offset)
    }
}

/// How the file is opened for writing.
pub(super) type Opener = Box<dyn Fn(&Path) -> io::Result<Box<dyn Target>> + Send>;

/// Past the cache where the file system can do that: not all can, and not all say so before the first write.
pub(super) fn open_target(path: &Path) -> io::Result<Box<dyn Target>> {
    #[cfg(target_os = "linux")]
    if let Some(direct) = Direct::open(path) {
        return Ok(Box::new(direct));
    }
    Ok(Box::new(Cached(File::options().read(true).write(true).open(path)?)))
}

/// Whole blocks that begin where a block of memory does, which writes past the cache need.
#[derive(Default)]
struct Blocks {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Blocks {
    fn zeroed(&mut self, length: usize) -> &mut [u8] {
        self.room.clear();
        self.room.resize(length + BLOCK, 0);
        self.start = self.room.as_ptr().align_offset(BLOCK).min(BLOCK);
        self.length = length;
        &mut self.room[self.start..self.start + length]
    }

    fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.start + self.length]
    }
}

/// A log that is written to.
pub(super) struct Log {
    file: Box<dyn Target>,
    id: u64,
    key: [u8; blake3::KEY_LEN],
    blocks: u64,
    /// Where the next record goes.
    next: u64,
    record: Blocks,
}

impl Log {
    /// Goes on behind the last of the records that the database has not got.
    pub(super) fn open(file: Box<dyn Target>, found: &Found, beyond: &[Entry]) -> Self {
        let next = beyond.last().map_or(1, |entry| entry.end);
        Self { file, id: found.id, key: key(found.id), blocks: found.blocks, next, record: Blocks::default() }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether a body of so many bytes has room in what is left.
    pub(super) fn has_room(&self, body_bytes: usize) -> bool {
        self.next.saturating_add(blocks_of(body_bytes)) <= self.blocks
    }

    /// The record is on disk when this returns; after an error it may be all the same, see [`Log::strike`].
    pub(super) fn append(&mut self, sequence: u64, body: &[u8]) -> io::Result<()> {
        let blocks = blocks_of(body.len());
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if !self.has_room(body.len()) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut front = Vec::with_capacity(FRONT_BYTES);
        front.extend(length.to_le_bytes());
        front.extend(sequence.to_le_bytes());
        front.extend(sum(&self.key, body));
        front.extend(sum(&self.key, &front));
        let record = self.record.zeroed(blocks as usize * BLOCK);
        record[..FRONT_BYTES].copy_from_slice(&front);
        record[FRONT_BYTES..FRONT_BYTES + body.len()].copy_from_slice(body);
        self.file.write(self.record.bytes(), self.next * BLOCK as u64)?;
        self.next += blocks;
        Ok(())
    }

    /// Makes sure that a record whose writing failed is not found: it would stand where the next one goes.
    pub(super) fn strike(&mut self) -> io::Result<()> {
        self.record.zeroed(BLOCK);
        self.file.write(self.record.bytes(), self.next * BLOCK as u64)
    }

    /// The database has everything.
    pub(super) fn restart(&mut self) {
        self.next = 1;
    }
}

/// Makes an empty log of so many bytes. It gets its name when every block of it is written.
pub(super) fn create(path: &Path, bytes: u64) -> io::Result<Found> {
    let id = getrandom::u64().map_err(io::Error::other)?;
    let blocks = (bytes / BLOCK as u64).max(2);
    let new = path.with_extension("log.new");
    let file = File::create(&new)?;
    let zeros = vec![0; 64 * BLOCK];
    let mut at = 0;
    while at < blocks * BLOCK as u64 {
        let count = (blocks * BLOCK as u64 - at).min(zeros.len() as u64);
        FileExt::write_all_at(&file, &zeros[..count as usize], at)?;
        at += count;
    }
    FileExt::write_all_at(&file, &head(id, blocks), 0)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(Found { id, entries: Vec::new(), blocks })
}

/// All that is in the bytes of a log, or why they are not one. `id` is used where the head cannot be read.
pub(super) fn scan(image: &[u8], id: Option<u64>) -> Result<Found, String> {
    let (found_id, blocks) = match (read_head(image), id) {
        (Ok((found, blocks)), _) => (found, blocks),
        (Err(_), Some(id)) => (id, (image.len() / BLOCK) as u64),
        (Err(why), None) => return Err(why),
    };
    let key = key(found_id);
    let mut entries = Vec::new();
    let mut at = 1;
    while let Some(rest) =
        usize::try_from(at).ok().and_then(|at| image.get(at * BLOCK..)).filter(|rest| !rest.is_empty())
    {
        match read_record(rest, &key) {
            Some((sequence, changes, blocks)) => {
                at += blocks;
                entries.push(Entry { sequence, changes, end: at });
            }
            None => at += 1,
        }
    }
    entries.sort_by_key(|entry| entry.sequence);
    Ok(Found { id: found_id, entries, blocks })
}

/// The head of a log, whose file is as long as it says.
fn read_head(image: &[u8]) -> Result<(u64, u64), String> {
    let Some((content, rest)) = image.split_at_checked(HEAD_BYTES) else { return Err("it is cut short".into()) };
    if !rest.starts_with(&plain_sum(content)) {
        return Err("its head is damaged".into());
    }
    let (magic, content) = content.split_at(MAGIC.len());
    let (version, content) = content.split_at(4);
    let (id, blocks) = content.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let blocks = number(blocks);
    if magic != MAGIC || number(version) != u64::from(VERSION) {
        return Err(format!("it has version {}, this shoald reads {VERSION}", number(version)));
    }
    if blocks.checked_mul(BLOCK as u64) != Some(image.len() as u64) {
        return Err(format!("it has {} bytes instead of {blocks} blocks", image.len()));
    }
    Ok((number(id), blocks))
}

/// The record that begins here.
fn read_record(bytes: &[u8], key: &[u8; blake3::KEY_LEN]) -> Option<(u64, Vec<Change>, u64)> {
    let (front, rest) = bytes.split_at_checked(FRONT_BYTES)?;
    let (front, front_sum) = front.split_last_chunk::<SUM_BYTES>()?;
    if sum(key, front) != *front_sum {
        return None;
    }
    let (length, front) = front.split_first_chunk::<4>()?;
    let (sequence, body_sum) = front.split_first_chunk::<8>()?;
    let body = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if sum(key, body) != *body_sum {
        return None;
    }
    Some((u64::from_le_bytes(*sequence), cbor::decode(body).ok()?, blocks_of(body.len())))
}

fn head(id: u64, blocks: u64) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend(id.to_le_bytes());
    head.extend(blocks.to_le_bytes());
    let sum = plain_sum(&head);
    head.extend(sum);
    head
}

fn blocks_of(body_bytes: usize) -> u64 {
    (FRONT_BYTES + body_bytes).div_ceil(BLOCK) as u64
}

fn key(id: u64) -> [u8; blake3::KEY_LEN] {
    blake3::derive_key("shoal task log v1", &id.to_le_bytes())
}

fn sum(key: &[u8; blake3::KEY_LEN], content: &[u8]) -> [u8; SUM_BYTES] {
    cut(blake3::keyed_hash(key, content))
}

fn plain_sum(content: &[u8]) -> [u8; SUM_BYTES] {
    cut(blake3::hash(content))
}

fn cut(hash: blake3::Hash) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hash.as_bytes()[..SUM_BYTES]);
    sum
}
