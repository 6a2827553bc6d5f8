//! Whole stories, word by word: whatever changes what peers say, write or do about a task shows here, meant or not.
//!
//! The stories are in `snapshots/`, one line a deed: when (in ms), who, what. After a change that is meant, read the
//! difference and accept it: `INSTA_UPDATE=always cargo test -p shoal-protocol golden`.

use super::world::*;
use crate::id::PeerId;
use crate::input::Input;
use crate::task::durable::Durability;

/// Five peers that know each other; what they said before is of no interest.
fn world(seed: u64) -> World {
    let mut world = World::new(5, seed);
    world.run_for(ms(2_000));
    world.told.clear();
    world
}

/// The story up to here, and what everybody holds after it.
fn story(mut world: World) -> String {
    assert_eq!(world.problems, Vec::<String>::new());
    world.tell_holdings();
    world.told.join("\n")
}

#[test]
fn a_task_in_memory() {
    let mut world = world(31);
    world.submit(0, task(1), Durability::Memory);
    world.submit(0, task(1), Durability::Memory);
    world.run_for(ms(1_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn more_tasks_than_cores() {
    let mut world = world(32);
    world.run = ms(700);
    (1..=12).for_each(|n| world.submit(0, task(n), Durability::Memory));
    world.run_for(ms(400));
    world.give(0, Input::Cancelled(task(11)));
    world.run_for(ms(3_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn an_executor_dies() {
    let mut world = world(33);
    world.run = ms(1_500);
    (1..=8).for_each(|n| world.submit(0, task(n), Durability::Disk));
    world.run_for(ms(300));
    world.crash(2);
    world.run_for(ms(6_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_task_on_disk_over_restarts() {
    let mut world = world(34);
    world.run = ms(1_000);
    world.submit(0, task(1), Durability::Disk);
    world.submit_with(0, task(2), Durability::Disk, |spec| spec.policy.local_only = true);
    world.submit_with(0, task(3), Durability::Disk, |spec| spec.policy.peer = Some(PeerId([3; 32])));
    world.run_for(ms(200));
    world.crash(0);
    world.run_for(ms(300));
    world.start(0);
    world.run_for(ms(4_000));
    world.crash(0);
    world.start(0);
    world.run_for(ms(200));
    world.submit(0, task(1), Durability::Disk);
    world.run_for(ms(200));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_guarded_task() {
    let mut world = world(35);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(5));
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(2_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_guardian_follows_its_home_and_the_home_comes_back() {
    let mut world = world(36);
    world.run = ms(2_500);
    world.submit(0, task(1), Durability::Guarded);
    world.submit_with(0, task(2), Durability::Guarded, |spec| spec.policy.local_only = true);
    world.run_for(ms(300));
    world.crash(0);
    world.run_for(ms(4_000));
    world.start(0);
    world.run_for(ms(12_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_home_is_cut_off_and_comes_back() {
    let mut world = world(37);
    world.run = ms(1_200);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(300));
    world.isolate(0, true);
    world.run_for(ms(9_000));
    world.isolate(0, false);
    world.run_for(ms(9_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_guardian_is_lost_before_it_answers() {
    let mut world = world(38);
    world.submit(0, task(1), Durability::Guarded);
    let guardian = world.council(0, task(1)).get(1).copied().unwrap_or(1);
    world.crash(guardian);
    world.run_for(ms(6_000));
    world.start(guardian);
    world.run_for(ms(6_000));
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(3_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_witness_has_a_new_disk() {
    let mut world = world(39);
    world.run = ms(3_000);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(500));
    let council = world.council(0, task(1));
    let witness = council.get(2).copied().unwrap_or(2);
    world.crash(witness);
    world.replace_disk(witness);
    world.run_for(ms(1_000));
    world.start(witness);
    world.crash(0);
    world.run_for(ms(9_000));
    world.start(0);
    world.run_for(ms(9_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_record_is_damaged() {
    let mut world = world(40);
    world.run = ms(1_500);
    world.submit(0, task(1), Durability::Guarded);
    world.submit(0, task(2), Durability::Disk);
    world.run_for(ms(400));
    world.crash(0);
    world.damage(0, b't', task(1));
    world.damage(0, b't', task(2));
    world.start(0);
    world.run_for(ms(500));
    world.run_for(ms(9_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn a_user_changes_its_mind_and_a_deadline_passes() {
    let mut world = world(41);
    world.run = ms(4_000);
    world.submit(0, task(1), Durability::Guarded);
    world.submit_with(0, task(2), Durability::Guarded, |spec| spec.deadline = Some(ms(1_000)));
    world.submit_with(0, task(3), Durability::Disk, |spec| spec.deadline = Some(ms(1_500)));
    world.run_for(ms(300));
    world.give(0, Input::Cancelled(task(1)));
    world.run_for(ms(3_000));
    world.crash(0);
    world.start(0);
    world.run_for(ms(2_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn half_of_what_is_said_is_lost_and_half_comes_twice() {
    let mut world = world(42);
    (world.loss, world.doubled) = (0.3, 0.5);
    world.run = ms(600);
    for n in 1..=6 {
        let durability = if n % 2 == 0 { Durability::Disk } else { Durability::Guarded };
        world.submit(usize::from(n % 3), task(n), durability);
        world.run_for(ms(150));
    }
    world.run_for(ms(3_000));
    world.crash(1);
    world.run_for(ms(5_000));
    (world.loss, world.doubled) = (0.0, 0.0);
    world.start(1);
    world.run_for(ms(20_000));
    insta::assert_snapshot!(story(world));
}

#[test]
fn disks_are_full() {
    let mut world = world(43);
    world.run = ms(500);
    world.submit(0, task(1), Durability::Guarded);
    world.run_for(ms(100));
    world.fill_disk(0, true);
    world.submit(0, task(2), Durability::Guarded);
    world.submit(0, task(3), Durability::Disk);
    world.run_for(ms(3_000));
    world.fill_disk(0, false);
    let council = world.council(0, task(1));
    world.fill_disk(council.get(1).copied().unwrap_or(1), true);
    world.submit(0, task(4), Durability::Guarded);
    world.run_for(ms(9_000));
    insta::assert_snapshot!(story(world));
}
