//! What becomes of a kept task in one particular mishap.

use core::time::Duration;
use std::collections::BTreeMap;

use super::world::*;
use crate::input::Input;
use crate::task::TaskState;
use crate::task::durable::Durability;

/// Five peers that know each other.
fn world(seed: u64) -> World {
    let mut world = World::new(5, seed);
    world.run_for(ms(2_000));
    world
}

#[track_caller]
fn assert_ended_once(world: &World, n: u8) {
    assert_eq!(world.problems, Vec::<String>::new(), "{:#?}", world.log);
    let mut ends = world.ends(task(n));
    assert!(!ends.is_empty(), "nobody knows an end of {n}: {:#?}", world.log);
    ends.dedup();
    assert_eq!(ends.len(), 1, "several ends: {ends:?}");
    let told = world.finished.get(&task(n)).map_or(0, Vec::len);
    assert!(told <= 1, "the user heard {told} times");
}

/// The guardian of the first task has its copy on disk, and its home has not heard of that.
#[track_caller]
fn run_until_copied(world: &mut World, guardian: usize) {
    for _ in 0..200 {
        if !world.holders(b't', task(1)).contains(&guardian) {
            world.run_for(Duration::from_micros(500));
        }
    }
    assert!(world.holders(b't', task(1)).contains(&guardian), "{:#?}", world.log);
}

#[test]
fn a_task_on_disk_is_acknowledged_after_the_write_and_ends_once() {
    let mut world = world(1);

    world.submit(0, task(1), Durability::Disk);
    assert!(world.acknowledged.is_empty());
    world.run_for(ms(2_000));

    assert!(world.acknowledged.contains_key(&task(1)));
    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));
    assert_eq!(world.executions[&task(1)].len(), 1);
    assert_ended_once(&world, 1);
    assert!(!world.has_on_disk(0, b'i', task(1)), "its input is not needed any more");
}

#[test]
fn a_full_disk_refuses_the_task_and_keeps_nothing_of_it() {
    let mut world = world(2);
    world.fill_disk(0, true);

    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(1_000));

    assert!(world.acknowledged.is_empty());
    assert!(world.log.iter().any(|line| line.contains("no space left on device")), "{:#?}", world.log);
    assert_eq!(world.find(0, task(1)), None);

    world.fill_disk(0, false);
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(2_000));
    assert_ended_once(&world, 1);
}

#[test]
fn a_disk_that_fills_while_a_task_runs_delays_its_end_and_loses_nothing() {
    let mut world = world(3);
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(100));
    world.fill_disk(0, true);
    world.run_for(ms(3_000));
    assert_eq!(world.finished.get(&task(1)), None);

    world.fill_disk(0, false);
    world.run_for(ms(6_000));

    assert_eq!(world.executions[&task(1)].len(), 1);
    assert_ended_once(&world, 1);
}

#[test]
fn a_home_that_restarts_adopts_what_still_runs_elsewhere() {
    let mut world = world(4);
    world.run = ms(8_000);
    let others = |spec: &mut crate::task::spec::TaskSpec| spec.policy.peer = Some(crate::id::PeerId([3; 32]));
    world.submit_with(0, task(1), Durability::Disk, others);
    world.run_for(ms(500));

    world.crash(0);
    world.run_for(ms(1_000));
    world.start(0);
    world.run_for(ms(10_000));

    assert_eq!(world.executions[&task(1)].len(), 1, "it is not run again");
    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));
    assert_ended_once(&world, 1);
}

#[test]
fn a_home_that_restarts_runs_what_was_lost_with_it_under_a_greater_epoch() {
    let mut world = world(5);
    world.run = ms(2_000);
    let here = |spec: &mut crate::task::spec::TaskSpec| spec.policy.local_only = true;
    world.submit_with(0, task(1), Durability::Disk, here);
    world.run_for(ms(500));

    world.crash(0);
    world.start(0);
    world.run_for(ms(8_000));

    let epochs: Vec<u64> = world.executions[&task(1)].iter().map(|(_, epoch)| *epoch).collect();
    assert!(epochs.len() == 2 && epochs[0] < epochs[1], "{epochs:?}");
    assert_ended_once(&world, 1);
}

