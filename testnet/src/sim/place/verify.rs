//! Checks a run against the model; knows nothing of the policy that made it.
//!
//! A task that did not complete is no violation here: it is counted as such in the figures.

use std::collections::BinaryHeap;

use super::case::Case;
use super::faults::Faults;
use super::physics::{output_ms, run_ms, transfer_ms};
use super::references::Earliest;
use super::run::{Completion, Execution, Run};

/// Simulated peers reckon in whole microseconds; a few of them add up on the way of a task.
const TOLERANCE_MS: f64 = 0.01;

/// How a run breaks the model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Violation {
    #[error("there is no task number {task}, or no node number {node}")]
    Unknown { task: usize, node: usize },
    #[error("a time of task {task} is not a number")]
    NotANumber { task: String },
    #[error("task {task} completed twice")]
    Twice { task: String },
    #[error("task {task} ran for {took_ms} ms; it takes {needed_ms} ms")]
    RunTime { task: String, took_ms: f64, needed_ms: f64 },
    #[error("task {task} started at {start_ms} ms; its input could not be there before {earliest_ms} ms")]
    TooEarly { task: String, start_ms: f64, earliest_ms: f64 },
    #[error("task {task} completed at {completed_ms} ms; its result could not be there before {earliest_ms} ms")]
    ResultTooEarly { task: String, completed_ms: f64, earliest_ms: f64 },
    #[error("task {task} ran at node {node}, which its origin cannot reach")]
    OutOfReach { task: String, node: String },
    #[error("node {node} ran {running} tasks at {at_ms} ms; it has fewer cores")]
    Cores { node: String, at_ms: f64, running: usize },
    #[error("the inputs that left node {node} did not fit through its uplink: one is {late_ms} ms late at {at_ms} ms")]
    Uplink { node: String, at_ms: f64, late_ms: f64 },
    #[error("task {task} ran at node {node} while it was down")]
    Down { task: String, node: String },
    #[error("task {task} is said to be lost with its home, which did not crash, or completed")]
    NotLost { task: String },
}

/// Whether everything in the run could have happened.
pub fn verify(case: &Case, faults: &Faults, run: &Run) -> Result<(), Violation> {
    check_each(case, faults, run)?;
    check_cores(case, run)?;
    check_uplinks(case, run)
}

fn check_each(case: &Case, faults: &Faults, run: &Run) -> Result<(), Violation> {
    let mut completed = vec![false; case.tasks.len()];
    for completion in &run.completions {
        let Completion { task: number, executor, start_ms, end_ms, completed_ms } = *completion;
        let (Some(line), Some(node)) = (case.tasks.get(number), case.nodes.get(executor)) else {
            return Err(Violation::Unknown { task: number, node: executor });
        };
        let task = line.id.clone();
        if !(start_ms.is_finite() && end_ms.is_finite() && completed_ms.is_finite()) {
            return Err(Violation::NotANumber { task });
        }
        if std::mem::replace(&mut completed[number], true) {
            return Err(Violation::Twice { task });
        }
        let (took_ms, needed_ms) = (end_ms - start_ms, run_ms(node, line));
        if (took_ms - needed_ms).abs() > TOLERANCE_MS {
            return Err(Violation::RunTime { task, took_ms, needed_ms });
        }
        let (Some(input_ms), Some(output_ms)) = (input_ms_min(case, number, executor), output_ms(case, line, executor))
        else {
            return Err(Violation::OutOfReach { task, node: node.id.clone() });
        };
        let earliest_ms = line.arrival_ms + input_ms;
        if start_ms < earliest_ms - TOLERANCE_MS {
            return Err(Violation::TooEarly { task, start_ms, earliest_ms });
        }
        let earliest_ms = end_ms + output_ms;
        if completed_ms < earliest_ms - TOLERANCE_MS {
            return Err(Violation::ResultTooEarly { task, completed_ms, earliest_ms });
        }
        let ran_while_down = faults.is_down_within(executor, start_ms + TOLERANCE_MS, end_ms - TOLERANCE_MS);
        let home_was_down = faults.is_down_within(line.origin, line.arrival_ms, completed_ms - TOLERANCE_MS);
        if ran_while_down || home_was_down {
            let node = if ran_while_down { executor } else { line.origin };
            return Err(Violation::Down { task, node: case.nodes[node].id.clone() });
        }
    }
    for number in &run.lost_with_home {
        let Some(line) = case.tasks.get(*number) else { return Err(Violation::Unknown { task: *number, node: 0 }) };
        if completed[*number] || !faults.is_down_within(line.origin, line.arrival_ms, f64::INFINITY) {
            return Err(Violation::NotLost { task: line.id.clone() });
        }
    }
    Ok(())
}

