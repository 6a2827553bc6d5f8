//! One node's network: a namespace of its own with loopback and a TUN device.
//!
//! Plain ioctls, so that no `ip` program is needed. Everything here belongs to the calling thread and its children, and the
//! kernel removes it when they and the device's file are gone.
//!
//! **Not here:** what happens to packets; that is `router.rs`.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;

use super::nat::OUTSIDE;

pub(crate) const MTU: i32 = 1_500;
/// Packets the kernel keeps for the router to read; past it the node's own sends are dropped.
const TRANSMIT_QUEUE_PACKETS: i32 = 4_096;
const NAME: &[u8] = b"shoal0";

/// What could not be set up, and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct SetupError {
    pub step: &'static str,
    pub source: io::Error,
}

trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, SetupError>;
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, step: &'static str) -> Result<T, SetupError> {
        self.map_err(|errno: Errno| SetupError { step, source: errno.into() })
    }
}

/// Moves the calling thread into a new network namespace and gives it loopback and a TUN device with this address.
pub(crate) fn enter_new_network(address: Ipv4Addr) -> Result<OwnedFd, SetupError> {
    unshare(CloneFlags::CLONE_NEWNET).step("making a network namespace")?;
    // Only IPv4 is emulated, and router solicitations nobody answers would show up in the counters.
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let tun = open("/dev/net/tun", flags, Mode::empty()).step("opening /dev/net/tun")?;
    create_device(&tun).step("creating a TUN device")?;
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .step("opening a socket to configure the TUN device")?;
    configure(&control, address).step("configuring the TUN device")?;
    Ok(tun)
}

fn create_device(tun: &OwnedFd) -> nix::Result<()> {
    let mut request = request_for(NAME);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    ioctl(tun, libc::TUNSETIFF, &request)
}

fn configure(control: &OwnedFd, address: Ipv4Addr) -> nix::Result<()> {
    let mut request = request_for(b"lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ioctl(control, libc::SIOCSIFFLAGS, &request)?;

    let mut request = request_for(NAME);
    request.ifr_ifru.ifru_addr = socket_address(address);
    ioctl(control, libc::SIOCSIFADDR, &request)?;
    request.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::new(255, 255, 0, 0));
    ioctl(control, libc::SIOCSIFNETMASK, &request)?;
    request.ifr_ifru.ifru_mtu = MTU;
    ioctl(control, libc::SIOCSIFMTU, &request)?;
    request.ifr_ifru.ifru_metric = TRANSMIT_QUEUE_PACKETS;
    // Root of a user namespace may not; the default of 500 packets only makes a flood lose more.
    let _ = ioctl(control, libc::SIOCSIFTXQLEN, &request);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST) as libc::c_short;
    ioctl(control, libc::SIOCSIFFLAGS, &request)?;

    // mDNS would find no route otherwise, nor would anybody to those behind a NAT.
    route(control, Ipv4Addr::new(224, 0, 0, 0), Ipv4Addr::new(240, 0, 0, 0))?;
    let [a, b] = OUTSIDE;
    // With the network beside it, to which a node can move.
    route(control, Ipv4Addr::new(a, b, 0, 0), Ipv4Addr::new(255, 254, 0, 0))
}

/// Sends what is for this network out by the TUN device.
fn route(control: &OwnedFd, network: Ipv4Addr, mask: Ipv4Addr) -> nix::Result<()> {
    let mut device = [0; libc::IFNAMSIZ];
    for (to, from) in device.iter_mut().zip(NAME) {
        *to = *from as libc::c_char;
    }
    #[allow(unsafe_code)] // plain C numbers and a pointer, for which zero is a value
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = socket_address(network);
    route.rt_genmask = socket_address(mask);
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = device.as_mut_ptr();
    ioctl(control, libc::SIOCADDRT, &route)
}

fn request_for(name: &[u8]) -> libc::ifreq {
    #[allow(unsafe_code)] // plain C numbers, for which zero is a value
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    // Two bytes of port, then the address.
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

/// Every request here reads a structure of the type its kernel interface names.
fn ioctl<T>(fd: &OwnedFd, request: libc::Ioctl, argument: &T) -> nix::Result<()> {
    #[allow(unsafe_code)] // the callers above pair each request with its own structure, alive for the call
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_ref(argument)) };
    Errno::result(result).map(drop)
}
