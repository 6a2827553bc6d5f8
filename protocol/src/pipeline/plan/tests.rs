use proptest::prelude::*;

use super::ahead::CostToGo;
use super::*;
use crate::pipeline::plan::search::{Method, plan};

fn place(is_cloud: bool, speed: f64) -> Place {
    let weights = Weights { delay: 1.0, transfer: 1.0, compute: 1.0 };
    let uplink_bits_per_s = 80_000_000;
    Place { cores: 1, speed, start_in_ms: 0.0, uplink_bits_per_s, weights, price: 0.0, is_cloud }
}

/// Home, a neighbour 2 ms away and a cloud four times as fast 40 ms away; 10 kB take a millisecond.
fn model(tasks: Vec<Task>) -> Model {
    let fit = Some(Fit { prepare_ms: 0.0, loss: 0.0 });
    Model {
        places: vec![place(false, 1.0), place(false, 1.0), place(true, 4.0)],
        rtt_ms: vec![vec![0.0, 2.0, 40.0], vec![2.0, 0.0, 40.0], vec![40.0, 40.0, 0.0]],
        tasks,
        fits: vec![vec![fit; 3], vec![fit, None, None], vec![None, None, fit]],
        sources: 1,
        lambda: 1.0,
    }
}

fn task(work_ms: u64, output_bytes: u64, reads: Vec<Read>) -> Task {
    let after = reads.iter().filter_map(|read| match read {
        Read::Output(earlier) => Some(*earlier),
        Read::Held { .. } => None,
    });
    Task {
        work: Duration::from_millis(work_ms),
        output_bytes,
        stays: true,
        after: after.collect(),
        reads,
        ..Task::default()
    }
}

#[test]
fn what_is_read_again_is_computed_where_it_was_made() {
    // 10 MB at home, cut to 10 kB by 20 ms of work; then 400 ms of work over these.
    let source = Read::Held { source: 0, at: HOME, bytes: 10_000_000 };
    let cut = task(20, 10_000, vec![source]);
    let think = Task { is_result: true, ..task(400, 100, vec![Read::Output(0)]) };
    let model = model(vec![cut, think]);

    let (plan, method) = plan(&model).expect("a plan");

    assert_eq!((plan.choice(), method), (vec![HOME, 2], Method::Search));
    assert_eq!((plan.moved_bytes, plan.between_tiers_bytes), (10_100, 10_100));
}

#[test]
fn a_stage_whose_output_is_read_in_the_cloud_costs_less_there() {
    // The second may run in the cloud only, and reads 5 MB of the first.
    let first = task(50, 5_000_000, vec![Read::Held { source: 0, at: HOME, bytes: 1_000 }]);
    let second = Task { fits: 2, is_result: true, ..task(50, 10, vec![Read::Output(0)]) };
    let model = model(vec![first, second]);

    let over = CostToGo::of(&model).over_the_best(0);

    assert_eq!(over[2], 0.0);
    // 500 ms of sending and half a round trip, once as time and once as bytes.
    assert_eq!((over[0], over[1]), (1_040.0, 1_040.0));
    assert_eq!(plan(&model).expect("a plan").0.choice(), [2, 2]);
}

#[test]
fn a_task_that_may_run_nowhere_has_no_plan() {
    let mut model = model(vec![task(1, 1, Vec::new())]);
    model.fits[0] = vec![None; 3];

    assert!(plan(&model).is_none());
}

#[test]
fn what_was_brought_once_is_there_for_the_next() {
    let source = Read::Held { source: 0, at: HOME, bytes: 1_000_000 };
    let both = (0..2).map(|_| Task { fits: 2, is_result: true, ..task(10, 0, vec![source]) }).collect();
    let model = model(both);

    assert_eq!(plan(&model).expect("a plan").0.moved_bytes, 1_000_000);
}

/// Tasks that each read from some before them, of any size.
fn graphs() -> impl Strategy<Value = Model> {
    let one = (0..200u64, 0..2_000_000u64, any::<u16>(), 0..3usize, any::<bool>());
    proptest::collection::vec(one, 1..8).prop_map(|tasks| {
        let mut made: Vec<Task> = Vec::new();
        for (n, (work_ms, bytes, mask, fits, stays)) in tasks.into_iter().enumerate() {
            let mut reads: Vec<Read> = (0..n as u32).filter(|m| mask & (1 << m) != 0).map(Read::Output).collect();
            if reads.is_empty() {
                reads.push(Read::Held { source: 0, at: n % 3, bytes });
            }
            made.push(Task { fits, stays, ..task(work_ms, bytes, reads) });
        }
        let mut model = model(made);
        let readers = model.readers();
        for (task, readers) in model.tasks.iter_mut().zip(readers) {
            task.is_result = readers.is_empty();
        }
        model
    })
}

proptest! {
    #[test]
    fn a_plan_is_right_and_never_worse_than_list_scheduling(model in graphs()) {
        let order = list::order(&model);
        let listed = list::schedule(&model, &order, &CostToGo::of(&model)).expect("a plan");
        let (best, _) = plan(&model).expect("a plan");

        prop_assert_eq!(order.len(), model.tasks.len());
        prop_assert!(best.cost() <= listed.cost() + 1e-9);
        let again = evaluate(&model, &order, &best.choice()).expect("it can be made");
        prop_assert_eq!((again.completion_ms, again.moved_bytes), (best.completion_ms, best.moved_bytes));
        for (task, slot) in model.tasks.iter().zip(&best.slots) {
            let slot = slot.as_ref().expect("it is placed");
            prop_assert!(model.fit(task, slot.place).is_some());
            for earlier in &task.after {
                prop_assert!(best.slots[*earlier as usize].as_ref().expect("placed").end_ms <= slot.start_ms);
            }
        }
    }
}
