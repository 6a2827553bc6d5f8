//! A daemon that gives prepared answers and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// One answer.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    body: Vec<u8>,
    /// The connection is closed after it, without saying so before.
    closes: bool,
    /// No answer at all.
    hangs: bool,
}

impl Reply {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self { status: 200, body: serde_json::to_vec(value).expect("serializable"), closes: false, hangs: false }
    }

    pub(crate) fn bytes(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), closes: false, hangs: false }
    }

    pub(crate) fn problem(problem: &shoal_protocol::api::Problem) -> Self {
        Self { status: problem.status, ..Self::json(problem) }
    }

    pub(crate) fn hanging() -> Self {
        Self { hangs: true, ..Self::bytes(b"") }
    }

    pub(crate) fn then_close(self) -> Self {
        Self { closes: true, ..self }
    }
}

/// One request it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Vec<Reply>>,
    asked: Vec<Asked>,
    connections: usize,
}

pub(crate) struct Fake {
    dir: TempDir,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let listener = UnixListener::bind(dir.path().join("api.sock")).expect("a socket");
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = serving.clone();
                state.0.lock().expect("unpoisoned").connections += 1;
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { dir, state }
    }

    /// Answers `GET /v1/status` and the like; repeated calls are given in order, the last one for ever.
    pub(crate) fn on(self, what: &str, reply: Reply) -> Self {
        self.state.0.lock().expect("unpoisoned").replies.entry(what.to_owned()).or_default().push(reply);
        self
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file in the directory the command runs in.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.0.lock().expect("unpoisoned").asked.clone()
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.state.0.lock().expect("unpoisoned").connections
    }

    pub(crate) fn asked_what(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }

    /// Waits until it was asked this.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        self.wait_for_times(what, 1);
    }

    /// Waits until it was asked this so often.
    #[track_caller]
    pub(crate) fn wait_for_times(&self, what: &str, times: usize) {
        let (state, changed) = &*self.state;
        let guard = state.lock().expect("unpoisoned");
        let deadline = Duration::from_secs(20);
        let until = |state: &mut State| state.asked.iter().filter(|asked| asked.what == what).count() < times;
        let (guard, waited) = changed.wait_timeout_while(guard, deadline, until).expect("unpoisoned");
        assert!(!waited.timed_out(), "never asked for {what}, only {:?}", guard.asked);
    }

    /// `shoal` with this daemon, in this directory, without the caller's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = shoal(arguments);
        command.current_dir(self.dir.path()).env("SHOAL_API", format!("unix:{}", self.socket().display()));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("shoal runs"))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("shoal runs");
        child.stdin.take().expect("piped").write_all(input).expect("taken");
        Ran::of(child.wait_with_output().expect("shoal ends"))
    }
}

/// `shoal` in a bare environment, with nothing on standard input.
pub(crate) fn shoal(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// How a command went.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) bytes: Vec<u8>,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

fn serve(stream: &UnixStream, state: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let reply = answer(&asked, state);
        let mut writer = stream;
        if reply.hangs {
            continue;
        }
        let head = format!("HTTP/1.1 {} .\r\nContent-Length: {}\r\n\r\n", reply.status, reply.body.len());
        let written = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&reply.body));
        if written.is_err() || reply.closes {
            return;
        }
    }
}

fn answer(asked: &Asked, state: &(Mutex<State>, Condvar)) -> Reply {
    let mut guard = state.0.lock().expect("unpoisoned");
    guard.asked.push(asked.clone());
    state.1.notify_all();
    match guard.replies.get_mut(&asked.what) {
        Some(replies) if replies.len() > 1 => replies.remove(0),
        Some(replies) => replies[0].clone(),
        None => Reply { status: 404, ..Reply::bytes(b"nothing prepared") },
    }
}

fn read(reader: &mut BufReader<&UnixStream>) -> Option<Asked> {
    let mut first = String::new();
    let mut length = 0;
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let what = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { what, body })
}
