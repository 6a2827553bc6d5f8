use proptest::prelude::*;

use super::event_time::{EventTime, TimeUnit};
use super::spec::WindowRule;
use super::window::{Closed, ClosedKind, WindowState, Windower};
use super::{OPEN_WINDOWS_MAX, WINDOW_BYTES_MAX};

fn arrivals(span_ms: u64) -> WindowRule {
    WindowRule { span_ms: Some(span_ms), ..WindowRule::default() }
}

fn events(span_ms: u64, lateness_ms: u64) -> WindowRule {
    let event_time = EventTime { field: None, column: Some(1), unit: TimeUnit::Ms };
    WindowRule { event_time: Some(event_time), lateness_ms, ..arrivals(span_ms) }
}

fn windower(rule: WindowRule) -> Windower {
    Windower::new(rule, false, WindowState::default())
}

fn take(windower: &mut Windower, batch: u64, now: u64, records: &[&str]) -> (Vec<Closed>, u32) {
    let cut = windower.take(batch, now, records.iter().map(|record| record.as_bytes()));
    (cut.closed, cut.late)
}

fn time(start_ms: u64, end_ms: u64) -> ClosedKind {
    ClosedKind::Time { start_ms, end_ms }
}

#[test]
fn a_window_by_arrival_is_closed_by_the_clock_alone() {
    let mut windower = windower(arrivals(100));
    assert_eq!(take(&mut windower, 0, 250, &["a", "b"]), (vec![], 0));
    assert_eq!(windower.due_ms(), Some(300));

    let (closed, _) = take(&mut windower, 1, 300, &[]);

    assert_eq!((closed[0].kind, closed[0].records, closed.len()), (time(200, 300), 2, 1));
    assert_eq!(windower.due_ms(), None);
}

#[test]
fn an_event_within_the_lateness_joins_and_a_later_one_is_late() {
    let mut windower = windower(events(100, 50));
    take(&mut windower, 0, 9_000, &["10", "120"]);

    let (closed, late) = take(&mut windower, 1, 9_001, &["20", "151", "30"]);

    assert_eq!((closed[0].kind, closed[0].records), (time(0, 100), 2), "10 and 20");
    assert_eq!((closed.len(), late), (1, 1), "151 closed the first, 30 was late for it");
}

#[test]
fn what_says_no_time_is_late() {
    let mut windower = windower(events(100, 0));

    assert_eq!(take(&mut windower, 0, 9_000, &["noon"]), (vec![], 1));
}

#[test]
fn late_records_are_told_where_somebody_wants_to_know() {
    let mut windower = Windower::new(events(100, 0), true, WindowState::default());

    let (closed, late) = take(&mut windower, 0, 9_000, &["250", "10"]);

    assert_eq!((closed[0].kind, closed[0].records, late), (ClosedKind::Late, 1, 1));
}

#[test]
fn silence_closes_what_is_open_and_later_events_of_that_time_are_late() {
    let mut windower = windower(WindowRule { idle_ms: Some(1_000), ..events(100, 50) });
    take(&mut windower, 0, 9_000, &["10", "120"]);
    assert_eq!(windower.due_ms(), Some(10_000));

    let (closed, _) = take(&mut windower, 1, 10_000, &[]);

    assert_eq!(closed.iter().map(|closed| closed.kind).collect::<Vec<_>>(), [time(0, 100), time(100, 200)]);
    assert_eq!(take(&mut windower, 2, 10_001, &["150"]).1, 1);
}

#[test]
fn silence_closes_a_window_by_count_too() {
    let mut windower = windower(WindowRule { count: Some(10), idle_ms: Some(100), ..WindowRule::default() });
    take(&mut windower, 0, 1_000, &["a"]);

    let (closed, _) = take(&mut windower, 1, 1_100, &[]);

    assert_eq!((closed.len(), closed[0].records, closed[0].cut), (1, 1, false));
}

#[test]
fn a_window_that_grows_too_large_is_cut() {
    let mut windower = windower(events(1_000, 0));
    let large = format!("1,{}", "x".repeat((WINDOW_BYTES_MAX / 2) as usize));

    let (closed, _) = take(&mut windower, 0, 9_000, &[&large, &large, &large]);

    assert_eq!((closed.len(), closed[0].records, closed[0].cut), (1, 2, true));
    assert_eq!(windower.open(), (1, 1), "and goes on");
}

#[test]
fn not_more_windows_are_open_than_may_be() {
    let mut windower = windower(events(10, 1_000_000));
    let times: Vec<String> = (0..2 * OPEN_WINDOWS_MAX).map(|at| (at * 10).to_string()).collect();

    let (closed, late) = take(&mut windower, 0, 9_000, &times.iter().map(String::as_str).collect::<Vec<_>>());

    assert_eq!((windower.open().0, closed.len(), late), (OPEN_WINDOWS_MAX, OPEN_WINDOWS_MAX, 0));
    assert!(closed.iter().all(|closed| closed.cut), "they are told to be parts");
}

#[test]
fn a_clock_that_was_set_back_opens_nothing_again() {
    let mut windower = windower(arrivals(100));
    take(&mut windower, 0, 1_000, &["a"]);
    take(&mut windower, 1, 2_000, &["b"]);

    assert_eq!(take(&mut windower, 2, 500, &["c"]), (vec![], 0));
    assert_eq!(windower.open(), (1, 2), "it joins the window of the latest time known");
}

proptest! {
    /// However records are batched, the windows by event time and by count are the same.
    #[test]
    fn windows_do_not_depend_on_batches(
        times in proptest::collection::vec(0..500u64, 0..100),
        cuts in proptest::collection::vec(1..20usize, 1..40),
        lateness in 0..100u64,
        count in proptest::option::of(1..7u32),
    ) {
        let rule = match count {
            Some(count) => WindowRule { count: Some(count), ..WindowRule::default() },
            None => events(50, lateness),
        };
        let records: Vec<String> = times.iter().map(u64::to_string).collect();
        let contents = |sizes: &mut dyn Iterator<Item = usize>| {
            let mut windower = windower(rule.clone());
            let (mut batches, mut windows, mut late) = (Vec::new(), Vec::new(), 0);
            let mut rest = records.as_slice();
            while !rest.is_empty() {
                let (now, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
                let cut = windower.take(batches.len() as u64, 9_000, now.iter().map(|record| record.as_bytes()));
                batches.push(now);
                late += cut.late;
                for closed in cut.closed {
                    let inside: Vec<&String> = closed.spans.iter()
                        .flat_map(|span| &batches[span.batch as usize][span.from as usize..span.to as usize]).collect();
                    assert_eq!(inside.len(), closed.records as usize);
                    windows.push((closed.sequence, closed.kind, inside));
                }
                rest = after;
            }
            (windows, late, windower.open())
        };

        let (windows, late, open) = contents(&mut cuts.iter().copied());

        prop_assert_eq!(&contents(&mut core::iter::empty()), &(windows.clone(), late, open));
        let inside: usize = windows.iter().map(|(_, _, inside)| inside.len()).sum();
        prop_assert_eq!(inside + late as usize + open.1 as usize, records.len(), "each record is somewhere, once");
    }
}
