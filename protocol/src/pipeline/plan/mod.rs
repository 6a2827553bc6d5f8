//! Looking ahead: where the tasks of a graph had best run, given that what one writes another reads.
//!
//! ```text
//! what is known of peers ─ survey.rs ─► Model ─┬─ ahead.rs: cost-to-go by peer ─► the requester's ranking, task by task
//!                                              └─ list.rs ─► search.rs (small graphs) ─► the plan that a person is shown
//! ```
//!
//! A plan is a forecast. What runs where is decided when a task is ready, by the requester, with the cost-to-go beside all
//! else it knows then.
//!
//! The objective: λ · completion of the whole + Σ over tasks of f and of λ · β · moving what each reads. What waits or computes
//! beside the longest way costs nobody time, so it counts through completion only.
//!
//! **Invariant:** times are those of `placement/cost.rs`; the same model and the same choice give the same figures.

pub mod ahead;
pub mod list;
pub mod search;
pub mod survey;

use core::time::Duration;

use crate::config::Weights;
use crate::placement::cost::{self, Job, Terms};
use crate::time::millis;

/// A peer, as far as plans are concerned. The first one is home.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Tasks that run at once.
    pub cores: u16,
    /// Speed of a core relative to the reference core.
    pub speed: f64,
    /// A core is free after so many milliseconds.
    pub start_in_ms: f64,
    /// Uplink in bits a second.
    pub uplink_bits_per_s: u64,
    /// Its α, β, δ.
    pub weights: Weights,
    /// Price of a second of one core.
    pub price: f64,
    /// Whether it is a cloud peer.
    pub is_cloud: bool,
}

/// That a task may run somewhere, and what it takes there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Milliseconds until the module is there and compiled.
    pub prepare_ms: f64,
    /// Declared loss of the build that would be run.
    pub loss: f64,
}

/// Something a task reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// An input of the pipeline.
    Held {
        /// Tells inputs apart: one that was brought to a place is there for the next.
        source: u32,
        /// Who has it.
        at: usize,
        /// Its size.
        bytes: u64,
    },
    /// What an earlier task writes.
    Output(u32),
}

/// A task of the graph; its number is its place in [`Model::tasks`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Task {
    /// Work on a reference core.
    pub work: Duration,
    /// What it writes.
    pub output_bytes: u64,
    /// Its output stays where it was made; otherwise it comes home.
    pub stays: bool,
    /// What it reads.
    pub reads: Vec<Read>,
    /// Tasks that must have ended, those it reads from among them.
    pub after: Vec<u32>,
    /// Its output is a result: it comes home at last.
    pub is_result: bool,
    /// Its [`Model::fits`].
    pub fits: usize,
    /// It runs where this one runs, if it may.
    pub near: Option<u32>,
    /// It has ended, and its output is there.
    pub ended_at: Option<usize>,
}

/// Peers and tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// The peers, home first.
    pub places: Vec<Place>,
    /// Round trips between them in milliseconds, a row each.
    pub rtt_ms: Vec<Vec<f64>>,
    /// The tasks, each after those it waits for.
    pub tasks: Vec<Task>,
    /// By place, where tasks may run; shared by the tasks of a stage.
    pub fits: Vec<Vec<Option<Fit>>>,
    /// Inputs of the pipeline.
    pub sources: u32,
    /// λ.
    pub lambda: f64,
}

/// Where home is among the places.
pub const HOME: usize = 0;

impl Model {
    /// What a task takes at a place, if it may run there.
    pub fn fit(&self, task: &Task, place: usize) -> Option<Fit> {
        *self.fits.get(task.fits)?.get(place)?
    }

    fn place(&self, place: usize) -> Place {
        // Every place of a plan is one of the model.
        self.places.get(place).copied().unwrap_or(NOWHERE)
    }

    /// Round trip between two places, in milliseconds.
    pub fn rtt_ms(&self, a: usize, b: usize) -> f64 {
        if a == b { 0.0 } else { self.rtt_ms.get(a).and_then(|row| row.get(b)).copied().unwrap_or_default() }
    }

    /// Time that bytes need on the uplink of a place.
    fn sending_ms(&self, from: usize, bytes: u64) -> f64 {
        cost::transmission_ms(bytes, Some(self.place(from).uplink_bits_per_s))
    }

    /// Time that bytes need from one place to another when nothing else is on the way.
    pub fn way_ms(&self, from: usize, to: usize, bytes: u64) -> f64 {
        if from == to { 0.0 } else { self.sending_ms(from, bytes) + self.rtt_ms(from, to) / 2.0 }
    }

