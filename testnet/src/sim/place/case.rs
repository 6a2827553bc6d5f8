//! A case: who there is, how far apart, and what arises where.
//!
//! Nodes and tasks are known by their index; the ids of the files come back when results are written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use super::super::input::{InputError, Lines, open};
use super::super::matrix::Matrix;

/// The share of the tasks that warm up, one in so many.
const WARM_UP_ONE_IN: usize = 5;
/// Eleven days; a larger time is in another unit.
const TIME_MS_MAX: f64 = 1e9;
const SPEED_MIN: f64 = 1e-3;
const SPEED_MAX: f64 = 1e3;
const UPLINK_MBPS_MIN: f64 = 1e-3;
const UPLINK_MBPS_MAX: f64 = 1e6;
const CORES_MAX: f64 = 4_096.0;
const BYTES_MAX: f64 = 1e12;

/// What a node is in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Edge,
    Cloud,
}

/// One machine.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSpec {
    pub id: String,
    pub tier: Tier,
    pub cores: u16,
    /// Against a reference core.
    pub speed: f64,
    pub uplink_mbps: f64,
}

/// One task of the case.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskLine {
    pub id: String,
    pub arrival_ms: f64,
    /// Index of the node where it arises.
    pub origin: usize,
    /// How long it runs on a reference core; nobody but a clairvoyant knows it before.
    pub work_ms: f64,
    /// What is believed of `work_ms` before.
    pub estimate_ms: f64,
    pub input_bytes: f64,
    pub output_bytes: f64,
}

/// A whole case; tasks in order of arrival.
#[derive(Debug, Clone)]
pub struct Case {
    pub nodes: Vec<NodeSpec>,
    pub rtt: Matrix,
    pub tasks: Vec<TaskLine>,
}

impl Case {
    /// Reads the three files.
    pub fn load(nodes: &Path, rtt: &Path, tasks: &Path) -> Result<Self, InputError> {
        let specs = read_nodes(open(nodes)?, nodes)?;
        let matrix = Matrix::load(rtt)?;
        if matrix.len() != specs.len() {
            return Err(InputError::NodeCount {
                rtt_file: rtt.to_owned(),
                rtt: matrix.len(),
                nodes_file: nodes.to_owned(),
                nodes: specs.len(),
            });
        }
        let tasks = read_tasks(open(tasks)?, tasks, &specs)?;
        Ok(Self { nodes: specs, rtt: matrix, tasks })
    }

    /// The way from one node to another, if they can reach each other.
    pub fn one_way_ms(&self, from: usize, to: usize) -> Option<f64> {
        let there = self.rtt.rtt_ms(from, to)?;
        self.rtt.rtt_ms(to, from)?;
        Some(there / 2.0)
    }

    /// Σ cores · speed: milliseconds of reference work done in a millisecond.
    pub fn capacity(&self) -> f64 {
        self.nodes.iter().map(|node| f64::from(node.cores) * node.speed).sum()
    }

    /// Offered work over capacity, from the first arrival to the last; 0 where they are one.
    pub fn offered_load(&self) -> f64 {
        let span_ms = self.last_arrival_ms() - self.tasks.first().map_or(0.0, |task| task.arrival_ms);
        let work_ms: f64 = self.tasks.iter().map(|task| task.work_ms).sum();
        if span_ms > 0.0 { work_ms / span_ms / self.capacity() } else { 0.0 }
    }

    /// Index of the first task that is counted.
    pub fn first_counted(&self) -> usize {
        self.tasks.len() / WARM_UP_ONE_IN
    }

    /// When the first counted task arrives; control messages are counted from here on.
    pub fn counted_from_ms(&self) -> f64 {
        self.tasks.get(self.first_counted()).map_or(0.0, |task| task.arrival_ms)
    }

    /// When the last task arrives; control bytes are counted until here.
    pub fn last_arrival_ms(&self) -> f64 {
        self.tasks.last().map_or(0.0, |task| task.arrival_ms)
    }

