//! List scheduling: the task with the longest way to the end first, each where that is best with what lies ahead.
//!
//! The order is HEFT's (Topcuoglu, Hariri and Wu, *Performance-Effective and Low-Complexity Task Scheduling for Heterogeneous
//! Computing*, 2002); the choice of a place adds PEFT's look ahead.

use std::collections::BTreeSet;

use super::ahead::CostToGo;
use super::{Model, Schedule};

/// Tasks, each after those it waits for, the longest way to the end first.
pub fn order(model: &Model) -> Vec<u32> {
    let ranks = ranks(model);
    // Positive times are ordered as their bits are; the most urgent first.
    let urgency = |id: u32| u64::MAX - ranks.get(id as usize).copied().unwrap_or_default().to_bits();
    let mut waiting: Vec<usize> = model.tasks.iter().map(|task| task.after.len()).collect();
    let mut followers = vec![Vec::new(); model.tasks.len()];
    for (id, task) in (0u32..).zip(&model.tasks) {
        for earlier in &task.after {
            if let Some(list) = followers.get_mut(*earlier as usize) {
                list.push(id);
            }
        }
    }
    let free = (0u32..).zip(&waiting).filter(|(_, count)| **count == 0).map(|(id, _)| (urgency(id), id));
    let mut free: BTreeSet<(u64, u32)> = free.collect();
    let mut order = Vec::with_capacity(model.tasks.len());
    while let Some((_, id)) = free.pop_first() {
        order.push(id);
        for follower in followers.get(id as usize).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*follower as usize) {
                *count -= 1;
                if *count == 0 {
                    free.insert((urgency(*follower), *follower));
                }
            }
        }
    }
    order
}

/// HEFT's upward rank: the mean time from the begin of a task to the end of the graph, in milliseconds.
fn ranks(model: &Model) -> Vec<f64> {
    let places = model.places.len().max(1) as f64;
    let mean_run = |id: usize| {
        let task = model.tasks.get(id);
        task.map_or(0.0, |task| (0..model.places.len()).map(|place| model.run_ms(task, place)).sum::<f64>() / places)
    };
    let readers = model.readers();
    let mut ranks = vec![0.0f64; model.tasks.len()];
    for id in (0..model.tasks.len()).rev() {
        let bytes = model.tasks.get(id).map_or(0, |task| task.output_bytes);
        let mean_way = (0..model.places.len()).map(|place| model.sending_ms(place, bytes)).sum::<f64>() / places;
        let after = readers.get(id).into_iter().flatten();
        let longest = after
            .filter_map(|next| ranks.get(*next as usize))
            .copied()
            .fold(None, |most: Option<f64>, rank| Some(most.map_or(rank, |most| most.max(rank))));
        let rank = mean_run(id) + longest.map_or(0.0, |longest| longest + mean_way);
        if let Some(cell) = ranks.get_mut(id) {
            *cell = rank;
        }
    }
    ranks
}

/// The plan that comes of placing one task after the other; nothing where one may run nowhere.
pub fn schedule<'a>(model: &'a Model, order: &[u32], ahead: &CostToGo) -> Option<Schedule<'a>> {
    let mut schedule = Schedule::new(model);
    for id in order {
        let task = model.tasks.get(*id as usize)?;
        let bound = schedule.bound_to(task).or(task.ended_at);
        let places = (0..model.places.len()).filter(|place| bound.is_none_or(|bound| bound == *place));
        let probed = places.filter_map(|place| {
            let slot = schedule.probe(*id, place)?;
            let total = model.lambda * (slot.known_ms + ahead.at(*id, place)) + slot.cost;
            Some((total, slot))
        });
        let (_, best) = probed.min_by(|a, b| a.0.total_cmp(&b.0))?;
        schedule.commit(*id, best);
    }
    Some(schedule)
}
