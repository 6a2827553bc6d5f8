//! `shoal up`

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use shoal_protocol::api::Status;
use shoal_protocol::certificate::Role;

use super::status::Overview;
use crate::Printer;
use crate::client::{Client, ClientError};
use crate::commands::mesh::files::{self, DataDir};
use crate::commands::mesh::init::{MemberArguments, found};
use crate::error::{Exit, Failure, own, plain};
use crate::{home, programs};

/// How long a daemon may take until it answers; measuring the machine's speed for the first time is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one that does not answer whole requests any more may take to end.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two tries to reach it.
const START_LOOK: Duration = Duration::from_millis(20);
/// Lines of the daemon's log that are shown when it does not start.
const LOG_LINES: usize = 12;

/// What is said of one peer, and would be ignored for many.
const OF_ONE_PEER: [&str; 7] = ["mesh", "name", "role", "labels", "days", "listen", "bootstrap"];

/// Start this peer, founding a mesh of one where there is none; or a whole mesh on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal up -d                      this peer, in the background
  shoal up --cloud 3 --edge 2      a mesh of five real peers on this machine")]
pub struct Up {
    /// Leave it running in the background
    #[arg(short, long)]
    detach: bool,
    /// Start this many cloud peers on this machine
    #[arg(long, value_name = "N", conflicts_with_all = OF_ONE_PEER)]
    cloud: Option<u32>,
    /// Start this many edge peers on this machine
    #[arg(long, value_name = "N", conflicts_with_all = OF_ONE_PEER)]
    edge: Option<u32>,
    /// What people call the mesh, when one is founded
    #[arg(long, default_value = "home")]
    mesh: String,
    #[command(flatten)]
    member: MemberArguments,
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where this peer keeps its files
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Where it listens, as in /ip4/0.0.0.0/udp/7600/quic-v1; repeat for several
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// A peer it tries to reach; repeat for several
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Arguments for shoald, or for shoal-testnet with --cloud or --edge
    #[arg(last = true)]
    rest: Vec<OsString>,
}

