//! The guest's memory and the numbers of preview 1.

use wasmtime::{Caller, Extern, Memory};

use super::super::guest::{Guest, Stop};

/// An error of preview 1, as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errno(pub(super) u32);

impl Errno {
    pub(super) const BADF: Self = Self(8);
    pub(super) const FAULT: Self = Self(21);
    pub(super) const INVAL: Self = Self(28);
    pub(super) const NOSYS: Self = Self(52);
    pub(super) const SPIPE: Self = Self(70);
    pub(super) const NOTCAPABLE: Self = Self(76);
}

/// What a host call ends in when it does not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest is told.
    Errno(Errno),
    /// The run is over.
    Stop(Stop),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Carries out a host call on the guest's memory and turns its end into what wasm sees.
pub(super) fn answer(
    caller: &mut Caller<'_, Guest>,
    call: impl FnOnce(&mut GuestMemory<'_>, &mut Guest) -> Result<(), Fault>,
) -> wasmtime::Result<u32> {
    let result = match memory_of(caller) {
        Some(memory) => {
            let (bytes, guest) = memory.data_and_store_mut(&mut *caller);
            call(&mut GuestMemory(bytes), guest)
        }
        None => call(&mut GuestMemory(&mut []), caller.data_mut()),
    };
    match result {
        Ok(()) => Ok(0),
        Err(Fault::Errno(errno)) => Ok(errno.0),
        Err(Fault::Stop(stop)) => Err(wasmtime::Error::new(stop)),
    }
}

fn memory_of(caller: &mut Caller<'_, Guest>) -> Option<Memory> {
    // Not known yet while the module's start section runs.
    let known = caller.data().memory;
    known.or_else(|| caller.get_export("memory").and_then(Extern::into_memory))
}

/// A guest's linear memory; every access is checked.
#[derive(Debug)]
pub(super) struct GuestMemory<'a>(&'a mut [u8]);

impl GuestMemory<'_> {
    pub(super) fn slice(&mut self, at: u32, len: u32) -> Result<&mut [u8], Errno> {
        let (at, len) = (at as usize, len as usize);
        let end = at.checked_add(len).ok_or(Errno::FAULT)?;
        self.0.get_mut(at..end).ok_or(Errno::FAULT)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::FAULT)?;
        self.slice(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn read<const N: usize>(&mut self, at: u32) -> Result<[u8; N], Errno> {
        let end = (at as usize).checked_add(N).ok_or(Errno::FAULT)?;
        let bytes = self.0.get(at as usize..end).ok_or(Errno::FAULT)?;
        bytes.try_into().map_err(|_| Errno::FAULT)
    }

    pub(super) fn read_u32(&mut self, at: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.read(at)?))
    }
}

/// The address `index` records of `bytes` after `base`.
pub(super) fn nth(base: u32, index: u32, bytes: u32) -> Result<u32, Errno> {
    index.checked_mul(bytes).and_then(|offset| base.checked_add(offset)).ok_or(Errno::FAULT)
}
