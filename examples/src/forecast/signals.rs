//! Where signals should stay green for longer: by max pressure (Varaiya, "Max pressure control of a network of
//! signalized intersections", 2013).
//!
//! A place's pressure is its queue less its neighbours': green helps where many wait and the road beyond is free, and
//! not where the queue would only move into the next jam. The queue that is expected stands in the share of free flow
//! that will be lost.

use crate::congestion::roads::{EDGES, SENSORS, SENSOR_IDS};
use crate::congestion::Values;
use crate::text;

/// Places that are changed at a time.
const PLACES: usize = 10;
const PRESSURE_MIN: f64 = 0.05;
/// Green time is lengthened by at most this much, of a usual cycle of 90 s.
const GREEN_SECONDS_MAX: f64 = 15.0;
/// The pressure that gets all of it.
const PRESSURE_FULL: f64 = 0.5;

/// The places under most pressure when each sensor will have lost this share of its free flow.
pub fn report(lost: &Values) -> String {
    let queues: Vec<f64> = lost.iter().map(|lost| lost.unwrap_or(0.0)).collect();
    let mut beyond = vec![(0.0, 0.0); SENSORS];
    for &(one, other, weight) in &EDGES {
        for (at, neighbour) in [(one, other), (other, one)] {
            let (sum, weights) = &mut beyond[usize::from(at)];
            *sum += f64::from(weight) * queues[usize::from(neighbour)];
            *weights += f64::from(weight);
        }
    }
    let mut pressed: Vec<(usize, f64)> = Vec::new();
    for (sensor, (sum, weights)) in beyond.into_iter().enumerate() {
        // Of a place without neighbours on the map nobody knows whether green would help.
        let pressure = if weights > 0.0 { queues[sensor] - sum / weights } else { 0.0 };
        if pressure >= PRESSURE_MIN {
            pressed.push((sensor, pressure));
        }
    }
    // Equal ones stay in the order of the map.
    pressed.sort_by(|one, other| other.1.total_cmp(&one.1));
    pressed.truncate(PLACES);
    let mut output = String::new();
    for (sensor, pressure) in &pressed {
        let green = GREEN_SECONDS_MAX * (pressure / PRESSURE_FULL).min(1.0);
        let (pressure, green) = (text::fixed(*pressure, 2), text::fixed(green, 0));
        output
            .push_str(&format!("# signal sensor={} pressure={pressure} green_longer_s={green}\n", SENSOR_IDS[*sensor]));
    }
    output.push_str(&format!("# signals={}\n", pressed.len()));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jam_with_a_free_road_beyond_gets_green_and_a_city_at_one_speed_none() {
        let mut lost: Values = vec![Some(0.0); SENSORS];
        let jammed = usize::from(EDGES[0].0);
        lost[jammed] = Some(0.8);

        let output = report(&lost);

        let line = format!("# signal sensor={} pressure=0.80 green_longer_s=15\n# signals=1\n", SENSOR_IDS[jammed]);
        assert_eq!(output, line);
        assert_eq!(report(&vec![Some(0.6); SENSORS]), "# signals=0\n");
    }
}
