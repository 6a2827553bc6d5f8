//! The yardstick: knows every work, every core's next free time and every uplink, takes for each task as it arises the node
//! where it is done first, and reserves that core and the uplink.
//!
//! It is greedy: what is best for one task may cost the next ones more, so it can be beaten. With a price on each node's core
//! time, what a task takes from the others is part of what it minds; that is how far a clairvoyant can go that does not plan.
//! Of crashes both know those that have happened: what a crash undid is placed again at that moment.

use std::collections::BinaryHeap;
use std::time::Instant;

use super::super::bounds::prices;
use super::super::case::Case;
use super::super::faults::{Change, Faults};
use super::super::physics::{Uplinks, output_ms, run_ms, transfer_ms};
use super::super::run::{Completion, Execution, Run};
use super::engine::Earliest;

pub(in super::super) fn clairvoyant(case: &Case, faults: &Faults) -> Run {
    run(case, faults, vec![0.0; case.nodes.len()])
}

/// Minds completion and price · core time, at the prices of the whole case.
pub(in super::super) fn priced_clairvoyant(case: &Case, faults: &Faults) -> Run {
    run(case, faults, prices(case))
}

fn run(case: &Case, faults: &Faults, prices: Vec<f64>) -> Run {
    let mut clairvoyant = Clairvoyant::new(case, prices);
    let mut faults = faults.list().iter().peekable();
    for (task, line) in case.tasks.iter().enumerate() {
        while let Some(fault) = faults.next_if(|fault| fault.at_ms <= line.arrival_ms) {
            clairvoyant.change(fault.at_ms, fault.node, fault.change);
        }
        if clairvoyant.is_up[line.origin] {
            clairvoyant.place(line.arrival_ms, task);
        }
    }
    for fault in faults {
        clairvoyant.change(fault.at_ms, fault.node, fault.change);
    }
    clairvoyant.run.completions = clairvoyant.planned.into_iter().flatten().collect();
    clairvoyant.run
}

struct Clairvoyant<'c> {
    case: &'c Case,
    /// For each node what a millisecond of its core time costs.
    prices: Vec<f64>,
    uplinks: Uplinks,
    /// For each node when each of its cores is free.
    cores: Vec<BinaryHeap<Earliest>>,
    /// The earliest of them; never, while the node is down.
    next_free_ms: Vec<f64>,
    is_up: Vec<bool>,
    /// For each task what will come of it, unless something crashes.
    planned: Vec<Option<Completion>>,
    run: Run,
}

impl<'c> Clairvoyant<'c> {
    fn new(case: &'c Case, prices: Vec<f64>) -> Self {
        Self {
            case,
            prices,
            uplinks: Uplinks::new(case),
            cores: case.nodes.iter().map(|node| vec![Earliest(0.0); usize::from(node.cores)].into()).collect(),
            next_free_ms: vec![0.0; case.nodes.len()],
            is_up: vec![true; case.nodes.len()],
            planned: vec![None; case.tasks.len()],
            run: Run::default(),
        }
    }

    fn place(&mut self, now_ms: f64, task: usize) {
        let started = Instant::now();
        let plan = self.best(now_ms, task);
        let took_ns = started.elapsed().as_nanos();
        self.run.control.decisions_ns.push(u32::try_from(took_ns).unwrap_or(u32::MAX));
        // The origin is up, or it would not place anything.
        let Some(plan) = plan else { return };
        self.uplinks.send(self.case, now_ms, &self.case.tasks[task], plan.executor);
        let cores = &mut self.cores[plan.executor];
        if let Some(mut core) = cores.peek_mut() {
            core.0 = plan.end_ms;
        }
        self.next_free_ms[plan.executor] = cores.peek().map_or(f64::INFINITY, |core| core.0);
        self.planned[task] = Some(plan);
    }

    fn best(&self, now_ms: f64, task: usize) -> Option<Completion> {
        let line = &self.case.tasks[task];
        let mut best: Option<Completion> = None;
        let mut least_cost_ms = f64::INFINITY;
        for (executor, (node, free_ms)) in self.case.nodes.iter().zip(&self.next_free_ms).enumerate() {
            // Most nodes cannot win however near they are; that is seen without their way.
            let end_ms_min = free_ms.max(now_ms) + run_ms(node, line);
            if least_cost_ms <= end_ms_min || *free_ms == f64::INFINITY {
                continue;
            }
            let Some(input_ms) = self.uplinks.arrival_ms(self.case, now_ms, line, executor) else { continue };
            let Some(output_ms) = output_ms(self.case, line, executor) else { continue };
            let start_ms = input_ms.max(*free_ms);
            let end_ms = start_ms + run_ms(node, line);
            let completed_ms = end_ms + output_ms;
            let cost_ms = completed_ms + self.prices[executor] * run_ms(node, line);
            if cost_ms < least_cost_ms {
                least_cost_ms = cost_ms;
                best = Some(Completion { task, executor, start_ms, end_ms, completed_ms });
            }
        }
        best
    }

    fn change(&mut self, at_ms: f64, node: usize, change: Change) {
        self.is_up[node] = change == Change::Up;
        self.uplinks.reset(node);
        let free_ms = if change == Change::Up { at_ms } else { f64::INFINITY };
        self.cores[node] = vec![Earliest(free_ms); usize::from(self.case.nodes[node].cores)].into();
        self.next_free_ms[node] = free_ms;
        if change == Change::Up {
            return;
        }
        for task in self.undone_by(at_ms, node) {
            // A run elsewhere whose home is gone goes on to its end: nobody is told.
            if let Some(plan) = self.planned[task].take() {
                let Completion { executor, start_ms, .. } = plan;
                let end_ms = if executor == node { plan.end_ms.min(at_ms) } else { plan.end_ms };
                if start_ms < end_ms {
                    self.run.other_runs.push(Execution { task, executor, start_ms, end_ms });
                }
            }
            if self.case.tasks[task].origin == node {
                self.run.lost_with_home.push(task);
            } else {
                self.place(at_ms, task);
            }
        }
    }

    /// The tasks whose results do not reach their homes because this node goes down now.
    fn undone_by(&self, at_ms: f64, node: usize) -> Vec<usize> {
        let is_undone = |plan: &&Completion| {
            let line = &self.case.tasks[plan.task];
            let left_ms = if line.origin == node {
                plan.completed_ms
            } else {
                plan.end_ms + transfer_ms(&self.case.nodes[node], line.output_bytes)
            };
            (line.origin == node || plan.executor == node) && left_ms > at_ms
        };
        self.planned.iter().flatten().filter(is_undone).map(|plan| plan.task).collect()
    }
}
