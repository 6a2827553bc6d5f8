//! The honest user of an attacked peer.
//!
//! It works on a thread of its own, as it would in a process of its own: what an attacker computes to attack is no part of
//! the times that are measured here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shoal_cli::client::Client;
use shoal_protocol::api::{InputRequest, OutputView, TaskRequest};

use crate::request;

/// Tasks of each kind that are handed in before an attack, and at least as many beside it.
const TASKS_MIN: usize = 50;
/// What it wants to have understood, and what it is.
const TAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits/7_theo_8.wav");
const DIGIT: &str = "digit=7";

/// What it takes until a task is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) empty: Duration,
    pub(crate) digit: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct HonestUser {
    socket: PathBuf,
    pub(crate) noop: TaskRequest,
    /// What a user may really want: a spoken digit understood.
    digit: TaskRequest,
}

/// It hands in one task after another until it is told to stop.
#[derive(Debug)]
pub(crate) struct AtWork {
    stops: Arc<AtomicBool>,
    worker: JoinHandle<Vec<Times>>,
}

impl HonestUser {
    pub(crate) async fn new(client: &Client, socket: PathBuf) -> Self {
        let noop = request(client, "noop", InputRequest::Text(String::new())).await;
        let take = client.put_blob(std::fs::read(TAKE).unwrap()).await.unwrap().id;
        Self { socket, noop, digit: request(client, "digit", InputRequest::Blob(take)).await }
    }

    /// One of each kind; nothing is refused, and every answer is right.
    pub(crate) async fn tasks(&self, client: &Client) -> Times {
        let began = Instant::now();
        let view = client.run(self.noop.clone()).await.unwrap();
        assert_eq!(view.exit_code, Some(0));
        let empty = began.elapsed();
        let view = client.run(self.digit.clone()).await.unwrap();
        let is_right = matches!(&view.output, Some(OutputView::Text(answer)) if answer.starts_with(DIGIT));
        assert!(is_right, "{view:?}");
        Times { empty, digit: began.elapsed() - empty }
    }

    pub(crate) fn begin(&self) -> AtWork {
        let stops = Arc::new(AtomicBool::new(false));
        let (user, stop) = (self.clone(), Arc::clone(&stops));
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::new(&user.socket);
                let mut times = Vec::new();
                while times.len() < TASKS_MIN || !stop.load(Ordering::Relaxed) {
                    times.push(user.tasks(&client).await);
                }
                times
            })
        });
        AtWork { stops, worker }
    }
}

impl AtWork {
    /// It does not stop before it has done enough to be measured.
    pub(crate) async fn end(self) -> Vec<Times> {
        self.stops.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(|| self.worker.join()).await.unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
