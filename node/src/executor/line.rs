//! The one connection between the daemon and a worker: whole packets in order, some with open files (unix(7),
//! `SOCK_SEQPACKET` and `SCM_RIGHTS`).
//!
//! ```text
//! packet   [kind: 1 byte][body]      kind 0: CBOR of an order or answer (`words.rs`)      kind 1: raw bytes
//! ```
//!
//! **Invariant:** the daemon takes no files from a worker: what a compromised one attaches is closed by the kernel.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, setsockopt,
    socketpair,
};
use nix::sys::time::TimeVal;

/// One packet: what the kernel's default send buffer takes at once, with room to spare.
pub(super) const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Files that come with one packet: a module, and the inputs of a task.
pub(super) const FILES_MAX: usize = shoal_protocol::config::INPUTS_MAX as usize + 1;

/// How long a wait looks before it sleeps: as long as falling asleep and being woken takes. So it never costs more than twice
/// what would have been best (Karlin, Li, Manasse and Owicki, *Empirical Studies of Competitive Spinning*, 1991), and short
/// runs, and those in a row, do not pay for being woken.
pub(super) const SPIN: Duration = Duration::from_micros(50);

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Words,
    Bytes,
}

/// One end.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

/// A packet as it arrived; its body is in the buffer it was received into.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

/// What came instead of a packet.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// Of a packet that is to be sent: there is no room for it yet.
    #[error("nothing yet")]
    Nothing,
    #[error("the other end is gone")]
    Closed,
    #[error("a packet that nobody understands")]
    Garbled,
    #[error(transparent)]
    System(io::Error),
}

impl Line {
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(ours), theirs))
    }

    pub(super) fn of(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Lets [`Self::receive`] return with [`LineError::Nothing`] after that long.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        Ok(setsockopt(&self.0, ReceiveTimeout, &time_val(patience))?)
    }

    /// Lets [`Self::send`] return with [`LineError::Nothing`] when the other end has not made room after that long.
    pub(super) fn set_send_patience(&self, patience: Duration) -> io::Result<()> {
        Ok(setsockopt(&self.0, SendTimeout, &time_val(patience))?)
    }

    pub(super) fn raw(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// Sends one packet, with copies of `files`.
    pub(super) fn send(&self, kind: Kind, body: &[u8], files: &[RawFd]) -> Result<(), LineError> {
        self.send_with(kind, body, files, MsgFlags::empty())
    }

    /// Sends one packet if that is possible at once.
    pub(super) fn try_send(&self, kind: Kind, body: &[u8]) -> Result<(), LineError> {
        self.send_with(kind, body, &[], MsgFlags::MSG_DONTWAIT)
    }

    fn send_with(&self, kind: Kind, body: &[u8], files: &[RawFd], flags: MsgFlags) -> Result<(), LineError> {
        let kind = [u8::from(kind == Kind::Bytes)];
        let parts = [IoSlice::new(&kind), IoSlice::new(body)];
        let rights = [ControlMessage::ScmRights(files)];
        let attached = if files.is_empty() { &[][..] } else { &rights[..] };
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &parts, attached, flags, None) {
                // A packet is sent whole or not at all.
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(LineError::of(errno)),
            }
        }
    }

    /// The next packet; files that come with it are closed.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Packet<'a>, LineError> {
        let count = self.await_into(buffer, None)?;
        packet(&buffer[..count])
    }

    /// The next packet, if it is there.
    pub(super) fn try_receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Packet<'a>, LineError> {
        let count = self.receive_into(buffer, None, MsgFlags::MSG_DONTWAIT)?;
        packet(&buffer[..count])
    }

    /// The next packet and the files that came with it.
    pub(super) fn receive_with_files<'a>(
        &self,
        buffer: &'a mut [u8],
        files: &mut Vec<OwnedFd>,
    ) -> Result<Packet<'a>, LineError> {
        let count = self.await_into(buffer, Some(files))?;
        packet(&buffer[..count])
    }

    /// The bytes of the next packet, if it comes within [`SPIN`]; [`packet`] reads them.
    pub(super) fn receive_soon(&self, buffer: &mut [u8]) -> Result<usize, LineError> {
        self.look_for(buffer, None)
    }

    fn await_into(&self, buffer: &mut [u8], mut files: Option<&mut Vec<OwnedFd>>) -> Result<usize, LineError> {
        match self.look_for(buffer, files.as_deref_mut()) {
            Err(LineError::Nothing) => self.receive_into(buffer, files, MsgFlags::empty()),
            found => found,
        }
    }

    /// Looks again and again, and lets everybody else have the core between two looks.
    fn look_for(&self, buffer: &mut [u8], mut files: Option<&mut Vec<OwnedFd>>) -> Result<usize, LineError> {
        let end = Instant::now() + SPIN;
        loop {
            match self.receive_into(buffer, files.as_deref_mut(), MsgFlags::MSG_DONTWAIT) {
                Err(LineError::Nothing) if Instant::now() < end => std::thread::yield_now(),
                found => return found,
            }
        }
    }

    fn receive_into(
        &self,
        buffer: &mut [u8],
        files: Option<&mut Vec<OwnedFd>>,
        flags: MsgFlags,
    ) -> Result<usize, LineError> {
        let mut space = files.is_some().then(|| cmsg_space!([RawFd; FILES_MAX]));
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(buffer)];
        let received = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, space.as_deref_mut(), flags) {
                Ok(received) => break received,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(LineError::of(errno)),
            }
        };
        if let Some(files) = files {
            for message in received.cmsgs().map_err(LineError::of)? {
                let ControlMessageOwned::ScmRights(raw) = message else { continue };
                #[allow(unsafe_code)] // The kernel has just made these descriptors for us, and nobody else knows them.
                files.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
            }
        }
        if received.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(LineError::Garbled);
        }
        // A packet has at least its kind; nothing at all is the end.
        if received.bytes == 0 { Err(LineError::Closed) } else { Ok(received.bytes) }
    }
}

