//! The cost-to-go: what the rest of a graph takes at least if a task runs somewhere.
//!
//! The table is that of PEFT (Arabnejad and Barbosa, *List Scheduling Algorithm for Heterogeneous Systems by an Optimistic Cost
//! Table*, 2014), with the moving of bytes kept beside the time: a task's readers each go where that is best for them, cores
//! being free. What several readers need is moved for each; what a reader reads of several is shared among these.

use super::{HOME, Model};

/// The cost-to-go of every task at every place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CostToGo {
    /// Longest way to the end, in milliseconds, by task and place.
    time_ms: Vec<Vec<f64>>,
    /// Moving bytes, in milliseconds.
    moved_ms: Vec<Vec<f64>>,
}

impl CostToGo {
    /// Of a model whose tasks stand after those they wait for.
    pub fn of(model: &Model) -> Self {
        let places = model.places.len();
        let readers = model.readers();
        let mut table = Self {
            time_ms: vec![vec![0.0; places]; model.tasks.len()],
            moved_ms: vec![vec![0.0; places]; model.tasks.len()],
        };
        for (id, task) in model.tasks.iter().enumerate().rev() {
            let mut from_home = None;
            for place in 0..places {
                let out_at = model.output_at(task, place);
                if let Some((time_ms, moved_ms)) = from_home.filter(|_| !task.stays) {
                    table.set(id, place, time_ms, moved_ms);
                    continue;
                }
                let (mut time_ms, mut moved_ms) = (0.0f64, 0.0);
                for reader in readers.get(id).into_iter().flatten() {
                    let (way, time, moved) = table.best_for(model, *reader, out_at, task.output_bytes);
                    time_ms = time_ms.max(way + time);
                    moved_ms += way + moved;
                }
                table.set(id, place, time_ms, moved_ms);
                from_home = Some((time_ms, moved_ms));
            }
        }
        table
    }

    /// Of a reader at the best place for it: the way there, and time and moving from its begin on.
    fn best_for(&self, model: &Model, reader: u32, from: usize, bytes: u64) -> (f64, f64, f64) {
        let Some(task) = model.tasks.get(reader as usize) else { return (0.0, 0.0, 0.0) };
        let shares = task.reads.len().max(1) as f64;
        let at = |place: usize| {
            model.fit(task, place)?;
            let way = model.way_ms(from, place, bytes);
            let back = if task.is_result { model.way_ms(place, HOME, task.output_bytes) } else { 0.0 };
            let time = model.run_ms(task, place) + back + self.time_ms(reader, place);
            let moved = (back + self.moved_ms(reader, place)) / shares;
            Some((way, time, moved))
        };
        let all = (0..model.places.len()).filter_map(at);
        let total = |it: &(f64, f64, f64)| 2.0 * it.0 + it.1 + it.2;
        all.min_by(|a, b| total(a).total_cmp(&total(b))).unwrap_or_default()
    }

    fn set(&mut self, id: usize, place: usize, time_ms: f64, moved_ms: f64) {
        for (table, value) in [(&mut self.time_ms, time_ms), (&mut self.moved_ms, moved_ms)] {
            if let Some(cell) = table.get_mut(id).and_then(|row| row.get_mut(place)) {
                *cell = value;
            }
        }
    }

    fn time_ms(&self, id: u32, place: usize) -> f64 {
        self.time_ms.get(id as usize).and_then(|row| row.get(place)).copied().unwrap_or_default()
    }

    fn moved_ms(&self, id: u32, place: usize) -> f64 {
        self.moved_ms.get(id as usize).and_then(|row| row.get(place)).copied().unwrap_or_default()
    }

    /// What follows a task that runs at a place, in milliseconds.
    pub fn at(&self, id: u32, place: usize) -> f64 {
        self.time_ms(id, place) + self.moved_ms(id, place)
    }

    /// The same for every place, as what it is more than at the best.
    pub fn over_the_best(&self, id: u32) -> Vec<f64> {
        let all: Vec<f64> =
            (0..self.time_ms.get(id as usize).map_or(0, Vec::len)).map(|place| self.at(id, place)).collect();
        let best = all.iter().copied().fold(f64::INFINITY, f64::min);
        all.into_iter().map(|at| at - best).collect()
    }
}