    /// Indices of the cloud nodes.
    pub fn clouds(&self) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().enumerate().filter(|(_, node)| node.tier == Tier::Cloud).map(|(index, _)| index)
    }

    /// The table of nodes, as [`Case::load`] reads it.
    pub fn nodes_csv(&self) -> String {
        let mut text = format!("{}\n", NODE_COLUMNS.join(","));
        for node in &self.nodes {
            let tier = match node.tier {
                Tier::Edge => "edge",
                Tier::Cloud => "cloud",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{},{tier},{},{},{}", quoted(&node.id), node.cores, node.speed, node.uplink_mbps);
        }
        text
    }

    /// The table of tasks, as [`Case::load`] reads it.
    pub fn tasks_csv(&self) -> String {
        let mut text = format!("{}\n", TASK_COLUMNS.join(","));
        for task in &self.tasks {
            let origin = self.nodes.get(task.origin).map_or_else(String::new, |node| quoted(&node.id));
            let TaskLine { id, arrival_ms, work_ms, estimate_ms, input_bytes, output_bytes, .. } = task;
            let id = quoted(id);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{id},{arrival_ms},{origin},{work_ms},{estimate_ms},{input_bytes},{output_bytes}");
        }
        text
    }
}

/// A field of a table, in quotes where it has to be.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

const NODE_COLUMNS: [&str; 5] = ["id", "tier", "cores", "speed", "uplink_mbps"];

fn read_nodes(text: impl Read, name: &Path) -> Result<Vec<NodeSpec>, InputError> {
    let mut lines = Lines::with_columns(text, name, &NODE_COLUMNS)?;
    let mut nodes: Vec<NodeSpec> = Vec::new();
    let mut seen = BTreeMap::new();
    while let Some(line) = lines.next_line()? {
        let id = line.text(0)?.to_owned();
        if let Some(before) = seen.insert(id.clone(), line.number) {
            return Err(line.wrong(0, format!("`{id}` is the node of line {before} already")));
        }
        let tier = match line.text(1)? {
            "edge" => Tier::Edge,
            "cloud" => Tier::Cloud,
            other => return Err(line.wrong(1, format!("`{other}` is not a tier; edge and cloud are"))),
        };
        let cores = line.number(2, 1.0, CORES_MAX)?;
        if cores.fract() != 0.0 {
            return Err(line.wrong(2, format!("{cores} is not a whole number")));
        }
        let speed = line.number(3, SPEED_MIN, SPEED_MAX)?;
        let uplink_mbps = line.number(4, UPLINK_MBPS_MIN, UPLINK_MBPS_MAX)?;
        nodes.push(NodeSpec { id, tier, cores: cores as u16, speed, uplink_mbps });
    }
    if nodes.is_empty() {
        return Err(InputError::Empty { file: name.to_owned() });
    }
    Ok(nodes)
}

const TASK_COLUMNS: [&str; 7] = ["id", "arrival_ms", "origin", "work_ms", "estimate_ms", "input_bytes", "output_bytes"];