#[test]
fn a_result_outlives_its_home_s_restart() {
    let mut world = world(6);
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(2_000));
    let end = world.end_at(0, task(1));

    world.crash(0);
    world.start(0);
    world.run_for(ms(100));

    assert!(end.is_some());
    assert_eq!(world.end_at(0, task(1)), end);
    world.submit(0, task(1), Durability::Disk);
    assert_eq!(world.finished[&task(1)].last().map(|seen| &seen.result), end.as_ref(), "the same id, the same answer");
    world.run_for(ms(3_000));
    assert_eq!(world.executions[&task(1)].len(), 1);
}

#[test]
fn a_guarded_task_is_on_two_disks_before_it_is_acknowledged_and_its_end_as_well() {
    let mut world = world(7);

    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(2_000));

    assert!(world.acknowledged.contains_key(&task(1)));
    assert_eq!(world.ends(task(1)).len(), 2, "home and guardian know the end");
    assert_ended_once(&world, 1);
}

#[test]
fn without_two_others_a_guarded_task_is_refused() {
    let mut world = World::new(2, 8);
    world.run_for(ms(2_000));

    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(1_000));

    assert!(world.acknowledged.is_empty());
    assert!(world.log.iter().any(|line| line.contains("no other peer keeps a copy")), "{:#?}", world.log);
}

#[test]
fn a_guardian_that_refused_is_asked_again_after_a_while() {
    let mut world = World::new(3, 21);
    world.run_for(ms(2_000));
    world.submit(0, task(1), Durability::Guarded);
    let guardian = world.council(0, task(1))[1];
    world.fill_disk(guardian, true);
    world.run_for(ms(5_000));
    world.fill_disk(guardian, false);
    let is_asked = |world: &mut World, n: u8| {
        world.submit(0, task(n), Durability::Guarded);
        world.council(0, task(n))[1] == guardian
    };

    assert!(!is_asked(&mut world, 2), "it serves as the witness");
    world.run_for(ms(15_000));
    assert!(!is_asked(&mut world, 3), "its reasons may last");
    world.run_for(ms(20_000));
    // The other one has its turn when that refuses.
    let other = 3 - guardian;
    world.fill_disk(other, true);
    world.submit(0, task(4), Durability::Guarded);
    world.run_for(ms(5_000));
    assert!(is_asked(&mut world, 5));
}

#[test]
fn what_is_acknowledged_is_promised_to_whoever_asks() {
    let mut world = world(22);
    world.run = ms(1_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(300));
    let running = world.find(0, task(1)).unwrap();
    world.run_for(ms(3_000));
    let ended = world.find(0, task(1)).unwrap();

    assert!(running.result.is_none() && !running.unpromised && !running.is_hearsay());
    assert!(ended.result.is_some() && !ended.unpromised && !ended.is_damaged());
}

/// The guardian cannot write, so the submission is refused: that is no end, and the user may come again with the same key.
#[test]
fn a_submission_that_was_refused_can_be_made_again_under_the_same_key() {
    for restarts in [false, true] {
        let mut world = world(19);
        world.submit(0, task(1), Durability::Guarded);
        let guardian = world.council(0, task(1))[1];
        world.fill_disk(guardian, true);
        world.run_for(ms(5_000));
        assert!(!world.acknowledged.contains_key(&task(1)));
        assert!(world.log.iter().any(|line| line.contains("no other peer keeps a copy")), "{:#?}", world.log);
        world.fill_disk(guardian, false);
        world.run_for(ms(10_000));
        if restarts {
            world.crash(0);
            world.start(0);
            world.run_for(ms(2_000));
        }
        assert!((0..5).all(|n| world.find(n, task(1)).is_none()), "a refusal is nobody's end");

        world.submit(0, task(1), Durability::Guarded);
        world.run_for(ms(5_000));

        assert!(world.acknowledged.contains_key(&task(1)), "{:#?}", world.log);
        assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));
        assert_ended_once(&world, 1);
    }
}

