//! kill −9 of home, executor and guardian in turn, in each of the eight states of a task: it ends, once, and as it should.
//!
//! The state is exact: the mesh stands still at the first event after which the task is in it. Each case is told twice, with the victim
//! back after ten seconds and with the victim gone for good, and for several seeds.

#![allow(clippy::expect_used)] // in a test, a failure is the answer

use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::task::durable::{Durability, Found, Keeping};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, Input, Role, TaskId, TaskSpec, TaskState};
use shoal_testnet::sim::{Link, Sim, TaskNews, Told};

use super::{cores, secs};

const SEEDS: core::ops::Range<u64> = 0..4;
const TASK: TaskId = TaskId([7; 16]);
/// Tasks that are in the way of another.
const BLOCKERS: [TaskId; 2] = [TaskId([8; 16]), TaskId([9; 16])];
const ASKED: u64 = 77;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Home,
    Executor,
    Guardian,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// Taken from its user, and not acknowledged yet.
    Accepted,
    Placing,
    Fetching,
    Queued,
    Running,
    /// Home's vote for the end is on disk, and the end is not decided.
    Committing,
    Done,
    Cancelled,
}

/// Two cloud peers that may run the task, and five edge peers near each other, of which the first is its home.
struct Mesh {
    sim: Sim,
    clouds: [usize; 2],
    edges: [usize; 5],
    told: Vec<Told>,
}

impl Mesh {
    fn new(seed: u64) -> Self {
        let mut sim = Sim::quick(seed, Link::ms(15));
        sim.keep_tasks();
        let clouds = [(); 2].map(|()| sim.add(Role::Cloud, cores(1)));
        let edges = [(); 5].map(|()| sim.add(Role::Edge, cores(2)));
        for (n, a) in edges.iter().enumerate() {
            edges[n + 1..].iter().for_each(|b| sim.network().set_link(*a, *b, Link::ms(2)));
        }
        assert!(sim.run_until_done(secs(20), Sim::converged), "seed {seed}: the mesh did not form");
        sim.run_for(secs(1));
        Self { sim, clouds, edges, told: Vec::new() }
    }

    fn home(&self) -> usize {
        self.edges[0]
    }

    fn submit(&mut self, task: TaskId, durability: Durability, run_s: u64, at: Option<usize>) {
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::inline(vec![0; 1_000]));
        spec.policy.role = Some(Role::Cloud);
        spec.policy.peer = at.map(|at| self.sim.id(at));
        // Of a run that is known to be long, home is told each state.
        spec.expected = Some(secs(run_s));
        let keeping = Keeping { durability, ..Keeping::default() };
        self.sim.submit_kept(self.home(), task, spec, keeping, secs(run_s));
    }

    fn submit_the_task(&mut self) {
        self.submit(TASK, Durability::Guarded, 2, None);
    }

    /// Goes on until the task is in that state.
    #[track_caller]
    fn reach(&mut self, moment: Moment) {
        let home = self.home();
        if moment == Moment::Queued {
            for (task, cloud) in BLOCKERS.into_iter().zip(self.clouds) {
                self.submit(task, Durability::Memory, 6, Some(cloud));
            }
            self.until(|sim| BLOCKERS.iter().all(|task| sim.running_at(*task).is_some()));
        }
        self.submit_the_task();
        let is = |wanted: TaskState| move |sim: &Sim| state(sim, home) == Some(wanted);
        match moment {
            Moment::Accepted => assert_eq!(state(&self.sim, home), Some(TaskState::Accepted)),
            Moment::Placing => self.until(is(TaskState::Placing)),
            Moment::Fetching => self.until(is(TaskState::Fetching)),
            Moment::Queued => self.until(is(TaskState::Queued)),
            Moment::Running => self.until(is(TaskState::Running)),
            Moment::Committing => {
                self.until(is(TaskState::Running));
                let before = council_bytes(&self.sim, home);
                self.until(|sim| council_bytes(sim, home) > before);
                assert_eq!(state(&self.sim, home), Some(TaskState::Running), "it is not decided");
            }
            Moment::Done => self.until(is(TaskState::Done)),
            Moment::Cancelled => {
                self.until(is(TaskState::Running));
                self.sim.tell(home, Input::Cancelled(TASK));
                self.until(is(TaskState::Cancelled));
            }
        }
    }

    #[track_caller]
    fn until(&mut self, done: impl Fn(&Sim) -> bool) {
        assert!(self.sim.run_until_done(secs(20), done), "it never came to that: {:?}", state(&self.sim, self.home()));
    }

    fn listen(&mut self) -> &[Told] {
        let news = self.sim.take_told();
        self.told.extend(news);
        &self.told
    }

    fn is_acknowledged(&mut self) -> bool {
        self.listen().iter().any(|told| told.news == TaskNews::Acknowledged(TASK))
    }

    /// Every end that anybody was told, and the answer at a peer that has nothing to do with the task.
    fn ends(&mut self) -> (Vec<Result<TaskResult, TaskError>>, Option<Found>) {
        let is_end = |result: &Result<TaskResult, TaskError>| !result.as_ref().is_err_and(TaskError::is_refusal);
        let mut ends = Vec::new();
        let mut answer = None;
        for told in self.listen() {
            match &told.news {
                TaskNews::Finished(TASK, result) if is_end(result) => ends.push(Result::clone(result)),
                TaskNews::Found(ASKED, found) => answer = found.as_deref().cloned(),
                _ => {}
            }
        }
        let known = (0..self.sim.len()).filter_map(|n| self.sim.peer(n)?.known_task(self.sim.now(), TASK)?.result);
        ends.extend(known.filter(is_end));
        (ends, answer)
    }
}

