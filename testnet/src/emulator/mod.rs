//! Links with delay, jitter, loss and bandwidth between real processes on one machine.
//!
//! ```text
//! process ─► TUN device ─► router thread ─► fabric (what the wires do) ─► TUN device ─► process
//!            in the node's own network namespace
//! ```
//!
//! Each node is a thread in a network namespace of its own, reachable by the others at [`Emulator::address`] and by multicast.
//! Needs the right to make network namespaces and `/dev/net/tun`; [`Emulator::unavailable`] says what is missing, and
//! [`crate::sandbox`] gains that right for an ordinary user where the kernel lets it.
//!
//! **Invariant:** dropping the emulator kills what was started in it and removes the namespaces.
//! **Not here:** peers; those are `cluster`.

mod device;
mod fabric;
mod links;
mod nat;
mod router;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::process::{Child, Command};

use serde::Serialize;

use self::fabric::{Fabric, NODES_MAX, address};
use self::router::Router;
use crate::keeper::Keeper;

pub use self::device::SetupError;
pub use self::fabric::Counts;
pub use self::links::{DEFAULT_LINKS_TOML, Link, Links, LinksError, Node, Uplink};
pub use self::nat::{NatCounts, NatKind};

/// A mesh of emulated machines. Nodes are named by their place in the list it was started with.
#[derive(Debug)]
pub struct Emulator {
    nodes: Vec<Node>,
    // Dropped before the router: the processes end while their network still exists.
    keepers: Vec<Keeper>,
    router: Router,
}

/// What became of the packets from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkStats {
    pub from: String,
    pub to: String,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub links: Vec<LinkStats>,
    /// Packets sent to addresses that are nobody's.
    pub packets_unroutable: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    #[error("this machine does not let us emulate links: {0}")]
    Unavailable(SetupError),
    #[error("{count} nodes were asked for: the emulator takes 1 to {NODES_MAX}")]
    NodeCount { count: usize },
    #[error("two nodes are named {name}")]
    DuplicateName { name: String },
    #[error("the links file has a [[pair]] with {name}, and no node is named so")]
    UnknownName { name: String },
    #[error("there is no node number {node}: the emulator has {count}, counted from 0")]
    NoSuchNode { node: usize, count: usize },
    #[error("node {node} is in none of the groups of the partition, or in two")]
    NotAPartition { node: usize },
    #[error("cannot set up the network of node {name}: {source}")]
    Setup { name: String, source: SetupError },
    #[error("cannot start the link emulator: {0}")]
    Start(io::Error),
}

impl EmulatorError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unavailable(_) | Self::Setup { .. } => {
                "run as root, or allow user namespaces and /dev/net/tun; or use --loopback, without emulated links"
                    .into()
            }
            Self::NodeCount { .. } => "choose other values for --edge and --cloud".into(),
            Self::DuplicateName { .. } => "give every node a name of its own".into(),
            Self::UnknownName { .. } => "correct the name, remove that [[pair]], or start more peers".into(),
            Self::NoSuchNode { .. } => "count the nodes from 0, in the order they were given".into(),
            Self::NotAPartition { .. } => "name every node once".into(),
            Self::Start(_) => "see what limits this process with `ulimit -a`".into(),
        }
    }
}

impl Emulator {
    /// Why links cannot be emulated here, or `None` if they can. Tries it.
    pub fn unavailable() -> Option<SetupError> {
        match Keeper::start("emulator-probe", || device::enter_new_network(address(0)).map(drop)) {
            Ok((_, result)) => result.err(),
            Err(source) => Some(SetupError { step: "starting a thread", source }),
        }
    }

    pub fn start(nodes: &[Node], links: &Links) -> Result<Self, EmulatorError> {
        check_nodes(nodes, links)?;
        let mut keepers = Vec::with_capacity(nodes.len());
        let mut tuns = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let (keeper, tun) =
                Keeper::start(&format!("node {}", node.name), move || device::enter_new_network(address(index)))
                    .map_err(EmulatorError::Start)?;
            let setup_failed = |source| match index {
                // What the first node may not do, none may.
                0 => EmulatorError::Unavailable(source),
                _ => EmulatorError::Setup { name: node.name.clone(), source },
            };
            tuns.push(tun.map_err(setup_failed)?);
            keepers.push(keeper);
        }
        let router = Router::start(Fabric::new(nodes, links), tuns).map_err(EmulatorError::Start)?;
        Ok(Self { nodes: nodes.to_vec(), keepers, router })
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The address that this node has itself; where the others reach it, unless it is behind a NAT.
    pub fn address(&self, node: usize) -> Result<Ipv4Addr, EmulatorError> {
        self.check(node).map(|()| address(node))
    }

