//! The best plan there is: every choice of peers is tried, but for those that cannot become better than one that is known.

use shoal_protocol::pipeline::plan::{Model, Schedule};

/// The plan of the least objective among all in which tasks are placed in this order; `known` is one of them.
pub(super) fn optimum<'a>(model: &'a Model, order: &[u32], known: Schedule<'a>) -> Option<Schedule<'a>> {
    let mut best = known;
    descend(model, order, Schedule::new(model), &mut best)?;
    Some(best)
}

fn descend<'a>(model: &'a Model, order: &[u32], so_far: Schedule<'a>, best: &mut Schedule<'a>) -> Option<()> {
    // Placing one more makes nothing cheaper.
    if so_far.cost() >= best.cost() {
        return Some(());
    }
    let Some((id, rest)) = order.split_first() else {
        *best = so_far;
        return Some(());
    };
    for place in 0..model.places.len() {
        if let Some(slot) = so_far.probe(*id, place) {
            let mut next = so_far.clone();
            next.commit(*id, slot);
            descend(model, rest, next, best)?;
        }
    }
    Some(())
}