impl Up {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if self.cloud.is_some() || self.edge.is_some() {
            return self.local_mesh(printer);
        }
        let dir = DataDir::new(self.data_dir.clone());
        self.has_these_labels(&dir)?;
        match settled(client).await {
            Ok(status) => {
                self.is_that_one(client).await?;
                printer.say("this peer is up already");
                return printer.show(&Overview(status));
            }
            Err(ClientError::Unreachable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.is_configured() && !dir.certificate().exists() {
            let founded = found(&dir, &self.mesh, &self.member, None)?;
            printer.say(format_args!("founded {founded}"));
        }
        let mut daemon = self.daemon(client.socket())?;
        if let Some(name) = self.mesh_name(&dir) {
            daemon.env("SHOAL_MESH_NAME", name);
        }
        if !self.detach {
            let error = daemon.exec();
            return Err(not_started(daemon.get_program(), &error));
        }
        let status = detached(client, printer, daemon, &dir).await?;
        printer.show(&status)?;
        printer.say("→ shoal run wordcount -i README.md   → shoal shutdown");
        Ok(())
    }

    /// Whoever answers at the socket is the peer that is to be started, as far as was said which one that is.
    async fn is_that_one(&self, client: &Client) -> Result<(), Failure> {
        let Some(wanted) = &self.data_dir else { return Ok(()) };
        let config = client.config().await?;
        let theirs =
            config.values.iter().find(|value| value.key == "node.data_dir").map(|value| value.value.trim_matches('"'));
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // One that was given as a path from another directory may be any.
        if theirs.is_none_or(|theirs| Path::new(theirs).is_relative() || real(Path::new(theirs)) == real(wanted)) {
            return Ok(());
        }
        let title = format!("another peer answers at {}", client.socket().display());
        Err(Failure::new(Exit::Usage, own::NOT_STARTED, title)
            .what(format!("its data is in {}, and {} was asked for", theirs.unwrap_or_default(), wanted.display()))
            .fix("give this one a socket of its own: shoal --api unix:PATH up …"))
    }

    /// A certificate that is there already is not changed by being told others.
    fn has_these_labels(&self, dir: &DataDir) -> Result<(), Failure> {
        let path = dir.certificate();
        if self.member.labels.is_empty() || self.is_configured() || !path.exists() {
            return Ok(());
        }
        let chain = files::read_certificate(&path)?;
        let peer = files::read_key(&dir.node_key())?.peer();
        let believed =
            chain.claimed_mesh().and_then(|mesh| chain.verify(mesh, peer, files::now_unix_s().unwrap_or_default()));
        // One that is over, or wrong, is the daemon's to tell.
        let Ok(certificate) = believed else { return Ok(()) };
        match self.member.labels.iter().all(|(key, value)| certificate.labels.get(key) == Some(value)) {
            true => Ok(()),
            false => Err(Failure::usage("this peer has a certificate already, and its labels are in that")
                .what(
                    certificate
                        .labels
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect::<Vec<_>>()
                        .join(" "),
                )
                .fix(format!("once it is up: shoal peer label {} KEY=VALUE", certificate.name))),
        }
    }

    /// Whether a file says where the peer's things are, so that nothing is to be founded by guess.
    fn is_configured(&self) -> bool {
        self.config.is_some()
            || (self.data_dir.is_none() && home::configuration_files().iter().any(|file| file.exists()))
    }

    /// The name `shoal mesh init` was given, unless somebody else says it.
    fn mesh_name(&self, dir: &DataDir) -> Option<String> {
        if self.is_configured() || std::env::var_os("SHOAL_MESH_NAME").is_some() {
            return None;
        }
        std::fs::read_to_string(dir.mesh_name()).ok().map(|name| name.trim().to_owned())
    }

    fn daemon(&self, socket: &Path) -> Result<Process, Failure> {
        let mut daemon = Process::new(programs::beside("shoald")?);
        let mut api = OsString::from("unix:");
        api.push(socket);
        daemon.arg("--api").arg(api);
        if let Some(config) = &self.config {
            daemon.arg("--config").arg(config);
        }
        if let Some(dir) = &self.data_dir {
            daemon.arg("--data-dir").arg(std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
        }
        if let Some(name) = &self.member.name {
            daemon.arg("--name").arg(name);
        }
        if self.member.role == Role::Cloud {
            daemon.args(["--role", "cloud"]);
        }
        for address in &self.listen {
            daemon.arg("--listen").arg(address);
        }
        for address in &self.bootstrap {
            daemon.arg("--bootstrap").arg(address);
        }
        daemon.args(&self.rest);
        Ok(daemon)
    }

    /// Hands over to the program that runs many peers.
    fn local_mesh(self, printer: Printer) -> Result<(), Failure> {
        let mut testnet = Process::new(programs::beside("shoal-testnet")?);
        testnet.arg("up");
        testnet.arg("--cloud").arg(self.cloud.unwrap_or(0).to_string());
        testnet.arg("--edge").arg(self.edge.unwrap_or(0).to_string());
        testnet.args(self.detach.then_some("--keep")).args(printer.is_json().then_some("--json"));
        testnet.args(self.rest);
        let error = testnet.exec();
        Err(not_started(testnet.get_program(), &error))
    }
}

fn not_started(program: &std::ffi::OsStr, error: &std::io::Error) -> Failure {
    let title = format!("cannot start {}", Path::new(program).display());
    Failure::new(Exit::Unreachable, own::NOT_STARTED, title).why(plain(error)).fix("check the installation")
}

/// What answers, once a daemon that is just ending has.
async fn settled(client: &Client) -> Result<Status, ClientError> {
    let deadline = Instant::now() + ENDING_TIMEOUT;
    loop {
        match client.status().await {
            Err(ClientError::Broken { .. }) if Instant::now() < deadline => tokio::time::sleep(START_LOOK).await,
            answer => return answer,
        }
    }
}

/// Starts the daemon on its own and returns once it answers.
async fn detached(client: &Client, printer: Printer, mut daemon: Process, dir: &DataDir) -> Result<Overview, Failure> {
    dir.create()?;
    let log = dir.path().join("shoald.log");
    let failed = |error: std::io::Error| Failure::write(&log, &error);
    let out = File::options().create(true).append(true).open(&log).map_err(failed)?;
    let already = out.metadata().map_err(failed)?.len();
    let err = out.try_clone().map_err(failed)?;
    // A group of its own, so that Ctrl-C at this terminal does not reach it.
    daemon.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    let mut child = daemon.spawn().map_err(|error| not_started(daemon.get_program(), &error))?;
    let spinner = printer.spinner("starting");
    let outcome = answers(client, &mut child, &log, already).await;
    spinner.finish_and_clear();
    outcome
}

async fn answers(client: &Client, child: &mut Child, log: &Path, already: u64) -> Result<Overview, Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match client.status().await {
            Ok(status) => return Ok(Overview(status)),
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = child.try_wait().ok().flatten();
        if let Some(status) = ended {
            let exit = match status.code() {
                Some(78) => Exit::BadConfiguration,
                Some(77) => Exit::Denied,
                Some(_) | None => Exit::Unreachable,
            };
            return Err(Failure::new(exit, own::NOT_STARTED, format!("shoald ended at once ({status})"))
                .why(tail(log, already))
                .fix(format!("correct that; its log is {}", log.display())));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(Exit::TimedOut, own::NOT_STARTED, "shoald runs, but does not answer")
                .what(format!("{START_TIMEOUT:?} passed; it is process {}", child.id()))
                .why(tail(log, already))
                .fix(format!("look at {}", log.display())));
        }
        tokio::time::sleep(START_LOOK).await;
    }
}

/// The last lines that this start wrote.
fn tail(log: &Path, already: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let fresh = bytes.get(usize::try_from(already).unwrap_or(0)..).unwrap_or_default();
    let text = String::from_utf8_lossy(fresh).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