    /// Where the others see this node.
    pub fn outside_address(&self, node: usize) -> Result<Ipv4Addr, EmulatorError> {
        self.check(node)?;
        Ok(self.router.fabric().outside(node).unwrap_or(address(node)))
    }

    /// Moves a node that is behind a NAT to another network: the others see it elsewhere from now on, and nothing that is sent to
    /// where it was arrives. False, and nothing has changed, where it is behind none.
    pub fn move_to_another_network(&self, node: usize) -> Result<bool, EmulatorError> {
        self.check(node)?;
        Ok(self.router.fabric().move_node(node))
    }

    /// What the NAT of a node has done, if it is behind one.
    pub fn nat_counts(&self, node: usize) -> Result<Option<NatCounts>, EmulatorError> {
        self.check(node)?;
        Ok(self.router.fabric().nat_counts(node))
    }

    /// Starts a process on a node. It is killed when the emulator ends.
    pub fn spawn_in(&self, node: usize, command: Command) -> io::Result<Child> {
        self.keeper(node)?.spawn(command)
    }

    /// Runs a short job on a node's own thread, for example to open a socket there.
    /// The node waits for it; one that panics ends the node and its processes.
    pub fn within<T: Send + 'static>(&self, node: usize, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.keeper(node)?.run(job)
    }

    /// What the link from one node to another is like.
    pub fn link(&self, from: usize, to: usize) -> Result<Link, EmulatorError> {
        self.check(from).and(self.check(to))?;
        Ok(self.router.fabric().link(from, to))
    }

    /// Changes one direction of a link for the packets to come.
    pub fn set_link(&self, from: usize, to: usize, link: Link) -> Result<(), EmulatorError> {
        self.check(from).and(self.check(to))?;
        self.router.fabric().set_link(from, to, link);
        Ok(())
    }

    /// Cuts one direction of a link, also for what is under way.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), EmulatorError> {
        self.check(from).and(self.check(to))?;
        self.router.fabric().cut(from, to);
        Ok(())
    }

    /// Cuts every link between different groups; links within a group work again. Every node is in one group.
    pub fn partition(&self, groups: &[&[usize]]) -> Result<(), EmulatorError> {
        let mut group_of = vec![None; self.nodes.len()];
        for (group, members) in groups.iter().enumerate() {
            for &node in *members {
                self.check(node)?;
                if group_of[node].replace(group).is_some() {
                    return Err(EmulatorError::NotAPartition { node });
                }
            }
        }
        let group_of = group_of
            .into_iter()
            .enumerate()
            .map(|(node, group)| group.ok_or(EmulatorError::NotAPartition { node }))
            .collect::<Result<Vec<usize>, _>>()?;
        self.router.fabric().partition(&group_of);
        Ok(())
    }

    /// Undoes every cut and partition; what `set_link` changed stays.
    pub fn heal(&self) {
        self.router.fabric().heal();
    }

    pub fn stats(&self) -> Stats {
        let fabric = self.router.fabric();
        let mut links = Vec::new();
        for (from, sender) in self.nodes.iter().enumerate() {
            for (to, receiver) in self.nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                let counts = fabric.counts(from, to);
                links.push(LinkStats { from: sender.name.clone(), to: receiver.name.clone(), counts });
            }
        }
        Stats { links, packets_unroutable: fabric.unroutable() }
    }

    /// The counters of one directed link.
    pub fn counts(&self, from: usize, to: usize) -> Result<Counts, EmulatorError> {
        self.check(from).and(self.check(to))?;
        Ok(self.router.fabric().counts(from, to))
    }

    fn check(&self, node: usize) -> Result<(), EmulatorError> {
        let count = self.nodes.len();
        if node < count { Ok(()) } else { Err(EmulatorError::NoSuchNode { node, count }) }
    }

    fn keeper(&self, node: usize) -> io::Result<&Keeper> {
        self.keepers.get(node).ok_or_else(|| {
            let error = EmulatorError::NoSuchNode { node, count: self.nodes.len() };
            io::Error::new(io::ErrorKind::InvalidInput, error)
        })
    }
}

fn check_nodes(nodes: &[Node], links: &Links) -> Result<(), EmulatorError> {
    if !(1..=NODES_MAX).contains(&nodes.len()) {
        return Err(EmulatorError::NodeCount { count: nodes.len() });
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = nodes.iter().find(|node| !names.insert(&node.name)) {
        return Err(EmulatorError::DuplicateName { name: twice.name.clone() });
    }
    match links.stray_name(nodes) {
        Some(name) => Err(EmulatorError::UnknownName { name: name.to_owned() }),
        None => Ok(()),
    }
}