/// The guardian dies with its copy on disk before it can say so. The user comes again and is served by others; the copy that
/// comes back with the guardian is not taken for theirs.
/// The record that a home finds when it starts does not say whether its guardian ever had a copy.
#[test]
fn what_may_never_have_been_acknowledged_is_not_acknowledged_after_a_restart_before_its_guardian_has_a_copy() {
    let mut world = world(27);
    world.run = ms(60_000);
    world.submit(0, task(1), Durability::Guarded);
    let guardian = world.council(0, task(1))[1];
    world.cut(0, guardian, true);
    world.run_for(ms(500));
    assert!(world.has_on_disk(0, b't', task(1)));
    world.crash(0);
    world.start(0);
    world.run_for(ms(300));

    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(1_000));
    assert_eq!(world.acknowledged, BTreeMap::new(), "only one disk has it");

    world.cut(0, guardian, false);
    world.run_for(ms(8_000));
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(1_000));
    assert!(world.acknowledged.contains_key(&task(1)), "{}", world.describe(task(1)));
    world.run_for(ms(90_000));
    assert_ended_once(&world, 1);
}

/// Nobody is told that it is taken on while it is being refused, whomever they ask.
#[test]
fn a_refusal_that_is_being_wound_up_is_no_acknowledgement_to_anybody() {
    let mut world = world(28);
    world.submit(0, task(1), Durability::Guarded);
    let [_, guardian, witness] = world.council(0, task(1))[..] else { panic!("three decide") };
    run_until_copied(&mut world, guardian);
    world.isolate(0, true);
    world.run_for(ms(3_000));
    assert_eq!(world.acknowledged, BTreeMap::new(), "{}", world.log.join("\n"));
    world.crash(0);
    world.isolate(0, false);
    world.cut(0, guardian, true);
    world.cut(0, witness, true);
    world.start(0);
    world.run_for(ms(300));

    world.submit(0, task(1), Durability::Guarded);
    let stranger = (1..5).find(|n| ![guardian, witness].contains(n)).expect("five peers, three in the council");
    world.give(stranger, Input::Sought { task: task(1), ticket: 9 });
    world.run_for(ms(1_000));
    assert_eq!(world.acknowledged, BTreeMap::new(), "{}", world.describe(task(1)));
    let told = world.found.iter().find(|(ticket, _)| *ticket == 9).and_then(|(_, found)| found.as_ref());
    assert!(told.is_none_or(|found| found.unpromised), "{told:?}");

    world.cut(0, guardian, false);
    world.cut(0, witness, false);
    world.run_for(ms(20_000));
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(3_000));
    assert!(world.acknowledged.contains_key(&task(1)), "{}\n{}", world.describe(task(1)), world.log.join("\n"));
    assert_ended_once(&world, 1);
    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));
}

#[test]
fn a_copy_of_a_refused_submission_is_withdrawn_when_its_guardian_comes_back() {
    let mut world = world(20);
    world.submit(0, task(1), Durability::Guarded);
    let guardian = world.council(0, task(1))[1];
    run_until_copied(&mut world, guardian);
    world.crash(guardian);
    world.run_for(ms(5_000));
    assert!(!world.acknowledged.contains_key(&task(1)));

    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(5_000));
    let end = world.end_at(0, task(1));
    world.start(guardian);
    world.run_for(ms(20_000));

    assert!(world.acknowledged.contains_key(&task(1)) && end.is_some(), "{:#?}", world.log);
    assert!(!world.council(0, task(1)).contains(&guardian), "it is not asked again so soon");
    assert_eq!(world.find(guardian, task(1)), None, "{}", world.describe(task(1)));
    assert_ended_once(&world, 1);
}

