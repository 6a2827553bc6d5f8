//! Machines that say more of themselves than is so, and machines that answer what they have not computed.

use shoal_protocol::Role;
use shoal_protocol::task::verification::Verify;
use shoal_testnet::sim::{Link, Lure, Sim, answers, liars};

use super::{assert_done, cores, secs};

/// A home that has a single task gives it to a machine that says for ever that it runs it: once no run can still be under way,
/// it is given to another.
#[test]
fn nobody_keeps_a_task_by_saying_that_it_runs() {
    let mut sim = Sim::quick(1, Link::ms(2));
    let home = sim.add_cold(Role::Edge, cores(1));
    let liar = sim.add_cold(Role::Edge, cores(1));
    sim.lure(liar, Lure::Endless);
    [home, liar].iter().for_each(|index| sim.start(*index, &[home, liar]));
    sim.run_for(secs(5));

    let task = sim.submit(home, secs(4), |spec| {
        spec.expected = Some(secs(4));
        spec.limits.wall = secs(10);
    });
    sim.run_for(secs(2));
    assert_eq!(sim.running_at(task), Some(liar), "it lures nothing");
    sim.run_for(secs(60));

    assert_done(&sim, &[task]);
    assert_eq!(sim.executor(task), Some(home));
}

/// A fifth of the machines lures work and does not do it: all of it goes there at first, and hardly any after half a minute;
/// now and then each of them is tried with a single task. No honest peer is taken for one of them.
#[test]
fn who_lures_work_gets_little_of_it_for_long() {
    let report = liars::run(&liars::Settings { seed: 3, peers: 40, liars: 20, minutes: 2, load: 0.5 });

    let share = |moments: &[liars::Moment]| {
        moments.iter().map(|moment| moment.wrong_share).sum::<f64>() / moments.len().max(1) as f64
    };
    assert!(share(&report.moments[..1]) > 0.3, "they lure nothing: {report:?}");
    assert!(share(&report.moments[3..6]) < 0.01, "{report:?}");
    assert!(share(&report.moments[3..]) < 0.05, "{report:?}");
    assert_eq!((report.honest_distrusted, report.honest_distrusted_in_peace), (0, 0));
    assert_eq!(report.failed, 0);
}

/// Of the hosts, 30 % forge answers. Few of those are told to a user, where a quarter of all that is told would be.
#[test]
fn hardly_a_forged_answer_is_taken_for_right() {
    let settings = answers::Settings { seed: 1, hosts: 20, liars: 30, tasks: 6_000, ..answers::Settings::default() };

    let believed = answers::run(&answers::Settings { mode: Verify::Never, ..settings });
    let compared = answers::run(&settings);

    assert!(believed.wrong_accepted > 600, "{believed:?}");
    assert!(compared.wrong_accepted * 20 < believed.wrong_accepted, "{compared:?}");
    assert_eq!((compared.unverified, compared.failed), (0, 0));
}
