//! The three open files of a guest: 0 reads, 1 and 2 write, none can seek.

use super::super::guest::{Guest, Stop};
use super::abi::{Errno, Fault, GuestMemory, nth};

/// Buffers of one read or write.
const IOVS_MAX: u32 = 1_024;
/// Bytes of one read: the guest asks again, and the run's limits are looked at in between.
const READ_BYTES_MAX: u32 = 1024 * 1024;
/// What a file may be used for: `fd_read`, `fd_write`.
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

pub(super) fn read(
    memory: &mut GuestMemory<'_>,
    guest: &mut Guest,
    fd: u32,
    iovs: u32,
    count: u32,
    read: u32,
) -> Result<(), Fault> {
    if open(guest, fd)? != STDIN {
        return Err(Errno::NOTCAPABLE.into());
    }
    guest.checkpoint()?;
    let mut total = 0;
    for index in 0..bounded(count)? {
        let (at, len) = iov(memory, iovs, index)?;
        let buffer = memory.slice(at, len)?;
        let room = (READ_BYTES_MAX - total).min(len);
        let part = &mut buffer[..room as usize];
        let got = guest.stdin.read(part).map_err(|error| Stop::Host(format!("cannot read its input: {error}")))?;
        total += u32::try_from(got).unwrap_or(room);
        // Short: the end of one payload, of the input, or of what one call hands over.
        if got < len as usize {
            break;
        }
    }
    Ok(memory.write_u32(read, total)?)
}

pub(super) fn write(
    memory: &mut GuestMemory<'_>,
    guest: &mut Guest,
    fd: u32,
    iovs: u32,
    count: u32,
    written: u32,
) -> Result<(), Fault> {
    let fd = open(guest, fd)?;
    if fd == STDIN {
        return Err(Errno::NOTCAPABLE.into());
    }
    guest.checkpoint()?;
    let mut total: u32 = 0;
    for index in 0..bounded(count)? {
        let (at, len) = iov(memory, iovs, index)?;
        let bytes = memory.slice(at, len)?;
        total = total.checked_add(len).ok_or(Errno::INVAL)?;
        match fd {
            STDOUT => guest.stdout.write(bytes)?,
            _ => guest.stderr.write(bytes),
        }
    }
    Ok(memory.write_u32(written, total)?)
}

pub(super) fn close(guest: &mut Guest, fd: u32) -> Result<(), Fault> {
    let fd = open(guest, fd)?;
    if let Some(closed) = guest.closed.get_mut(fd as usize) {
        *closed = true;
    }
    Ok(())
}

pub(super) fn seek(guest: &Guest, fd: u32) -> Result<(), Fault> {
    open(guest, fd)?;
    Err(Errno::SPIPE.into())
}

/// `fdstat`: type 0 (neither file nor terminal, so that C libraries buffer whole blocks), flags, rights.
pub(super) fn fdstat(memory: &mut GuestMemory<'_>, guest: &Guest, fd: u32, to: u32) -> Result<(), Fault> {
    let rights = match open(guest, fd)? {
        STDIN => RIGHT_READ,
        STDOUT | STDERR => RIGHT_WRITE,
        _ => 0,
    };
    let mut stat = [0; 24];
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    Ok(memory.write(to, &stat)?)
}

/// `filestat`: of no size and no age.
pub(super) fn filestat(memory: &mut GuestMemory<'_>, guest: &Guest, fd: u32, to: u32) -> Result<(), Fault> {
    open(guest, fd)?;
    Ok(memory.write(to, &[0; 64])?)
}

pub(super) fn open(guest: &Guest, fd: u32) -> Result<u32, Errno> {
    match guest.closed.get(fd as usize) {
        Some(false) => Ok(fd),
        Some(true) | None => Err(Errno::BADF),
    }
}

fn bounded(count: u32) -> Result<u32, Errno> {
    if count > IOVS_MAX { Err(Errno::INVAL) } else { Ok(count) }
}

fn iov(memory: &mut GuestMemory<'_>, iovs: u32, index: u32) -> Result<(u32, u32), Errno> {
    let at = nth(iovs, index, 8)?;
    let len = at.checked_add(4).ok_or(Errno::FAULT)?;
    Ok((memory.read_u32(at)?, memory.read_u32(len)?))
}
