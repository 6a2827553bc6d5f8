//! One event loop for every reference that acts on messages: arrivals, inputs, runs, and what nodes say to each other.
//!
//! **Not here:** deciding where a task runs; that is the [`Policy`].

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use super::super::case::{Case, TaskLine};
use super::super::physics::{Uplinks, output_ms, run_ms};
use super::super::run::{Completion, Run};
use super::MESSAGE_BYTES;

/// A way of placing tasks. A note is what it says from node to node, or to itself for later.
pub(super) trait Policy {
    type Note;

    /// A task arises at its origin.
    fn arose(&mut self, world: &mut World<'_, Self::Note>, task: usize);

    /// A note is there.
    fn heard(&mut self, _world: &mut World<'_, Self::Note>, _note: Self::Note) {}

    /// The input of a task is at the node that shall run it.
    fn input_there(&mut self, world: &mut World<'_, Self::Note>, task: usize, node: usize) {
        world.queue(task, node);
        world.start_waiting(node);
    }

    /// A run ended.
    fn core_freed(&mut self, world: &mut World<'_, Self::Note>, node: usize) {
        world.start_waiting(node);
    }
}

/// Runs a policy over a case until nothing is left to happen.
pub(super) fn play<P: Policy>(case: &Case, policy: &mut P) -> Run {
    play_with(case, policy, |_| {})
}

/// The same, with something to set up before the first arrival.
pub(super) fn play_with<P: Policy>(case: &Case, policy: &mut P, prepare: impl FnOnce(&mut World<'_, P::Note>)) -> Run {
    let mut world = World::new(case);
    prepare(&mut world);
    loop {
        let arrival = case.tasks.get(world.arrived).map(|task| task.arrival_ms);
        let event = world.events.peek().map(|next| next.at_ms);
        match (arrival, event) {
            (Some(arrival_ms), event) if event.is_none_or(|at_ms| arrival_ms <= at_ms) => {
                world.now_ms = arrival_ms;
                let task = world.arrived;
                world.arrived += 1;
                policy.arose(&mut world, task);
            }
            _ => {
                let Some(next) = world.events.pop() else { break };
                world.now_ms = next.at_ms;
                match next.event {
                    Event::InputThere { task, node } => policy.input_there(&mut world, task, node),
                    Event::Ended { task, node } => {
                        world.ended(task, node);
                        policy.core_freed(&mut world, node);
                    }
                    Event::Note(note) => policy.heard(&mut world, note),
                }
            }
        }
    }
    world.run
}

enum Event<N> {
    InputThere { task: usize, node: usize },
    Ended { task: usize, node: usize },
    Note(N),
}

struct Timed<N> {
    at_ms: f64,
    /// Ties in order of creation.
    order: u64,
    event: Event<N>,
}

impl<N> Ord for Timed<N> {
    /// The earliest is the greatest, because the heap yields that.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at_ms.total_cmp(&self.at_ms).then(other.order.cmp(&self.order))
    }
}

impl<N> PartialOrd for Timed<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> PartialEq for Timed<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N> Eq for Timed<N> {}

struct Executor {
    cores_free: u16,
    waiting: VecDeque<usize>,
    running: Vec<Running>,
    /// What the executor expects for a new arrival, until something changes here.
    start_expected_ms: Option<f64>,
}

#[derive(Clone, Copy)]
struct Running {
    task: usize,
    start_ms: f64,
    end_expected_ms: f64,
}

/// The nodes and the network.
pub(super) struct World<'c, N> {
    pub(super) case: &'c Case,
    pub(super) now_ms: f64,
    pub(super) uplinks: Uplinks,
    pub(super) run: Run,
    arrived: usize,
    executors: Vec<Executor>,
    events: BinaryHeap<Timed<N>>,
    created: u64,
}

impl<'c, N> World<'c, N> {
    fn new(case: &'c Case) -> Self {
        let executor = |cores_free| Executor {
            cores_free,
            waiting: VecDeque::new(),
            running: Vec::new(),
            start_expected_ms: None,
        };
        Self {
            case,
            now_ms: 0.0,
            uplinks: Uplinks::new(case),
            run: Run::default(),
            arrived: 0,
            executors: case.nodes.iter().map(|node| executor(node.cores)).collect(),
            events: BinaryHeap::new(),
            created: 0,
        }
    }

    pub(super) fn task(&self, task: usize) -> &'c TaskLine {
        &self.case.tasks[task]
    }

    /// Whether tasks are still to come or under way.
    pub(super) fn goes_on(&self) -> bool {
        self.run.completions.len() < self.case.tasks.len()
    }

    fn at(&mut self, at_ms: f64, event: Event<N>) {
        self.created += 1;
        self.events.push(Timed { at_ms, order: self.created, event });
    }

    /// Says something because of a task; what a node says to itself is free. Whether the other is in reach.
    pub(super) fn say(&mut self, from: usize, to: usize, note: N) -> bool {
        let Some(one_way_ms) = self.case.one_way_ms(from, to) else { return false };
        self.count(u64::from(from != to));
        self.at(self.now_ms + one_way_ms, Event::Note(note));
        true
    }

