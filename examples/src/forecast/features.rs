//! What the forecast of a sensor's speed is made from: its own past, its neighbours', and days like this one.
//!
//! Days like this one are a usual weekday and a usual day of the weekend (`profiles.rs`) and the days of the history
//! itself, at the same time of day. Each counts by how well it told the city's last hour and a half, so a holiday, a
//! wrong clock or another season makes them count less, and the forecast is told how far they were off.
//!
//! **Invariant:** the inputs at a row are made from that row and earlier ones.

use super::{AHEAD, INTERVAL_MINUTES};
use crate::congestion::roads::{EDGES, FREE_FLOW_MPH, SENSORS};
use crate::congestion::Values;
use crate::math;

pub const INPUTS: usize = 30;
pub type Inputs = [f64; INPUTS];
type Row = [f64; SENSORS];

/// Values a day of a profile, each a quarter of an hour; speeds in half miles an hour.
pub const SLOTS: usize = 96;
pub type Profile = [u8; SLOTS * SENSORS];

const DAY_ROWS: usize = 24 * 60 / INTERVAL_MINUTES;
/// Days of the history that are looked back at.
const DAYS_BACK: usize = 6;
/// Rows around the same time of another day that are averaged.
const AROUND: usize = 3;
/// Rows that tell how like this day another is, and the steps they are taken in.
const ALIKE_ROWS: usize = 18;
const ALIKE_STEP: usize = 3;
/// A day counts less by this factor (e-fold) for each so many mph it was off.
const ALIKE_MPH: f64 = 0.5;
/// Neighbours that are nearest.
const NEAREST: usize = 4;
/// The share of the last day's speeds that free flow is above.
const FREE: (usize, usize) = (85, 100);

/// A city's speeds, row after row, with what is needed again and again.
#[derive(Debug)]
pub struct City<'a> {
    speeds: Vec<Row>,
    /// Rows since each sensor last measured.
    ages: Vec<Row>,
    /// Sums of all speeds before a row.
    sums: Vec<Row>,
    around: Vec<Row>,
    nearest: Vec<Row>,
    wider: Vec<Row>,
    mean: Vec<f64>,
    minutes: &'a [usize],
    profiles: [&'a Profile; 2],
}

/// Which day is looked at.
#[derive(Debug, Clone, Copy)]
enum Day {
    Profile(usize),
    Back(usize),
}

