//! Writes the road map (sensors, free-flow speeds, adjacency) and prints how well gaps are filled on other days.
//!
//! cargo run --release -p shoal-examples --example train_congestion
//!
//! Free flow is the 85th percentile of what a sensor measured on two days; the check uses two days that follow.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use shoal_examples::congestion::{self, roads};
use shoal_examples::text;

const DAYS_LEARNT: [&str; 2] = ["2012-03-01", "2012-03-02"];
const DAYS_HELD_BACK: [&str; 2] = ["2012-03-05", "2012-03-06"];

fn main() {
    write_map();
    // The map that was compiled in is measured here: after a change, run this twice.
    measure_filling();
}

fn write_map() {
    let days = DAYS_LEARNT.map(day);
    let lines = text::lines(&days[0]).expect("the table is text");
    let ids: Vec<u32> = lines[0].1.split(',').skip(1).map(|id| id.parse().expect("a sensor's number")).collect();

    let mut speeds: Vec<Vec<f64>> = vec![Vec::new(); ids.len()];
    for table in &days {
        for (_, line) in text::lines(table).expect("the table is text").iter().skip(1) {
            for (seen, field) in speeds.iter_mut().zip(line.split(',').skip(1)) {
                seen.extend(text::decimal(field).filter(|speed| *speed > 0.0));
            }
        }
    }
    let free_flow = |mut seen: Vec<f64>| {
        seen.sort_by(f64::total_cmp);
        (seen[seen.len() * 85 / 100] + 0.5) as u8
    };
    let free: Vec<u8> = speeds.into_iter().map(free_flow).collect();

    let table = common::read("data/city/neighbours.csv");
    let place = |id: &str| ids.iter().position(|known| known.to_string() == id).expect("a known sensor") as u8;
    let mut edges = Vec::new();
    for (_, line) in text::lines(&table).expect("the table is text").iter().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (from, to) = (place(fields[0]), place(fields[1]));
        // Both directions are listed with one weight.
        if from < to {
            edges.push((from, to, (text::decimal(fields[2]).expect("a weight") * 255.0 + 0.5) as u8));
        }
    }
    let body = [
        format!("pub const SENSORS: usize = {};\n", ids.len()),
        common::array("SENSOR_IDS", "u32", &ids),
        common::array("FREE_FLOW_MPH", "u8", &free),
        format!(
            "/// Two sensors and how near they are: 255 is the same place.\n{}",
            common::array("EDGES", "(u8, u8, u8)", &edges)
        ),
    ];
    common::write("src/congestion/roads.rs", "congestion", &body.join("\n"));
}

fn day(name: &str) -> Vec<u8> {
    common::read(&format!("data/city/speeds_{name}.csv"))
}

/// Hides every tenth sensor in turn and compares what its neighbours say with what it measured.
fn measure_filling() {
    let (mut by_neighbours, mut by_city, mut by_free_flow, mut count) = (0.0, 0.0, 0.0, 0.0);
    for name in DAYS_HELD_BACK {
        let table = day(name);
        let window = congestion::read(&table).expect("the table is valid");
        for (index, speeds) in window.speeds_mph.iter().enumerate() {
            let known = congestion::lost(speeds);
            let hidden = |sensor: usize| sensor % 10 == index % 10;
            let seen: Vec<Option<f64>> =
                known.iter().enumerate().map(|(n, lost)| lost.filter(|_| !hidden(n))).collect();
            let filled = congestion::filled(&seen);
            let all: Vec<f64> = seen.iter().flatten().copied().collect();
            let city = all.iter().sum::<f64>() / all.len().max(1) as f64;
            for sensor in (0..known.len()).filter(|&n| hidden(n)) {
                if let (Some(lost), Some(guess)) = (known[sensor], filled[sensor]) {
                    let free = f64::from(roads::FREE_FLOW_MPH[sensor]);
                    by_neighbours += free * (lost - guess).abs();
                    by_city += free * (lost - city).abs();
                    by_free_flow += free * lost;
                    count += 1.0;
                }
            }
        }
    }
    println!(
        "held back: {count} hidden speeds; mean error filled from neighbours {} mph, by the city's average {} mph, by free flow {} mph",
        text::fixed(by_neighbours / count, 2),
        text::fixed(by_city / count, 2),
        text::fixed(by_free_flow / count, 2),
    );
}