#[test]
fn the_guardian_finishes_what_a_lost_home_began_and_the_home_learns_of_it() {
    let mut world = world(9);
    world.run = ms(3_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    let guardian = world.council(0, task(1))[1];

    world.crash(0);
    world.run_for(ms(20_000));
    assert_eq!(world.state_at(guardian, task(1)), Some(TaskState::Done), "{:#?}", world.log);
    let runs = world.executions[&task(1)].len();
    world.start(0);
    world.run_for(ms(10_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));
    assert_eq!(world.executions[&task(1)].len(), runs, "the home does not run it again");
    assert_ended_once(&world, 1);
}

#[test]
fn a_home_that_returns_while_its_guardian_leads_waits_for_the_end() {
    let mut world = world(10);
    world.run = ms(15_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    world.crash(0);
    world.run_for(ms(12_000));
    world.start(0);
    world.run_for(ms(40_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done), "{:#?}", world.log);
    assert_ended_once(&world, 1);
}

#[test]
fn a_home_cut_from_its_guardian_only_goes_on_with_the_witness() {
    let mut world = world(11);
    world.run = ms(8_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    let council = world.council(0, task(1));
    world.cut(0, council[1], true);
    world.run_for(ms(20_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done), "{:#?}", world.log);
    world.cut(0, council[1], false);
    world.run_for(ms(15_000));
    assert_eq!(world.end_at(council[1], task(1)), world.end_at(0, task(1)));
    assert_ended_once(&world, 1);
}

/// A vote that was lost with a disk is not given a second time to somebody else.
#[test]
fn a_witness_with_a_new_disk_does_not_vote_about_what_is_older() {
    let mut world = world(29);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(100));
    let [_, guardian, witness] = world.council(0, task(1))[..] else { panic!("three decide") };
    world.cut(0, guardian, true);
    world.run_for(ms(8_000));
    assert_eq!(world.finished.get(&task(1)).map_or(0, Vec::len), 1, "it ended with the witness's vote");
    world.crash(0);
    world.crash(witness);
    world.replace_disk(witness);
    world.start(witness);
    world.cut(0, guardian, false);

    world.run_for(ms(30_000));
    assert_eq!(world.end_at(guardian, task(1)), None, "nobody is left who knows: {}", world.describe(task(1)));
    world.start(0);
    world.run_for(ms(20_000));

    assert!(world.end_at(guardian, task(1)).is_some(), "{}", world.describe(task(1)));
    assert_ended_once(&world, 1);
}

#[test]
fn a_home_on_an_island_cannot_end_what_its_guardian_ends() {
    let mut world = world(12);
    world.run = ms(3_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));

    world.isolate(0, true);
    world.run_for(ms(30_000));
    assert_eq!(world.end_at(0, task(1)), None, "alone it has no majority");
    world.isolate(0, false);
    world.run_for(ms(20_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done), "{:#?}", world.log);
    assert_ended_once(&world, 1);
}

#[test]
fn an_island_goes_on_with_tasks_on_disk_also_after_a_restart() {
    let mut world = world(13);
    world.isolate(0, true);
    world.run_for(ms(5_000));
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(3_000));
    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Done));

    world.crash(0);
    world.start(0);
    world.submit(0, task(2), Durability::Disk);
    world.run_for(ms(3_000));

    assert_eq!(world.state_at(0, task(2)), Some(TaskState::Done));
    assert_ended_once(&world, 1);
}

#[test]
fn a_result_can_be_fetched_at_any_peer_while_its_home_is_away() {
    let mut world = world(14);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(2_000));
    let end = world.end_at(0, task(1));
    let council = world.council(0, task(1));
    world.crash(0);
    world.run_for(ms(3_000));
    let stranger = (1..5).find(|n| !council.contains(n)).expect("five peers, three in the council");

    world.give(stranger, Input::Sought { task: task(1), ticket: 5 });
    world.give(stranger, Input::Sought { task: task(77), ticket: 6 });
    world.run_for(ms(3_000));

    let found = world.found.iter().find(|(ticket, _)| *ticket == 5).and_then(|(_, found)| found.clone());
    assert_eq!(found.and_then(|found| found.result.as_ref().map(outline)), end);
    assert!(world.found.contains(&(6, None)));
}

