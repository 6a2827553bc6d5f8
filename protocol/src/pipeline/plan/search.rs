//! A bounded local search from the plan of list scheduling and from the simplest plans there are.
//!
//! Moves: one task elsewhere; a task with all that read from it, or that it reads from; everything that may run at one place
//! there. The first that is better is taken, until none is or the budget is used up.

use super::ahead::CostToGo;
use super::{Model, Read, Schedule, evaluate, list};

/// Larger graphs are left as list scheduling has them: the search looks at every task at every place several times over.
pub const TASKS_MAX: usize = 32;
/// Plans that are looked at: about a hundredth of a second.
pub const BUDGET: usize = 3_000;

/// How a plan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// List scheduling.
    List,
    /// Improved by the search.
    Search,
}

/// The best plan found; nothing where a task may run nowhere.
pub fn plan(model: &Model) -> Option<(Schedule<'_>, Method)> {
    let (order, ahead) = (list::order(model), CostToGo::of(model));
    let listed = list::schedule(model, &order, &ahead)?;
    if model.tasks.len() > TASKS_MAX || model.places.len() < 2 {
        return Some((listed, Method::List));
    }
    let mut search = Search { model, order: &order, left: BUDGET, best: listed };
    let mut starts = vec![search.best.choice()];
    starts.extend((0..model.places.len()).map(|place| search.all_at(place)));
    for start in starts {
        search.climb(start);
    }
    Some((search.best, Method::Search))
}

struct Search<'a, 'b> {
    model: &'a Model,
    order: &'b [u32],
    left: usize,
    best: Schedule<'a>,
}

impl Search<'_, '_> {
    /// Everything that may run at a place is there, the rest as the best plan has it.
    fn all_at(&self, place: usize) -> Vec<usize> {
        let mut choice = self.best.choice();
        for (task, chosen) in self.model.tasks.iter().zip(&mut choice) {
            if self.model.fit(task, place).is_some() {
                *chosen = place;
            }
        }
        choice
    }

    /// Goes on from a plan while a move makes it better.
    fn climb(&mut self, mut choice: Vec<usize>) {
        let Some(mut cost) = self.cost_of(&choice) else { return };
        loop {
            let before = cost;
            for id in 0..self.model.tasks.len() as u32 {
                for group in self.groups(id) {
                    for place in 0..self.model.places.len() {
                        if self.left == 0 {
                            return;
                        }
                        let Some(moved) = self.moved(&choice, &group, place) else { continue };
                        if let Some(with) = self.cost_of(&moved).filter(|with| *with < cost - 1e-9) {
                            (choice, cost) = (moved, with);
                        }
                    }
                }
            }
            if cost >= before {
                return;
            }
        }
    }

    /// A task by itself, with those that read from it, with those it reads from, and with both.
    fn groups(&self, id: u32) -> Vec<Vec<u32>> {
        let reads_from = |task: u32, earlier: u32| {
            let reads = self.model.tasks.get(task as usize).map(|task| task.reads.as_slice()).unwrap_or_default();
            reads.contains(&Read::Output(earlier))
        };
        let all = 0..self.model.tasks.len() as u32;
        let readers: Vec<u32> = all.clone().filter(|task| reads_from(*task, id)).collect();
        let read: Vec<u32> = all.filter(|earlier| reads_from(id, *earlier)).collect();
        let mut groups = vec![vec![id]];
        for others in [&readers, &read] {
            if !others.is_empty() {
                groups.push(others.iter().copied().chain([id]).collect());
            }
        }
        if !readers.is_empty() && !read.is_empty() {
            groups.push(readers.into_iter().chain(read).chain([id]).collect());
        }
        groups
    }

    fn moved(&self, choice: &[usize], group: &[u32], place: usize) -> Option<Vec<usize>> {
        let mut moved = choice.to_vec();
        for id in group {
            let task = self.model.tasks.get(*id as usize)?;
            self.model.fit(task, place)?;
            *moved.get_mut(*id as usize)? = place;
        }
        (moved != choice).then_some(moved)
    }

    fn cost_of(&mut self, choice: &[usize]) -> Option<f64> {
        self.left = self.left.checked_sub(1)?;
        let schedule = evaluate(self.model, self.order, choice)?;
        let cost = schedule.cost();
        if cost < self.best.cost() - 1e-9 {
            self.best = schedule;
        }
        Some(cost)
    }
}