impl<'a> City<'a> {
    pub fn new(measured: &[Values], minutes: &'a [usize], profiles: [&'a Profile; 2]) -> Self {
        let neighbours = Neighbours::new();
        let mut city = Self {
            speeds: Vec::with_capacity(measured.len()),
            ages: Vec::with_capacity(measured.len()),
            sums: vec![[0.0; SENSORS]],
            around: Vec::with_capacity(measured.len()),
            nearest: Vec::with_capacity(measured.len()),
            wider: Vec::with_capacity(measured.len()),
            mean: Vec::with_capacity(measured.len()),
            minutes,
            profiles,
        };
        let mut speeds = [0.0; SENSORS];
        let mut ages = [DAY_ROWS as f64; SENSORS];
        for (speed, &free) in speeds.iter_mut().zip(&FREE_FLOW_MPH) {
            *speed = f64::from(free);
        }
        for values in measured {
            for sensor in 0..SENSORS {
                ages[sensor] = (ages[sensor] + 1.0).min(DAY_ROWS as f64);
                if let Some(speed) = values[sensor] {
                    speeds[sensor] = speed;
                    ages[sensor] = 0.0;
                }
            }
            let mut sums = city.sums[city.sums.len() - 1];
            sums.iter_mut().zip(&speeds).for_each(|(sum, speed)| *sum += speed);
            let around = neighbours.average(&neighbours.all, &speeds);
            city.wider.push(neighbours.average(&neighbours.all, &around));
            city.nearest.push(neighbours.average(&neighbours.nearest, &speeds));
            city.around.push(around);
            city.mean.push(speeds.iter().sum::<f64>() / SENSORS as f64);
            city.speeds.push(speeds);
            city.ages.push(ages);
            city.sums.push(sums);
        }
        city
    }

    /// The last speed measured up to `row`.
    pub fn speed(&self, row: usize, sensor: usize) -> f64 {
        self.speeds[row][sensor]
    }

    /// The inputs of each sensor's forecast at `row`.
    pub fn features(&self, row: usize) -> Vec<Inputs> {
        let (days, city_off) = self.days_alike(row);
        let now = self.blend(&days, row, 0);
        let ahead = self.blend(&days, row, AHEAD);
        let before: Vec<(usize, Row)> = (0..12)
            .step_by(ALIKE_STEP)
            .filter_map(|back| row.checked_sub(back))
            .map(|earlier| (earlier, self.blend(&days, earlier, 0)))
            .collect();
        let free = self.free(row);
        let back = |rows: usize| row.saturating_sub(rows);
        let features = |sensor: usize| {
            let own = self.speeds[row][sensor];
            let from_now = |value: f64| value - own;
            let past = |rows: usize| from_now(self.speeds[back(rows)][sensor]);
            let mean = |rows: usize| from_now(self.mean_before(row, rows, sensor));
            let off = before.iter().map(|(at, told)| (self.speeds[*at][sensor] - told[sensor]).abs()).sum::<f64>();
            let lowest = (back(11)..=row).fold(own, |low, at| self.speeds[at][sensor].min(low));
            let moved = (back(11)..row).map(|at| (self.speeds[at + 1][sensor] - self.speeds[at][sensor]).abs());
            [
                own,
                past(1),
                past(2),
                past(3),
                past(5),
                past(8),
                mean(3),
                mean(6),
                mean(12),
                mean(36),
                from_now(free[sensor]),
                from_now(self.around[row][sensor]),
                self.around[row][sensor] - self.around[back(3)][sensor],
                from_now(self.nearest[row][sensor]),
                self.nearest[row][sensor] - self.nearest[back(1)][sensor],
                self.nearest[row][sensor] - self.nearest[back(3)][sensor],
                from_now(self.wider[row][sensor]),
                self.wider[row][sensor] - self.wider[back(6)][sensor],
                from_now(self.mean[row]),
                self.mean[row] - self.mean[back(6)],
                from_now(ahead[sensor]),
                from_now(now[sensor]),
                ahead[sensor] - now[sensor],
                off / before.len() as f64,
                city_off,
                self.ages[row][sensor],
                from_now(lowest),
                moved.sum::<f64>() / 11.0,
                f64::from(FREE_FLOW_MPH[sensor]),
                self.mean[row],
            ]
        };
        (0..SENSORS).map(features).collect()
    }

    fn mean_before(&self, row: usize, rows: usize, sensor: usize) -> f64 {
        let first = (row + 1).saturating_sub(rows);
        (self.sums[row + 1][sensor] - self.sums[first][sensor]) / (row + 1 - first) as f64
    }

    /// The days that may be alike, each with its share, and how far they were off together.
    fn days_alike(&self, row: usize) -> (Vec<(Day, f64)>, f64) {
        let mut days: Vec<(Day, f64)> = Vec::with_capacity(2 + DAYS_BACK);
        let known = (1..=DAYS_BACK).filter(|back| row >= back * DAY_ROWS + ALIKE_ROWS + AROUND).map(Day::Back);
        let (mut weights, mut off) = (0.0, 0.0);
        for day in (0..2).map(Day::Profile).chain(known) {
            let mut told = [0.0; SENSORS];
            let (mut differences, mut count) = (0.0, 0.0);
            for earlier in (0..ALIKE_ROWS).step_by(ALIKE_STEP).filter_map(|back| row.checked_sub(back)) {
                self.tell(day, earlier, 0, &mut told, 1.0);
                for (speed, told) in self.speeds[earlier].iter().zip(&mut told) {
                    differences += (speed - *told).abs();
                    *told = 0.0;
                    count += 1.0;
                }
            }
            let difference = differences / count;
            let weight = math::exp(-difference / ALIKE_MPH);
            weights += weight;
            off += weight * difference;
            days.push((day, weight));
        }
        // All of them may be so far off that no weight is left.
        if weights > 0.0 {
            days.iter_mut().for_each(|(_, weight)| *weight /= weights);
            (days, off / weights)
        } else {
            let share = 1.0 / days.len() as f64;
            days.iter_mut().for_each(|(_, weight)| *weight = share);
            (days, 100.0)
        }
    }

    /// What the days tell of the row `ahead` of `row`, each by its share.
    fn blend(&self, days: &[(Day, f64)], row: usize, ahead: usize) -> Row {
        let mut told = [0.0; SENSORS];
        for &(day, share) in days {
            self.tell(day, row, ahead, &mut told, share);
        }
        told
    }

    fn tell(&self, day: Day, row: usize, ahead: usize, told: &mut Row, share: f64) {
        match day {
            Day::Profile(number) => {
                // Between the middles of two slots.
                let minute = self.minutes[row] + ahead * INTERVAL_MINUTES;
                let place = minute as f64 * SLOTS as f64 / (24 * 60) as f64 + SLOTS as f64 - 0.5;
                let (slot, part) = (place as usize, place - (place as usize) as f64);
                let of = |slot: usize| {
                    let first = slot % SLOTS * SENSORS;
                    &self.profiles[number][first..first + SENSORS]
                };
                for ((told, &left), &right) in told.iter_mut().zip(of(slot)).zip(of(slot + 1)) {
                    *told += share * 0.5 * (f64::from(left) * (1.0 - part) + f64::from(right) * part);
                }
            }
            Day::Back(back) => {
                let middle = row + ahead - back * DAY_ROWS;
                let (first, last) = (middle.saturating_sub(AROUND), middle + AROUND);
                let count = (last + 1 - first) as f64;
                for (sensor, told) in told.iter_mut().enumerate() {
                    *told += share * (self.sums[last + 1][sensor] - self.sums[first][sensor]) / count;
                }
            }
        }
    }

    /// What each sensor's speed is above only now and then in the last day.
    fn free(&self, row: usize) -> Row {
        let first = (row + 1).saturating_sub(DAY_ROWS);
        let mut free = [0.0; SENSORS];
        // Every third row tells as much, at a third of the work.
        let mut seen = Vec::with_capacity(DAY_ROWS / 3 + 1);
        for (sensor, free) in free.iter_mut().enumerate() {
            seen.clear();
            seen.extend((first..=row).rev().step_by(3).map(|at| self.speeds[at][sensor]));
            let place = seen.len() * FREE.0 / FREE.1;
            *free = *seen.select_nth_unstable_by(place, f64::total_cmp).1;
        }
        free
    }
}

struct Neighbours {
    all: Vec<Vec<(usize, f64)>>,
    nearest: Vec<Vec<(usize, f64)>>,
}

impl Neighbours {
    fn new() -> Self {
        let mut all = vec![Vec::new(); SENSORS];
        for &(one, other, weight) in &EDGES {
            all[usize::from(one)].push((usize::from(other), f64::from(weight)));
            all[usize::from(other)].push((usize::from(one), f64::from(weight)));
        }
        let mut nearest = all.clone();
        for neighbours in &mut nearest {
            // Equal ones stay in the order of the map.
            neighbours.sort_by(|one, other| other.1.total_cmp(&one.1));
            neighbours.truncate(NEAREST);
        }
        Self { all, nearest }
    }

    /// Each sensor's neighbours' average, nearer ones counting more; its own value where it has none.
    fn average(&self, of: &[Vec<(usize, f64)>], values: &Row) -> Row {
        let mut average = *values;
        for (value, neighbours) in average.iter_mut().zip(of) {
            let (mut sum, mut weights) = (0.0, 0.0);
            for &(neighbour, weight) in neighbours {
                sum += weight * values[neighbour];
                weights += weight;
            }
            if weights > 0.0 {
                *value = sum / weights;
            }
        }
        average
    }
}