    /// Time a task runs at a place.
    pub fn run_ms(&self, task: &Task, place: usize) -> f64 {
        millis(cost::run_time(task.work, self.place(place).speed))
    }

    /// f of a task at a place: what its build loses, and its price.
    fn loss(&self, task: &Task, place: usize, fit: Fit) -> f64 {
        let at = self.place(place);
        let job = Job { output_bytes: 0, work: task.work, loss: fit.loss, deadline_in: None, lambda: 1.0 };
        let terms = Terms { speed: at.speed, weights: at.weights, price: at.price, ..Terms::AT_HAND };
        cost::cost(&job, &terms).loss
    }

    /// Where the output of a task is once it has run at a place.
    fn output_at(&self, task: &Task, place: usize) -> usize {
        if task.stays { place } else { HOME }
    }

    /// Those that read the output of each task.
    pub fn readers(&self) -> Vec<Vec<u32>> {
        let mut readers = vec![Vec::new(); self.tasks.len()];
        for (id, task) in (0u32..).zip(&self.tasks) {
            for read in &task.reads {
                if let Read::Output(earlier) = read
                    && let Some(list) = readers.get_mut(*earlier as usize)
                    && list.last() != Some(&id)
                {
                    list.push(id);
                }
            }
        }
        readers
    }
}

const NOWHERE: Place = Place {
    cores: 1,
    speed: 1.0,
    start_in_ms: 0.0,
    uplink_bits_per_s: 1,
    weights: Weights { delay: 1.0, transfer: 1.0, compute: 1.0 },
    price: 0.0,
    is_cloud: false,
};

/// When and where one task runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slot {
    /// Where.
    pub place: usize,
    /// Milliseconds from now.
    pub start_ms: f64,
    /// The same.
    pub end_ms: f64,
    /// What is brought there, and from where.
    pub from: Vec<(usize, u64)>,
    /// Its share of the objective beside completion.
    cost: f64,
    /// When home knows of its end, its result being there.
    known_ms: f64,
    core: usize,
    /// When each uplink it uses is free again.
    uplinks: Vec<(usize, f64)>,
}

/// A plan while it is made, one task after the other.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    model: &'a Model,
    /// The slots of those that are placed.
    pub slots: Vec<Option<Slot>>,
    cores: Vec<Vec<f64>>,
    uplinks: Vec<f64>,
    /// What was brought where: sources first, then outputs, a row each.
    brought: Vec<bool>,
    /// When all of it has ended, in milliseconds from now.
    pub completion_ms: f64,
    /// Bytes from one peer to another.
    pub moved_bytes: u64,
    /// Of these, between edge and cloud.
    pub between_tiers_bytes: u64,
    cost: f64,
}

impl<'a> Schedule<'a> {
    /// Nothing placed yet.
    pub fn new(model: &'a Model) -> Self {
        let cores = |place: &Place| vec![place.start_in_ms; usize::from(place.cores).clamp(1, CORES_MAX)];
        let rows = model.sources as usize + model.tasks.len();
        Self {
            model,
            slots: vec![None; model.tasks.len()],
            cores: model.places.iter().map(cores).collect(),
            uplinks: vec![0.0; model.places.len()],
            brought: vec![false; rows * model.places.len()],
            completion_ms: 0.0,
            moved_bytes: 0,
            between_tiers_bytes: 0,
            cost: 0.0,
        }
    }

    /// The objective.
    pub fn cost(&self) -> f64 {
        self.cost + self.model.lambda * self.completion_ms
    }

    /// Where a task has to run to be near another, if it may.
    pub fn bound_to(&self, task: &Task) -> Option<usize> {
        let near = task.near.and_then(|near| self.slots.get(near as usize)?.as_ref())?.place;
        self.model.fit(task, near).map(|_| near)
    }