/// From arrival to the input at the executor if nothing else uses the uplink.
fn input_ms_min(case: &Case, task: usize, executor: usize) -> Option<f64> {
    let line = &case.tasks[task];
    if executor == line.origin {
        return Some(0.0);
    }
    Some(transfer_ms(&case.nodes[line.origin], line.input_bytes) + case.one_way_ms(line.origin, executor)?)
}

/// No node runs more tasks at once than it has cores.
fn check_cores(case: &Case, run: &Run) -> Result<(), Violation> {
    let mut changes: Vec<Vec<(f64, bool)>> = vec![Vec::new(); case.nodes.len()];
    let used = run.completions.iter().map(|completion| {
        let Completion { task, executor, start_ms, end_ms, .. } = *completion;
        Execution { task, executor, start_ms, end_ms }
    });
    for Execution { task, executor, start_ms, end_ms } in used.chain(run.other_runs.iter().copied()) {
        let Some(node) = changes.get_mut(executor) else { return Err(Violation::Unknown { task, node: executor }) };
        // Only what lasts longer than the tolerance can be seen to overlap.
        if end_ms - TOLERANCE_MS > start_ms {
            node.push((start_ms, true));
            node.push((end_ms - TOLERANCE_MS, false));
        }
    }
    for (node, mut changes) in case.nodes.iter().zip(changes) {
        // An end comes before a start of the same moment.
        changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut running = 0;
        for (at_ms, starts) in changes {
            running = if starts { running + 1 } else { running - 1 };
            if running > usize::from(node.cores) {
                return Err(Violation::Cores { node: node.id.clone(), at_ms, running });
            }
        }
    }
    Ok(())
}