fn state(sim: &Sim, home: usize) -> Option<TaskState> {
    Some(sim.peer(home)?.task(sim.now(), TASK)?.state)
}

/// Grows when the home votes.
fn council_bytes(sim: &Sim, home: usize) -> usize {
    let key = [b"c", TASK.0.as_slice()].concat();
    let records = sim.disk(home).into_iter().flat_map(|disk| disk.records());
    records.filter(|(known, _)| *known == key.as_slice()).map(|(_, bytes)| bytes.len()).sum()
}

/// Where the task runs when nothing goes wrong.
fn executor(seed: u64, moment: Moment) -> usize {
    let mut mesh = Mesh::new(seed);
    mesh.reach(if moment == Moment::Queued { Moment::Queued } else { Moment::Placing });
    mesh.until(|sim| sim.running_at(TASK).is_some());
    mesh.sim.running_at(TASK).expect("it runs")
}

fn check(moment: Moment, victim: Victim, seed: u64, returns: bool) {
    let case = format!("{moment:?}, {victim:?} killed, seed {seed}, {}", if returns { "back" } else { "gone" });
    let mut mesh = Mesh::new(seed);
    mesh.reach(moment);
    let home = mesh.home();
    let council = mesh.sim.peer(home).expect("it is up").council_of(TASK);
    let guardian = mesh.sim.index(council[1]).expect("it is of the mesh");
    let index = match victim {
        Victim::Home => home,
        Victim::Guardian => guardian,
        Victim::Executor => executor(seed, moment),
    };
    let sits = |peer: &usize| council.contains(&mesh.sim.id(*peer));
    let stranger = mesh.edges.into_iter().find(|peer| !sits(peer)).expect("three sit on a council");

    mesh.sim.crash(index);
    mesh.sim.run_for(secs(10));
    if returns {
        let others: Vec<usize> = (0..mesh.sim.len()).filter(|other| *other != index).collect();
        mesh.sim.start(index, &others);
        mesh.sim.run_for(secs(1));
    }
    // Whoever has no answer comes again.
    let home_is_up = victim != Victim::Home || returns;
    if !mesh.is_acknowledged() && home_is_up {
        mesh.submit_the_task();
    }
    mesh.sim.run_for(secs(60));
    mesh.sim.tell(stranger, Input::Sought { task: TASK, ticket: ASKED });
    mesh.sim.run_for(secs(5));

    let is_promised = mesh.is_acknowledged();
    assert!(is_promised || !home_is_up, "{case}: it is never acknowledged");
    let (ends, answer) = mesh.ends();
    let right = if moment == Moment::Cancelled { TaskState::Cancelled } else { TaskState::Done };
    for end in &ends {
        assert_eq!(end, &ends[0], "{case}: two ends");
    }
    if is_promised {
        let answer = answer.unwrap_or_else(|| panic!("{case}: nobody tells a stranger"));
        assert_eq!(answer.state, right, "{case}");
        assert_eq!(answer.result.as_ref(), ends.first(), "{case}");
    }
}

fn check_all(moment: Moment) {
    for seed in SEEDS {
        for victim in [Victim::Home, Victim::Executor, Victim::Guardian] {
            for returns in [true, false] {
                check(moment, victim, seed, returns);
            }
        }
    }
}

#[test]
fn a_task_that_is_being_accepted() {
    check_all(Moment::Accepted);
}

#[test]
fn a_task_that_is_being_placed() {
    check_all(Moment::Placing);
}

#[test]
fn a_task_whose_module_is_being_fetched() {
    check_all(Moment::Fetching);
}

#[test]
fn a_task_that_waits_for_a_core() {
    check_all(Moment::Queued);
}

#[test]
fn a_task_that_runs() {
    check_all(Moment::Running);
}

#[test]
fn a_task_whose_end_is_being_decided() {
    check_all(Moment::Committing);
}

#[test]
fn a_task_that_is_done() {
    check_all(Moment::Done);
}

#[test]
fn a_task_that_is_cancelled() {
    check_all(Moment::Cancelled);
}