fn read_tasks(text: impl Read, name: &Path, nodes: &[NodeSpec]) -> Result<Vec<TaskLine>, InputError> {
    let mut lines = Lines::with_columns(text, name, &TASK_COLUMNS)?;
    let origins: BTreeMap<&str, usize> =
        nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
    let mut tasks: Vec<TaskLine> = Vec::new();
    let mut seen = BTreeMap::new();
    while let Some(line) = lines.next_line()? {
        let id = line.text(0)?.to_owned();
        if let Some(before) = seen.insert(id.clone(), line.number) {
            return Err(line.wrong(0, format!("`{id}` is the task of line {before} already")));
        }
        let arrival_ms = line.number(1, 0.0, TIME_MS_MAX)?;
        let Some(origin) = origins.get(line.text(2)?).copied() else {
            return Err(line.wrong(2, format!("`{}` is not the id of a node", line.text(2)?)));
        };
        tasks.push(TaskLine {
            id,
            arrival_ms,
            origin,
            work_ms: line.number(3, 0.0, TIME_MS_MAX)?,
            estimate_ms: line.number(4, 0.0, TIME_MS_MAX)?,
            input_bytes: line.number(5, 0.0, BYTES_MAX)?,
            output_bytes: line.number(6, 0.0, BYTES_MAX)?,
        });
    }
    if tasks.is_empty() {
        return Err(InputError::Empty { file: name.to_owned() });
    }
    tasks.sort_by(|a, b| a.arrival_ms.total_cmp(&b.arrival_ms));
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "id,tier,cores,speed,uplink_mbps\na,edge,1,0.5,20\n7,cloud,64,2,1000\n";
    const TASKS: &str = "id,arrival_ms,origin,work_ms,estimate_ms,input_bytes,output_bytes\n\
                         1,20,a,100,90,2e4,2000\n0,10,7,50,60,0,0\n";

    fn nodes(text: &str) -> Result<Vec<NodeSpec>, InputError> {
        read_nodes(text.as_bytes(), Path::new("nodes.csv"))
    }

    fn tasks(text: &str) -> Result<Vec<TaskLine>, InputError> {
        read_tasks(text.as_bytes(), Path::new("tasks.csv"), &nodes(NODES).unwrap())
    }

    #[track_caller]
    fn check_refused<T: std::fmt::Debug>(result: Result<T, InputError>, why: &str) {
        assert_eq!(result.unwrap_err().to_string(), why);
    }

    #[test]
    fn tables_are_read_in_order_of_arrival_and_written_back() {
        let case = Case {
            nodes: nodes(NODES).unwrap(),
            rtt: Matrix::from_fn(2, |_, _| Some(9.0)),
            tasks: tasks(TASKS).unwrap(),
        };

        assert_eq!(case.nodes[1].tier, Tier::Cloud);
        assert_eq!(case.capacity(), 128.5);
        let ids: Vec<_> = case.tasks.iter().map(|task| (task.id.as_str(), task.origin)).collect();
        assert_eq!(ids, [("0", 1), ("1", 0)]);
        assert_eq!(nodes(&case.nodes_csv()).unwrap(), case.nodes);
        assert_eq!(tasks(&case.tasks_csv()).unwrap(), case.tasks);
    }

    #[test]
    fn columns_may_stand_in_any_order_among_others() {
        let text = "note,uplink_mbps,speed,cores,tier,id\nx,20,0.5,1,edge,a\n";

        assert_eq!(nodes(text).unwrap(), nodes(NODES).unwrap()[..1]);
    }

    #[test]
    fn nodes_that_cannot_be_are_named_with_their_place() {
        let with = |line: &str| nodes(&format!("{NODES}{line}\n"));

        check_refused(nodes(""), "nodes.csv is empty");
        check_refused(nodes("id,tier,cores,speed,uplink_mbps\n"), "nodes.csv is empty");
        check_refused(
            nodes("id,tier,cores,speed\na,edge,1,1\n"),
            "nodes.csv, line 1: there is no column `uplink_mbps`",
        );
        check_refused(with("b,fog,1,1,20"), "nodes.csv, line 4, field tier: `fog` is not a tier; edge and cloud are");
        check_refused(with("b,edge,0,1,20"), "nodes.csv, line 4, field cores: 0 is less than 1");
        check_refused(with("b,edge,1.5,1,20"), "nodes.csv, line 4, field cores: 1.5 is not a whole number");
        check_refused(with("b,edge,1,-1,20"), "nodes.csv, line 4, field speed: -1 is less than 0.001");
        check_refused(with("b,edge,1,1,"), "nodes.csv, line 4, field uplink_mbps: is empty");
        check_refused(with("b,edge,1"), "nodes.csv, line 4, field 4: is missing; 4 are needed");
        check_refused(with("a,edge,1,1,20"), "nodes.csv, line 4, field id: `a` is the node of line 2 already");
    }

    #[test]
    fn tasks_that_cannot_be_are_named_with_their_place() {
        let with = |line: &str| tasks(&format!("{TASKS}{line}\n"));

        check_refused(tasks(""), "tasks.csv is empty");
        check_refused(with("2,-1,a,1,1,1,1"), "tasks.csv, line 4, field arrival_ms: -1 is less than 0");
        check_refused(with("2,1,z,1,1,1,1"), "tasks.csv, line 4, field origin: `z` is not the id of a node");
        check_refused(with("2,1,a,nan,1,1,1"), "tasks.csv, line 4, field work_ms: `nan` is not a number");
        check_refused(with("2,1,a,1,1,one,1"), "tasks.csv, line 4, field input_bytes: `one` is not a number");
        check_refused(with("0,1,a,1,1,1,1"), "tasks.csv, line 4, field id: `0` is the task of line 3 already");
    }

    #[test]
    fn a_pair_known_in_one_direction_only_cannot_reach_each_other() {
        let rtt = Matrix::from_fn(3, |from, to| (from < to || to == 0 && from == 1).then_some(10.0 + from as f64));
        let case = Case { nodes: Vec::new(), rtt, tasks: Vec::new() };

        assert_eq!(case.one_way_ms(0, 1), Some(5.0));
        assert_eq!(case.one_way_ms(1, 0), Some(5.5));
        assert_eq!(case.one_way_ms(0, 2), None);
        assert_eq!(case.one_way_ms(2, 0), None);
        assert_eq!(case.one_way_ms(2, 2), Some(0.0));
    }
}
