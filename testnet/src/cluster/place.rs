//! Where the processes of a mesh live: an emulated network, or this machine's loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command};

use serde::{Deserialize, Serialize};

use super::config::{ClusterConfig, Discovery, Where};
use super::error::ClusterError;
use crate::emulator::{Emulator, EmulatorError, Links};
use crate::keeper::Keeper;

/// The port each emulated machine listens on.
const PORT: u16 = 7600;

/// What the peers talk over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Network {
    /// Network namespaces joined by links with delay, jitter, loss and bandwidth.
    Emulated,
    /// Loopback: no delay, no loss.
    Loopback {
        /// Why, when emulated links would have been preferred.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
}

#[derive(Debug)]
pub(super) struct Place {
    network: Network,
    host: Host,
}

#[derive(Debug)]
enum Host {
    Emulated { emulator: Box<Emulator>, links: Box<Links> },
    Loopback(Keeper),
}

impl Place {
    pub(super) fn start(config: &ClusterConfig) -> Result<Self, ClusterError> {
        match &config.network {
            Where::Loopback => Self::loopback(None),
            Where::Emulated(links) => Ok(Self::emulated(config, links)?),
            Where::EmulatedIfPossible(links) => match Self::emulated(config, links) {
                Err(EmulatorError::Unavailable(_)) if config.discovery == Discovery::Mdns => {
                    Err(ClusterError::NotEmulated { what: "discovery by multicast" })
                }
                Err(error @ EmulatorError::Unavailable(_)) => Self::loopback(Some(error.to_string())),
                other => Ok(other?),
            },
        }
    }

    fn emulated(config: &ClusterConfig, links: &Links) -> Result<Self, EmulatorError> {
        let nodes: Vec<_> = config.peers.iter().map(super::PeerPlan::node).collect();
        let emulator = Box::new(Emulator::start(&nodes, links)?);
        Ok(Self { network: Network::Emulated, host: Host::Emulated { emulator, links: Box::new(links.clone()) } })
    }

    fn loopback(because: Option<String>) -> Result<Self, ClusterError> {
        let failed = |source| ClusterError::Spawn { name: "the keeper of the peers".into(), source };
        let (keeper, _) = Keeper::start("peers", || Ok::<(), ()>(())).map_err(failed)?;
        Ok(Self { network: Network::Loopback { because }, host: Host::Loopback(keeper) })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn emulator(&self) -> Option<&Emulator> {
        match &self.host {
            Host::Emulated { emulator, .. } => Some(emulator),
            Host::Loopback(_) => None,
        }
    }

    /// What the links are like, where there are any to speak of.
    pub(super) fn links(&self) -> Option<&Links> {
        match &self.host {
            Host::Emulated { links, .. } => Some(links),
            Host::Loopback(_) => None,
        }
    }

    /// Where each peer is to listen.
    pub(super) fn addresses(&self, config: &ClusterConfig) -> Result<Vec<SocketAddr>, ClusterError> {
        let count = config.peers.len();
        match &self.host {
            Host::Emulated { emulator, .. } => {
                (0..count).map(|node| Ok((emulator.address(node)?, PORT).into())).collect()
            }
            Host::Loopback(_) => free_loopback_addresses(count).map_err(ClusterError::Port),
        }
    }

    pub(super) fn spawn(&self, peer: usize, command: Command) -> io::Result<Child> {
        match &self.host {
            Host::Emulated { emulator, .. } => emulator.spawn_in(peer, command),
            Host::Loopback(keeper) => keeper.spawn(command),
        }
    }
}

/// An address of its own for each peer tells them apart in logs; a port of the system's choice lets several meshes run.
fn free_loopback_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let sockets = (0..count)
        .map(|peer| {
            let host = 1 + u8::try_from(peer % 250).unwrap_or_default();
            UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0))
        })
        .collect::<io::Result<Vec<_>>>()?;
    // All are held until the last is known, so that none is given twice.
    sockets.iter().map(UdpSocket::local_addr).collect()
}
