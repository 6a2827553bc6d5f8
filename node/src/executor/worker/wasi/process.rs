//! Arguments, the empty environment, random numbers, the exit.

use super::super::guest::{Guest, Stop};
use super::abi::{Errno, Fault, GuestMemory, nth};

/// What the module is called in its own arguments.
const PROGRAM_NAME: &str = "task";
/// Random bytes made between two looks at the run's limits.
const RANDOM_STEP_BYTES: usize = 256 * 1024;

pub(super) fn args_sizes_get(memory: &mut GuestMemory<'_>, guest: &Guest, count: u32, bytes: u32) -> Result<(), Fault> {
    let total: usize = arguments(guest).map(|argument| argument.len() + 1).sum();
    memory.write_u32(count, size(arguments(guest).count())?)?;
    Ok(memory.write_u32(bytes, size(total)?)?)
}

pub(super) fn args_get(memory: &mut GuestMemory<'_>, guest: &Guest, list: u32, text: u32) -> Result<(), Fault> {
    let mut at = text;
    for (index, argument) in arguments(guest).enumerate() {
        memory.write_u32(nth(list, size(index)?, 4)?, at)?;
        memory.write(at, argument.as_bytes())?;
        let end = at.checked_add(size(argument.len())?).ok_or(Errno::FAULT)?;
        memory.write(end, &[0])?;
        at = end.checked_add(1).ok_or(Errno::FAULT)?;
    }
    Ok(())
}

pub(super) fn environ_sizes_get(memory: &mut GuestMemory<'_>, count: u32, bytes: u32) -> Result<(), Fault> {
    memory.write_u32(count, 0)?;
    Ok(memory.write_u32(bytes, 0)?)
}

/// The same numbers for the same task, wherever and however often it is tried.
pub(super) fn random(memory: &mut GuestMemory<'_>, guest: &mut Guest, to: u32, len: u32) -> Result<(), Fault> {
    let bytes = memory.slice(to, len)?;
    let mut source = guest.random.take().unwrap_or_else(|| {
        blake3::Hasher::new_derive_key("shoal guest random numbers v1").update(&guest.task.0).finalize_xof()
    });
    let mut filled = Ok(());
    for step in bytes.chunks_mut(RANDOM_STEP_BYTES) {
        filled = guest.checkpoint();
        if filled.is_err() {
            break;
        }
        source.fill(step);
    }
    guest.random = Some(source);
    Ok(filled?)
}

pub(super) fn exit(code: u32) -> wasmtime::Result<()> {
    Err(wasmtime::Error::new(Stop::Exit(code)))
}

fn arguments(guest: &Guest) -> impl Iterator<Item = &str> {
    std::iter::once(PROGRAM_NAME).chain(guest.args.iter().map(String::as_str))
}

fn size(value: usize) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::INVAL)
}
