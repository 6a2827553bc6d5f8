//! One phase: every job handed in when it arrives, every answer compared with the right one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_cli::client::Client;
use shoal_protocol::api::{ExecutorView, TaskRequest};
use shoal_protocol::output::Timings;
use shoal_protocol::{TaskId, TaskState};
use tokio::task::JoinSet;

use super::board::{Board, Place};
use super::calls::{self, Home, Modules};
use super::live::Live;
use super::mode::Mode;
use super::usage::Usage;
use super::work::Work;

/// What has no answer this long after the last job was handed in counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

/// What became of one job.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) job: usize,
    pub(super) task: TaskId,
    /// From the job's arrival to its answer in the user's hands.
    pub(super) latency: Duration,
    pub(super) answered: Instant,
    pub(super) result: Result<Answer, Miss>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) executor: ExecutorView,
    pub(super) place: Place,
    pub(super) variant: String,
    pub(super) attempts: u32,
    pub(super) output_bytes: usize,
    pub(super) timings: Timings,
}

/// Why a job has no right answer.
#[derive(Debug)]
pub(super) enum Miss {
    Wrong,
    /// The mesh said that there is none, and why.
    Failed(String),
    /// Nothing was heard.
    Lost,
}

/// A phase as it went.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) mode: Mode,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) began: Instant,
    /// Until the last answer.
    pub(super) wall: Duration,
    pub(super) twice: Option<usize>,
}

/// What a phase needs beside its jobs.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) homes: &'a [Home],
    pub(super) modules: &'a Modules,
    pub(super) board: &'a Board,
    pub(super) live: &'a Live,
    /// Tells the runs of one mesh apart in the keys of its tasks.
    pub(super) run: &'a str,
}

pub(super) async fn feed(work: &Arc<Work>, mode: Mode, stage: &Stage<'_>, usage: &mut Usage<'_>) -> Fed {
    let jobs = &work.jobs;
    stage.board.begin(jobs.len());
    stage.live.begin(mode);
    let began = Instant::now();
    let last_arrival = jobs.last().map_or(Duration::ZERO, |job| job.arrival);
    let end = tokio::time::sleep_until((began + last_arrival + PATIENCE).into());
    tokio::pin!(end);
    let mut look = tokio::time::interval(LOOK);
    let mut asked = JoinSet::new();
    let mut tasks = Vec::with_capacity(jobs.len());
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(jobs.len());
    while outcomes.len() < jobs.len() {
        let next = jobs.get(tasks.len());
        let arrives = next.map_or(began, |job| began + job.arrival);
        tokio::select! {
            () = tokio::time::sleep_until(arrives.into()), if next.is_some() => {
                let Some(job) = next else { continue };
                let home = calls::home(stage.homes, job);
                let key = format!("{} {} {} {}", stage.run, mode, job.item.user, job.item.number);
                let task = home.task(&key);
                stage.board.sent(job.item.user, task);
                let request = stage.modules.request(job, mode, key);
                asked.spawn(ask(Arc::clone(work), tasks.len(), home.clone(), request, task, arrives));
                tasks.push(task);
            }
            Some(joined) = asked.join_next(), if !asked.is_empty() => {
                let Ok(outcome) = joined else { continue };
                let place = outcome.result.as_ref().ok().map(|answer| answer.place);
                stage.board.answered(jobs[outcome.job].item.user, place, outcome.latency);
                outcomes.push(outcome);
            }
            _ = look.tick() => {
                usage.look();
                stage.live.show(stage.board);
            }
            () = &mut end => break,
        }
    }
    usage.look();
    stage.live.end(stage.board);
    let wall = outcomes.iter().map(|outcome| outcome.answered - began).max().unwrap_or_default();
    // What is still waited for is given up: dropping the set ends the requests.
    for (job, task) in tasks.into_iter().enumerate() {
        if !outcomes.iter().any(|outcome| outcome.job == job) {
            let answered = Instant::now();
            outcomes.push(Outcome { job, task, latency: began.elapsed(), answered, result: Err(Miss::Lost) });
        }
    }
    Fed { mode, outcomes, began, wall, twice: stage.board.ended_twice() }
}

async fn ask(work: Arc<Work>, job: usize, home: Home, request: TaskRequest, task: TaskId, arrived: Instant) -> Outcome {
    let result = answer(&work, job, &home, request).await;
    let answered = Instant::now();
    Outcome { job, task, latency: answered - arrived, answered, result }
}

async fn answer(work: &Work, job: usize, home: &Home, request: TaskRequest) -> Result<Answer, Miss> {
    let client: &Client = &home.client;
    let view = client.run(request).await.map_err(|error| Miss::Failed(error.to_string()))?;
    let executor = match (view.state, view.exit_code, &view.executor) {
        (TaskState::Done, Some(0), Some(executor)) => executor.clone(),
        _ => return Err(Miss::Failed(why(&view))),
    };
    let output = calls::output(client, &view).await.map_err(Miss::Failed)?;
    let job = &work.jobs[job];
    let variant = view.variant.clone().unwrap_or_else(|| job.item.module.to_owned());
    if !job.is_right(&variant, &output) {
        return Err(Miss::Wrong);
    }
    Ok(Answer {
        place: Place::of(home.peer, executor.peer, executor.role),
        executor,
        variant,
        attempts: view.attempt,
        output_bytes: output.len(),
        timings: view.timings.unwrap_or_default(),
    })
}

fn why(view: &shoal_protocol::api::TaskView) -> String {
    match (&view.problem, view.exit_code) {
        (Some(problem), _) => format!("{}: {} {}", problem.code, problem.title, problem.detail),
        (None, Some(code)) => format!("exit code {code}: {}", view.log.trim()),
        (None, None) => format!("it ended {:?}", view.state),
    }
}
