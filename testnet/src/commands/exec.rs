//! `shoal-testnet exec`: any program on an emulated machine, to see what the links do to it.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitCode;

use shoal_testnet::{Emulator, Links, Node, sandbox};

use super::{Failure, USAGE};

/// Run a program on one machine of an emulated mesh; the others are only reachable, nothing runs on them
///
/// Machines are named edge-1, edge-2, … cloud-1, … and have the addresses 10.77.0.1, 10.77.0.2, … in that order.
/// Example: shoal-testnet exec --edge 2 --cloud 1 edge-1 -- ping -c 3 10.77.0.3
#[derive(clap::Args)]
pub(crate) struct Exec {
    /// Machines that stand for cloud peers
    #[arg(long, default_value_t = 3)]
    cloud: usize,
    /// Machines that stand for edge peers
    #[arg(long, default_value_t = 2)]
    edge: usize,
    /// Links file; see `shoal-testnet links`
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// Machine to run the program on
    node: String,
    /// Program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

impl Exec {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let links = self.links.as_deref().map(Links::load).transpose()?.unwrap_or_default();
        let edges = (1..=self.edge).map(|number| Node::edge(format!("edge-{number}")));
        let clouds = (1..=self.cloud).map(|number| Node::cloud(format!("cloud-{number}")));
        let nodes: Vec<Node> = edges.chain(clouds).collect();
        let Some(node) = nodes.iter().position(|node| node.name == self.node) else {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(Failure::new(
                USAGE,
                format!("no machine is named {}", self.node),
                format!("one of: {}", names.join(", ")),
            ));
        };
        let [program, arguments @ ..] = self.program.as_slice() else {
            return Err(Failure::new(USAGE, "no program was given", "name one after --"));
        };
        if let Err(error) = sandbox::enter() {
            anstream::eprintln!("warning: what the program starts may outlive this command ({error})");
        }
        let emulator = Emulator::start(&nodes, &links)?;
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        let cannot_run =
            |error| Failure::new(USAGE, format!("cannot run {program}: {error}"), "check the name of the program");
        let status = emulator.spawn_in(node, command).and_then(|mut child| child.wait()).map_err(cannot_run)?;
        let code = status.code().unwrap_or(128 + status.signal().unwrap_or_default());
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }
}