fn time_val(time: Duration) -> TimeVal {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    TimeVal::new(micros / 1_000_000, micros % 1_000_000)
}

/// What a packet is, by its bytes.
pub(super) fn packet(bytes: &[u8]) -> Result<Packet<'_>, LineError> {
    match bytes.split_first() {
        Some((0, body)) => Ok(Packet { kind: Kind::Words, body }),
        Some((1, body)) => Ok(Packet { kind: Kind::Bytes, body }),
        Some(_) | None => Err(LineError::Garbled),
    }
}

impl LineError {
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Nothing,
            Errno::EPIPE | Errno::ECONNRESET => Self::Closed,
            errno => Self::System(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn packets_keep_their_bounds_and_bring_files() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = Line::of(theirs);
        let (read, write) = nix::unistd::pipe().unwrap();
        ours.send(Kind::Words, b"one", &[write.as_raw_fd()]).unwrap();
        ours.send(Kind::Bytes, b"", &[]).unwrap();
        drop(write);

        let (mut buffer, mut files) = ([0; 16], Vec::new());
        let first = theirs.receive_with_files(&mut buffer, &mut files).unwrap();
        assert_eq!((first.kind, first.body), (Kind::Words, &b"one"[..]));
        let mut brought = File::from(files.pop().unwrap());
        brought.write_all(b"through").unwrap();
        drop(brought);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(theirs.receive(&mut buffer).unwrap().kind, Kind::Bytes);
        assert!(matches!(theirs.try_receive(&mut buffer), Err(LineError::Nothing)));
        drop(ours);
        assert!(matches!(theirs.receive(&mut buffer), Err(LineError::Closed)));
        assert!(matches!(theirs.send(Kind::Words, b"?", &[]), Err(LineError::Closed)));
    }

    #[test]
    fn files_that_nobody_asked_for_are_closed() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = Line::of(theirs);
        let (mut read, write) = nix::unistd::pipe().map(|(read, write)| (File::from(read), write)).unwrap();
        ours.send(Kind::Words, b"a gift", &[write.as_raw_fd()]).unwrap();
        drop(write);

        theirs.receive(&mut [0; 16]).unwrap();

        // Nobody holds the writing end any more.
        assert_eq!(read.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn who_does_not_listen_is_not_waited_for_for_ever() {
        let (ours, _theirs) = Line::pair().unwrap();
        ours.set_send_patience(Duration::from_millis(5)).unwrap();
        let send = || ours.send(Kind::Bytes, &[0; 1_024], &[]);

        let refused = (0..100_000).find_map(|_| send().err());

        assert!(matches!(refused, Some(LineError::Nothing)), "{refused:?}");
        assert!(matches!(ours.try_send(Kind::Bytes, &[0; 1_024]), Err(LineError::Nothing)));
    }

    #[test]
    fn a_packet_over_the_buffer_is_garbled() {
        let (ours, theirs) = Line::pair().unwrap();
        ours.send(Kind::Words, &[0; 64], &[]).unwrap();

        assert!(matches!(Line::of(theirs).receive(&mut [0; 16]), Err(LineError::Garbled)));
    }
}