    /// Counts messages whose way is not simulated one by one.
    pub(super) fn count(&mut self, messages: u64) {
        self.run.control.count(self.case, self.now_ms, messages, MESSAGE_BYTES);
    }

    /// Notes something for later, which no message is needed for.
    pub(super) fn later(&mut self, at_ms: f64, note: N) {
        self.at(at_ms, Event::Note(note));
    }

    /// Measures how long it takes to choose.
    pub(super) fn decide<T>(&mut self, choose: impl FnOnce(&mut Self) -> T) -> T {
        let started = Instant::now();
        let chosen = choose(self);
        let took_ns = started.elapsed().as_nanos();
        self.run.control.decisions_ns.push(u32::try_from(took_ns).unwrap_or(u32::MAX));
        chosen
    }

    /// Awards a task to a node and sends its input there.
    pub(super) fn award(&mut self, task: usize, node: usize) {
        let line = self.task(task);
        // Policies choose among the nodes in reach, which the origin itself always is.
        let Some(there_ms) = self.uplinks.send(self.case, self.now_ms, line, node) else { return };
        self.count(u64::from(node != line.origin));
        self.at(there_ms, Event::InputThere { task, node });
    }

    /// When the result would be at the origin if the task were sent to the node now and could start at `start_ms`; as
    /// far as the estimate is right.
    pub(super) fn completion_expected_ms(&self, task: usize, node: usize, start_ms: f64) -> f64 {
        let line = self.task(task);
        let input_ms = self.uplinks.arrival_ms(self.case, self.now_ms, line, node);
        let (Some(input_ms), Some(output_ms)) = (input_ms, output_ms(self.case, line, node)) else {
            return f64::INFINITY;
        };
        input_ms.max(start_ms) + line.estimate_ms / self.case.nodes[node].speed + output_ms
    }

    pub(super) fn cores_free(&self, node: usize) -> u16 {
        self.executors[node].cores_free
    }

    /// Keeps a core idle for a task to come.
    pub(super) fn hold_core(&mut self, node: usize) {
        self.executors[node].cores_free -= 1;
    }

    pub(super) fn release_core(&mut self, node: usize) {
        self.executors[node].cores_free += 1;
    }

    /// Tasks that run or wait.
    pub(super) fn tasks_at(&self, node: usize) -> usize {
        self.executors[node].running.len() + self.executors[node].waiting.len()
    }

    /// When the executor expects that a task arriving now would start, by its estimates; the past is at once.
    pub(super) fn start_expected_ms(&mut self, node: usize) -> f64 {
        let executor = &mut self.executors[node];
        if executor.cores_free > 0 {
            return self.now_ms;
        }
        if let Some(start_ms) = executor.start_expected_ms {
            return start_ms;
        }
        let speed = self.case.nodes[node].speed;
        // A run that outlasts its estimate is expected to end at any moment.
        let mut ends: BinaryHeap<_> =
            executor.running.iter().map(|running| Earliest(running.end_expected_ms.max(self.now_ms))).collect();
        for task in &executor.waiting {
            if let Some(mut end) = ends.peek_mut() {
                end.0 += self.case.tasks[*task].estimate_ms / speed;
            }
        }
        let start_ms = ends.peek().map_or(self.now_ms, |end| end.0);
        executor.start_expected_ms = Some(start_ms);
        start_ms
    }

    pub(super) fn queue(&mut self, task: usize, node: usize) {
        let executor = &mut self.executors[node];
        executor.start_expected_ms = None;
        executor.waiting.push_back(task);
    }

    /// Starts what waits, first in, first out, on the cores that are free.
    pub(super) fn start_waiting(&mut self, node: usize) {
        while self.executors[node].cores_free > 0
            && let Some(task) = self.executors[node].waiting.pop_front()
        {
            self.hold_core(node);
            self.start_on_held_core(task, node);
        }
    }

    pub(super) fn start_on_held_core(&mut self, task: usize, node: usize) {
        let (line, spec) = (self.task(task), &self.case.nodes[node]);
        let executor = &mut self.executors[node];
        executor.start_expected_ms = None;
        let end_expected_ms = self.now_ms + line.estimate_ms / spec.speed;
        executor.running.push(Running { task, start_ms: self.now_ms, end_expected_ms });
        self.at(self.now_ms + run_ms(spec, line), Event::Ended { task, node });
    }

    fn ended(&mut self, task: usize, node: usize) {
        let executor = &mut self.executors[node];
        executor.start_expected_ms = None;
        executor.cores_free += 1;
        let Some(place) = executor.running.iter().position(|running| running.task == task) else { return };
        let start_ms = executor.running.swap_remove(place).start_ms;
        // Only nodes within reach are chosen.
        let Some(output_ms) = output_ms(self.case, self.task(task), node) else { return };
        let completed_ms = self.now_ms + output_ms;
        self.run.completions.push(Completion { task, executor: node, start_ms, end_ms: self.now_ms, completed_ms });
    }
}

/// A time; the earliest is the greatest, because a heap yields that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Earliest(pub(in super::super) f64);

impl Eq for Earliest {}

impl Ord for Earliest {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

impl PartialOrd for Earliest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