#[test]
fn a_cancelled_task_stays_cancelled_over_a_restart() {
    let mut world = world(15);
    world.run = ms(5_000);
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(500));
    world.give(0, Input::Cancelled(task(1)));
    world.run_for(ms(100));
    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Cancelled));

    world.crash(0);
    world.start(0);
    world.run_for(ms(8_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Cancelled));
    assert_ended_once(&world, 1);
}

#[test]
fn a_deadline_holds_over_a_restart() {
    let mut world = world(16);
    let nowhere = |spec: &mut crate::task::spec::TaskSpec| {
        spec.policy.labels.insert("moon".into(), "yes".into());
        spec.deadline = Some(ms(10_000));
    };
    world.submit_with(0, task(1), Durability::Disk, nowhere);
    world.run_for(ms(4_000));
    assert_eq!(world.end_at(0, task(1)), None, "somebody may come who can run it");
    world.crash(0);
    world.run_for(ms(4_000));
    world.start(0);
    world.run_for(ms(1_000));
    assert_eq!(world.end_at(0, task(1)), None);
    world.run_for(ms(2_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Failed));
    assert_ended_once(&world, 1);
}

#[test]
fn what_is_kept_is_forgotten_after_its_retention() {
    let mut world = world(17);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(2_000));
    world.crash(0);
    world.start(0);

    world.run_for(ms(25 * 3600 * 1_000));

    assert_eq!(world.holders(b't', task(1)), Vec::<usize>::new());
    assert_eq!(world.find(0, task(1)), None);
    for n in 0..world.count() {
        assert_eq!(world.holds(n, "kept tasks") + world.holds(n, "bytes of kept tasks"), 0, "peer {n}");
    }
}

/// A guardian that was away all that time, on a machine whose date starts anew: it takes the task for a young one that nobody
/// else remembers.
#[test]
fn a_task_that_is_over_is_not_run_again_by_a_guardian_that_was_away() {
    let mut world = world(44);
    (world.run, world.retention) = (ms(1_000), ms(20_000));
    world.submit_with(0, task(1), Durability::Guarded, |spec| spec.policy.local_only = true);
    world.run_for(ms(500));
    let guardian = world.council(0, task(1)).get(1).copied().expect("it has one");
    world.crash(guardian);
    world.run_for(ms(61_000));
    assert!(world.end_at(0, task(1)).is_some(), "it is kept for the one that has not heard of it");

    world.set_back = ms(60_000);
    world.start(guardian);
    world.run_for(ms(10_000));
    assert_eq!(world.end_at(0, task(1)), None);
    assert_eq!(world.end_at(guardian, task(1)), world.finished[&task(1)].first().map(|seen| seen.result.clone()));
    world.run_for(ms(60_000));

    assert_eq!(world.executions[&task(1)].len(), 1);
    assert_eq!(world.holders(b'c', task(1)), Vec::<usize>::new());
}

#[test]
fn a_task_whose_home_was_away_beyond_its_time_has_an_end_all_the_same() {
    let mut world = world(45);
    (world.run, world.retention) = (ms(5_000), ms(20_000));
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(500));
    assert!(world.acknowledged.contains_key(&task(1)));
    world.crash(0);
    world.run_for(ms(120_000));
    world.start(0);
    world.run_for(ms(5_000));

    assert_eq!(world.state_at(0, task(1)), Some(TaskState::Failed));
    assert_ended_once(&world, 1);
    world.run_for(ms(20_000));
    assert_eq!(world.find(0, task(1)), None);
}

#[test]
fn a_result_is_kept_for_its_retention_and_no_longer_takes_room_for_its_input() {
    let mut world = world(18);
    world.submit_with(0, task(1), Durability::Guarded, |spec| spec.args = vec!["--level".into(), "7".into()]);
    world.run_for(ms(100));
    let while_it_runs = world.holds(0, "bytes of kept tasks");
    world.run_for(ms(2_000));

    assert_eq!(while_it_runs, 108, "an input of 100 and arguments of 8");
    assert!((1..50).contains(&world.holds(0, "bytes of kept tasks")), "its result has eight");
    world.run_for(ms(23 * 3600 * 1_000));
    assert!(world.find(0, task(1)).is_some());
    world.run_for(ms(2 * 3600 * 1_000));
    assert_eq!(world.find(0, task(1)), None);
}