/// Every input can have crossed its origin's uplink between arrival and start.
///
/// When it was sent is not in the run; but if no order at all gets every input through in time, this one was cheated. The
/// order that loses least is by deadline, interrupting the later ones.
fn check_uplinks(case: &Case, run: &Run) -> Result<(), Violation> {
    struct Input {
        from_ms: f64,
        takes_ms: f64,
        until_ms: f64,
    }
    let mut inputs: Vec<Vec<Input>> = case.nodes.iter().map(|_| Vec::new()).collect();
    for completion in &run.completions {
        let line = &case.tasks[completion.task];
        if completion.executor != line.origin
            && let Some(one_way_ms) = case.one_way_ms(line.origin, completion.executor)
        {
            let takes_ms = transfer_ms(&case.nodes[line.origin], line.input_bytes);
            let until_ms = completion.start_ms - one_way_ms;
            inputs[line.origin].push(Input { from_ms: line.arrival_ms, takes_ms, until_ms });
        }
    }
    for (node, mut inputs) in case.nodes.iter().zip(inputs) {
        inputs.sort_by(|a, b| a.from_ms.total_cmp(&b.from_ms));
        // Each input may be as much too early as a time may be rounded.
        let tolerance_ms = TOLERANCE_MS + 0.001 * inputs.len() as f64;
        let mut left_ms: Vec<f64> = inputs.iter().map(|input| input.takes_ms).collect();
        let mut waiting: BinaryHeap<(Earliest, usize)> = BinaryHeap::new();
        let (mut now_ms, mut next) = (0.0_f64, 0);
        loop {
            if waiting.is_empty() {
                let Some(input) = inputs.get(next) else { break };
                now_ms = now_ms.max(input.from_ms);
            }
            while let Some(input) = inputs.get(next).filter(|input| input.from_ms <= now_ms) {
                waiting.push((Earliest(input.until_ms), next));
                next += 1;
            }
            let Some((Earliest(until_ms), number)) = waiting.peek().copied() else { continue };
            let next_ms = inputs.get(next).map_or(f64::INFINITY, |input| input.from_ms);
            let spent_ms = left_ms[number].min(next_ms - now_ms);
            left_ms[number] -= spent_ms;
            now_ms += spent_ms;
            if left_ms[number] <= 0.0 {
                waiting.pop();
                if now_ms > until_ms + tolerance_ms {
                    let late_ms = now_ms - until_ms;
                    return Err(Violation::Uplink { node: node.id.clone(), at_ms: now_ms, late_ms });
                }
            } else {
                // Rounding must not keep the clock from reaching the next arrival.
                now_ms = next_ms;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case_of, task};
    use super::*;

    /// Two edge nodes of one core 20 ms apart, and two tasks of 100 ms that arise at the first.
    fn case() -> Case {
        case_of(&[(1, 1.0, 8.0), (1, 0.5, 8.0)], 20.0, vec![task(0.0, 0, 100.0), task(0.0, 0, 100.0)])
    }

    /// 20,000 bytes at 8 Mbit/s take 20 ms, 2,000 take 2.
    fn honest() -> Run {
        let here = Completion { task: 0, executor: 0, start_ms: 0.0, end_ms: 100.0, completed_ms: 100.0 };
        let there = Completion { task: 1, executor: 1, start_ms: 30.0, end_ms: 230.0, completed_ms: 242.0 };
        Run { completions: vec![here, there], ..Run::default() }
    }

    #[track_caller]
    fn check_caught(cheat: impl FnOnce(&mut Run), why: &str) {
        let mut run = honest();
        cheat(&mut run);
        assert_eq!(verify(&case(), &Faults::none(), &run).unwrap_err().to_string(), why);
    }

    #[test]
    fn what_could_have_happened_passes() {
        assert_eq!(verify(&case(), &Faults::none(), &honest()), Ok(()));
        assert_eq!(verify(&case(), &Faults::none(), &Run::default()), Ok(()));
    }

    #[test]
    fn every_kind_of_cheat_is_caught() {
        check_caught(|run| run.completions[0].task = 9, "there is no task number 9, or no node number 0");
        check_caught(|run| run.completions[0].end_ms = f64::NAN, "a time of task 0 is not a number");
        check_caught(|run| run.completions.push(run.completions[0]), "task 0 completed twice");
        check_caught(|run| run.completions[1].end_ms -= 100.0, "task 1 ran for 100 ms; it takes 200 ms");
        check_caught(
            |run| {
                run.completions[1].start_ms -= 1.0;
                run.completions[1].end_ms -= 1.0;
            },
            "task 1 started at 29 ms; its input could not be there before 30 ms",
        );
        check_caught(
            |run| run.completions[1].completed_ms = 241.0,
            "task 1 completed at 241 ms; its result could not be there before 242 ms",
        );
        check_caught(
            |run| run.completions[1] = Completion { task: 1, ..run.completions[0] },
            "node 0 ran 2 tasks at 0 ms; it has fewer cores",
        );
        let other = Execution { task: 1, executor: 0, start_ms: 50.0, end_ms: 60.0 };
        check_caught(|run| run.other_runs.push(other), "node 0 ran 2 tasks at 50 ms; it has fewer cores");
        check_caught(
            |run| run.lost_with_home.push(1),
            "task 1 is said to be lost with its home, which did not crash, or completed",
        );
    }

    #[test]
    fn two_inputs_cannot_cross_one_uplink_at_once() {
        let case = case_of(&[(1, 1.0, 8.0), (2, 0.5, 8.0)], 20.0, vec![task(0.0, 0, 100.0), task(0.0, 0, 100.0)]);
        let there = |task, start_ms: f64| {
            let end_ms = start_ms + 200.0;
            Completion { task, executor: 1, start_ms, end_ms, completed_ms: end_ms + 12.0 }
        };
        let both = |start_ms| Run { completions: vec![there(0, 30.0), there(1, start_ms)], ..Run::default() };

        assert_eq!(verify(&case, &Faults::none(), &both(50.0)), Ok(()));
        let caught = verify(&case, &Faults::none(), &both(40.0)).unwrap_err();
        assert_eq!(caught, Violation::Uplink { node: "0".into(), at_ms: 40.0, late_ms: 10.0 });
    }

    #[test]
    fn nothing_runs_out_of_reach() {
        let mut case = case();
        case.rtt = crate::sim::matrix::Matrix::from_fn(2, |from, _| (from == 0).then_some(20.0));

        let caught = verify(&case, &Faults::none(), &honest()).unwrap_err();

        assert_eq!(caught, Violation::OutOfReach { task: "1".into(), node: "1".into() });
    }

    #[test]
    fn nothing_runs_while_a_node_is_down() {
        let down = |node, from_ms| Faults::down_for_good(node, from_ms);

        assert_eq!(verify(&case(), &down(1, 230.0), &honest()), Ok(()));
        let executor = verify(&case(), &down(1, 229.0), &honest()).unwrap_err();
        let home = verify(&case(), &down(0, 241.0), &honest()).unwrap_err();

        assert_eq!(executor, Violation::Down { task: "1".into(), node: "1".into() });
        assert_eq!(home, Violation::Down { task: "1".into(), node: "0".into() });
    }
}
