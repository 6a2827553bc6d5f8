//! Which engine to service when: the one that may fail first comes first (earliest due date, which keeps the largest
//! lateness smallest: Jackson, "Scheduling a production line to minimize maximum tardiness", 1955).

use crate::text;

/// Cycles that one service takes; the workshop holds one engine.
const SERVICE_CYCLES: f64 = 5.0;
/// Engines that surely run this long are left out of the plan.
const HORIZON_CYCLES: f64 = 60.0;

/// An engine and the cycles within which it must be serviced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    pub engine: u32,
    pub within: f64,
}

/// A line an engine to service, in order, and a summary. The workshop works without a pause, so a service that would
/// begin after an engine is due is told as late: a second workshop is needed, or the engine stops until then.
pub fn report(mut due: Vec<Due>) -> String {
    let all = due.len();
    due.retain(|due| due.within < HORIZON_CYCLES);
    // Equal ones stay in the order of the input.
    due.sort_by(|one, other| one.within.total_cmp(&other.within));
    let mut output = String::new();
    let (mut late, mut begins) = (0, 0.0);
    for (place, due) in due.iter().enumerate() {
        let is_late = begins > due.within;
        late += usize::from(is_late);
        output.push_str(&format!(
            "# service={} engine={} begins_in={} due_in={}{}\n",
            place + 1,
            due.engine,
            text::fixed(begins, 0),
            text::fixed(due.within, 0),
            if is_late { " late" } else { "" },
        ));
        begins += SERVICE_CYCLES;
    }
    output.push_str(&format!("# engines={all} to_service={} late={late}\n", due.len()));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_fail_is_serviced_first_and_the_healthy_not_at_all() {
        let due = |engine, within| Due { engine, within };

        let plan = report(vec![due(1, 100.0), due(2, 30.0), due(3, 3.0), due(4, 4.0)]);

        let expected = "# service=1 engine=3 begins_in=0 due_in=3\n# service=2 engine=4 begins_in=5 due_in=4 late\n\
                        # service=3 engine=2 begins_in=10 due_in=30\n# engines=4 to_service=3 late=1\n";
        assert_eq!(plan, expected);
    }
}