#[test]
fn a_damaged_record_is_told_and_its_task_is_not_acted_on() {
    let mut world = world(18);
    world.run = ms(5_000);
    world.submit(0, task(1), Durability::Disk);
    world.submit(0, task(2), Durability::Disk);
    world.run_for(ms(500));
    world.crash(0);
    world.damage(0, b't', task(1));
    world.start(0);
    world.run_for(ms(12_000));

    let why = world.end_at(0, task(1)).and_then(Result::err).expect("it failed");
    assert!(why.contains("cannot be read"), "{why}");
    assert_eq!(world.state_at(0, task(2)), Some(TaskState::Done), "others go on");
    assert!(world.has_on_disk(0, b't', task(1)), "what is damaged is left alone");
}

/// The home is there, and answers, but cannot read what it kept: that is no reason for the guardian to wait for it.
#[test]
fn a_guardian_follows_a_home_whose_record_is_damaged() {
    let mut world = world(19);
    world.run = ms(5_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    world.crash(0);
    world.damage(0, b'c', task(1));
    world.start(0);
    world.run_for(ms(40_000));

    let guardian = world.holders(b't', task(1)).into_iter().find(|n| *n != 0).expect("somebody guards it");
    assert_eq!(world.state_at(guardian, task(1)), Some(TaskState::Done), "{}", world.describe(task(1)));
    for (ticket, n) in (0..world.count()).enumerate() {
        world.give(n, Input::Sought { task: task(1), ticket: ticket as u64 });
    }
    world.run_for(ms(2_000));
    let states = world.found.iter().map(|(_, found)| found.as_ref().map(|found| found.state));
    assert_eq!(states.collect::<Vec<_>>(), vec![Some(TaskState::Done); world.count()]);
}

/// That the home gave up is said once more with each bid, also to a witness that was away at the first.
#[test]
fn a_guardian_follows_a_home_whose_record_is_damaged_when_its_witness_comes_back_later() {
    let mut world = world(30);
    world.run = ms(5_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    let [_, guardian, witness] = world.council(0, task(1))[..] else { panic!("three decide") };
    world.crash(witness);
    world.crash(0);
    world.damage(0, b'c', task(1));
    world.run_for(ms(500));
    world.start(0);
    world.run_for(ms(60_000));
    assert_eq!(world.end_at(guardian, task(1)), None);

    world.start(witness);
    world.run_for(ms(60_000));

    assert_eq!(world.state_at(guardian, task(1)), Some(TaskState::Done), "{}", world.describe(task(1)));
}

/// It was cut off while it led, and refused nothing: who comes again with the task at its guardian is soon told that it is kept.
#[test]
fn an_heir_whose_home_is_back_acknowledges_what_that_has_not_refused() {
    let mut world = world(41);
    world.run = ms(120_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(1_000));
    assert!(world.acknowledged.contains_key(&task(1)));
    let [_, guardian, _] = world.council(0, task(1))[..] else { panic!("three decide") };
    world.isolate(0, true);
    world.run_for(ms(12_000));
    world.give(guardian, Input::Sought { task: task(1), ticket: 1 });
    world.isolate(0, false);
    world.run_for(ms(15_000));
    world.give(guardian, Input::Sought { task: task(1), ticket: 2 });
    world.run_for(ms(3_000));

    let unpromised = |ticket: u64| {
        let found = world.found.iter().find(|(of, _)| *of == ticket).and_then(|(_, found)| found.as_ref());
        found.expect("its guardian leads it").unpromised
    };
    assert!(unpromised(1) && !unpromised(2));
    world.run_for(ms(150_000));
    assert_ended_once(&world, 1);
}
