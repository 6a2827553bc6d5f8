//! `shoal join`

use core::fmt;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{JoinReport, JoinedView};
use shoal_protocol::certificate::Ticket;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command as Process};
use zeroize::Zeroizing;

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::{Exit, Failure, own, plain};
use crate::{format, programs};

/// A ticket with the most labels allowed is under 20 KiB.
const TICKET_BYTES_MAX: u64 = 64 * 1024;
/// What the daemon's program says on standard error is a few lines.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

/// Become a member of a mesh, with a ticket from `shoal invite`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal join -                     asks for the ticket, or reads it from a pipe
  shoal join file:lab.ticket --up  and starts this peer

A ticket on the command line is seen by the other users of this machine for the moment, and stays in the shell's
history: prefer - or file:.")]
pub struct Join {
    /// The ticket; file:FILE; or - to be asked for it, or to read it from standard input
    #[arg(default_value = "-", hide_default_value = true)]
    ticket: String,
    /// What this machine is called, where the ticket does not say; its host's name when absent
    #[arg(long)]
    name: Option<String>,
    /// Leave the mesh it belongs to
    #[arg(long)]
    force: bool,
    /// Start this peer in the background when it is a member
    #[arg(long)]
    up: bool,
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where this peer keeps its files
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Join {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let text = read_ticket(&self.ticket)?;
        // Said here already, before anything is begun.
        Ticket::decode(&text)
            .map_err(|error| Failure::new(Exit::Usage, own::ARGUMENT, error.to_string()).fix(error.hint()))?;
        if !matches!(client.status().await, Err(ClientError::Unreachable { .. })) && self.data_dir.is_none() {
            return Err(Failure::new(Exit::Usage, own::MESH, "this peer is running")
                .why(format!("a shoald answers at {}", client.socket().display()))
                .fix("stop it first: shoal shutdown; or join as another peer: --data-dir DIR"));
        }
        let joined = self.visit(&text, printer).await?;
        for warning in &joined.warnings {
            printer.say(format_args!("{} {warning}", "!".yellow().bold()));
        }
        printer.show(&Joined(joined))?;
        if self.up { self.start(client) } else { self.say_next(printer) }
    }

    /// Has the daemon's program do it: it has the network.
    async fn visit(&self, ticket: &str, printer: Printer) -> Result<JoinedView, Failure> {
        let program = programs::beside("shoald")?;
        let mut command = Process::new(&program);
        command.arg("join").args(self.daemon_arguments());
        if let Some(name) = &self.name {
            command.arg("--wish").arg(name);
        }
        if self.force {
            command.arg("--force");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Unreachable, own::NOT_STARTED, format!("cannot start {}", program.display()))
                .why(plain(&error))
                .fix("check the installation")
        };
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // It says itself what is wrong with what it has read.
            let _ = stdin.write_all(ticket.as_bytes()).await;
        }
        listen(child, printer).await
    }

    fn daemon_arguments(&self) -> Vec<OsString> {
        let named = |name: &str, path: &Path| [OsString::from(name), path.as_os_str().to_owned()];
        let config = self.config.iter().flat_map(|path| named("--config", path));
        config.chain(self.data_dir.iter().flat_map(|path| named("--data-dir", path))).collect()
    }

    /// `shoal up -d` in the place of this program.
    fn start(&self, client: &Client) -> Result<(), Failure> {
        use std::os::unix::process::CommandExt as _;
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Unreachable, own::NOT_STARTED, "cannot start this peer").why(plain(&error))
        };
        let mut api = OsString::from("unix:");
        api.push(client.socket());
        let mut up = std::process::Command::new(std::env::current_exe().map_err(failed)?);
        up.arg("--api").arg(api).args(["up", "-d"]).args(self.daemon_arguments());
        Err(failed(up.exec()))
    }

    fn say_next(&self, printer: Printer) -> Result<(), Failure> {
        let arguments: Vec<String> =
            self.daemon_arguments().iter().map(|argument| format!(" {}", argument.to_string_lossy())).collect();
        printer.say(format_args!("→ shoal up -d{}", arguments.concat()));
        Ok(())
    }
}

async fn listen(mut child: Child, printer: Printer) -> Result<JoinedView, Failure> {
    let broken = |why: String| {
        Failure::new(Exit::Unreachable, own::NOT_STARTED, "shoald did not join")
            .why(why)
            .fix("correct that, and try again")
    };
    let out = child.stdout.take().ok_or_else(|| broken("it has no output".into()))?;
    let mut lines = BufReader::new(out).lines();
    let mut spinner = printer.spinner("joining");
    let mut outcome = None;
    while let Some(line) = lines.next_line().await.map_err(|error| broken(plain(&error)))? {
        match serde_json::from_str::<JoinReport>(&line) {
            Ok(JoinReport::Waiting { words, patience_s }) => {
                spinner.finish_and_clear();
                let patience = format::micros(patience_s.saturating_mul(1_000_000));
                printer.say(format_args!(
                    "whoever sent the ticket is asked now, and has {patience}; they see these six words:"
                ));
                printer.say(format_args!("\n    {}\n", words.bold()));
                spinner = printer.spinner("waiting to be let in");
            }
            Ok(JoinReport::Joined(joined)) => outcome = Some(Ok(*joined)),
            Ok(JoinReport::Failed(problem)) => outcome = Some(Err(Failure::from(*problem))),
            Err(error) => return Err(broken(format!("it says what cannot be understood: {error}"))),
        }
    }
    spinner.finish_and_clear();
    if let Some(outcome) = outcome {
        return outcome;
    }
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(WORDS_BYTES_MAX).read_to_string(&mut words).await;
    }
    let status = child.wait().await.map_err(|error| broken(plain(&error)))?;
    let exit = if status.code() == Some(78) { Exit::BadConfiguration } else { Exit::Unreachable };
    Err(Failure { exit, ..broken(words) })
}

/// The text of the ticket, from where it was said to be.
fn read_ticket(source: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = source.strip_prefix("file:") {
        let path = Path::new(path);
        let file = std::fs::File::open(path).map_err(|error| Failure::read(path, &error))?;
        return read_from(file).map_err(|error| Failure::read(path, &error));
    }
    if source != "-" {
        return Ok(Zeroizing::new(source.to_owned()));
    }
    let unread = |error: std::io::Error| Failure::usage("no ticket could be read").why(plain(&error));
    if std::io::stdin().is_terminal() {
        // Not shown: it would stay in the terminal's scrollback.
        return rpassword::prompt_password("Ticket (it is not shown): ").map(Zeroizing::new).map_err(unread);
    }
    read_from(std::io::stdin().lock()).map_err(unread)
}

fn read_from(source: impl std::io::Read) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    source.take(TICKET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Joined(JoinedView);

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinedView { mesh, mesh_name, name, role, labels, data_dir, .. } = &self.0;
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let mesh_name = if mesh_name.is_empty() { String::new() } else { format!("{} ", mesh_name.bold()) };
        writeln!(f, "{} {role}{} is a member of mesh {mesh_name}({}…)", name.bold(), labels.concat(), mesh.short())?;
        write!(f, "kept in {data_dir}: node.key, member.cert")
    }
}