    /// What a task at a place would be; nothing where it may not run. Those it waits for are placed.
    pub fn probe(&self, id: u32, place: usize) -> Option<Slot> {
        let model = self.model;
        let task = model.tasks.get(id as usize)?;
        if let Some(at) = task.ended_at {
            return Some(Slot { place: at, ..Slot::default() });
        }
        let fit = model.fit(task, place)?;
        let known =
            |earlier: &u32| self.slots.get(*earlier as usize).and_then(Option::as_ref).map_or(0.0, |it| it.known_ms);
        // Home hands it out when it knows of what came before.
        let ready_ms = task.after.iter().map(known).fold(0.0, f64::max);
        let arrives_ms = ready_ms + model.rtt_ms(HOME, place) / 2.0;
        let mut slot = Slot { place, ..Slot::default() };
        let mut here_ms = arrives_ms + fit.prepare_ms;
        let mut transfer_ms = 0.0;
        for read in &task.reads {
            let Some((row, at, bytes)) = self.whereabouts(*read) else { continue };
            if at == place || self.brought.get(row * model.places.len() + place).is_some_and(|here| *here) {
                continue;
            }
            let free = slot.uplinks.iter().rev().find(|(from, _)| *from == at).map(|(_, free)| *free);
            let free = free.or_else(|| self.uplinks.get(at).copied()).unwrap_or_default();
            // What home has goes along; what others have is asked for.
            let asked_ms = if at == HOME { ready_ms } else { arrives_ms + model.rtt_ms(place, at) / 2.0 };
            let sent_ms = asked_ms.max(free) + model.sending_ms(at, bytes);
            here_ms = here_ms.max(sent_ms + model.rtt_ms(at, place) / 2.0);
            transfer_ms += model.way_ms(at, place, bytes);
            slot.uplinks.push((at, sent_ms));
            slot.from.push((at, bytes));
        }
        let cores = self.cores.get(place)?;
        let (core, free_ms) = cores.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        slot.core = core;
        slot.start_ms = here_ms.max(free_ms);
        slot.end_ms = slot.start_ms + model.run_ms(task, place);
        let comes_home = !task.stays || task.is_result;
        let back_ms =
            if comes_home { model.way_ms(place, HOME, task.output_bytes) } else { model.rtt_ms(place, HOME) / 2.0 };
        slot.known_ms = slot.end_ms + back_ms;
        if comes_home {
            transfer_ms += back_ms;
        }
        slot.cost = model.lambda * model.place(place).weights.transfer * transfer_ms + model.loss(task, place, fit);
        Some(slot)
    }

    /// Row, place and size of something a task reads.
    fn whereabouts(&self, read: Read) -> Option<(usize, usize, u64)> {
        match read {
            Read::Held { source, at, bytes } => Some((source as usize, at, bytes)),
            Read::Output(earlier) => {
                let task = self.model.tasks.get(earlier as usize)?;
                let slot = self.slots.get(earlier as usize)?.as_ref()?;
                let at = task.ended_at.unwrap_or_else(|| self.model.output_at(task, slot.place));
                Some((self.model.sources as usize + earlier as usize, at, task.output_bytes))
            }
        }
    }

    /// Places a task where it was probed.
    pub fn commit(&mut self, id: u32, slot: Slot) {
        let Some(task) = self.model.tasks.get(id as usize) else { return };
        let width = self.model.places.len();
        if task.ended_at.is_none() {
            for read in &task.reads {
                if let Some((row, ..)) = self.whereabouts(*read)
                    && let Some(here) = self.brought.get_mut(row * width + slot.place)
                {
                    *here = true;
                }
            }
            for (from, bytes) in &slot.from {
                self.count(*from, slot.place, *bytes);
            }
            for (at, free) in &slot.uplinks {
                if let Some(uplink) = self.uplinks.get_mut(*at) {
                    *uplink = uplink.max(*free);
                }
            }
            if let Some(core) = self.cores.get_mut(slot.place).and_then(|cores| cores.get_mut(slot.core)) {
                *core = slot.end_ms;
            }
            if !task.stays || task.is_result {
                self.count(slot.place, HOME, task.output_bytes);
            }
        }
        self.cost += slot.cost;
        self.completion_ms = self.completion_ms.max(slot.known_ms);
        if let Some(entry) = self.slots.get_mut(id as usize) {
            *entry = Some(slot);
        }
    }

    fn count(&mut self, from: usize, to: usize, bytes: u64) {
        if from == to {
            return;
        }
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        if self.model.place(from).is_cloud != self.model.place(to).is_cloud {
            self.between_tiers_bytes = self.between_tiers_bytes.saturating_add(bytes);
        }
    }

    /// The places chosen, by task.
    pub fn choice(&self) -> Vec<usize> {
        self.slots.iter().map(|slot| slot.as_ref().map_or(HOME, |slot| slot.place)).collect()
    }
}

/// Cores of one place that a plan reckons with: more than tasks of one pipeline are out at once.
const CORES_MAX: usize = 64;

/// The schedule in which every task runs where it was chosen to; nothing where one may not run there.
pub fn evaluate<'a>(model: &'a Model, order: &[u32], choice: &[usize]) -> Option<Schedule<'a>> {
    let mut schedule = Schedule::new(model);
    for id in order {
        let task = model.tasks.get(*id as usize)?;
        let place = schedule.bound_to(task).or_else(|| choice.get(*id as usize).copied())?;
        let slot = schedule.probe(*id, place)?;
        schedule.commit(*id, slot);
    }
    Some(schedule)
}

#[cfg(test)]
mod tests;
