//! `alarms [--passes N]`: a sensor's readings in; the alarms a watcher would have raised, each at its time, out.
//!
//! Nothing is known of the sensor beforehand and nothing later than a reading is used to judge it. Two things count as
//! abnormal, and the score is the larger of the two, 1 at the border:
//!
//! - **shifted**: the average of the last day is far from the averages of the last four weeks, and from those at the same
//!   time of the week, in robust standard deviations (median and median absolute deviation). A whole day has no daily
//!   rhythm in it, and the same time of the week no weekly one.
//! - **unseen**: the average of the last hour lies outside everything seen so far by a good part of that range. Each
//!   such alarm widens the range, so these become rare by themselves.
//!
//! An alarm begins an episode; the episode ends when the score has stayed low for a day. Within an episode a new alarm
//! is raised only when it becomes much worse.

use crate::{options, text};

/// A decade of five-minute readings.
pub const READINGS_MAX: usize = 1_100_000;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
const WEEK_S: i64 = 7 * DAY_S;
/// No hour is judged before a week has been seen, and no day before the same day of the week was.
const LEARNING_S: i64 = WEEK_S;
const LEARNING_DAYS_S: i64 = WEEK_S + DAY_S;
/// Weeks back to which a day is compared with the same day of the week.
const WEEKS: i64 = 4;
const REFERENCE_S: i64 = 28 * DAY_S;
/// Daily averages, an hour apart, that a median needs at least.
const REFERENCES_MIN: usize = 20;
/// Robust standard deviations at which a day is abnormal. On the two series this was tried on, 3.0 to 4.0 find the same.
const SHIFT_LIMIT: f64 = 3.5;
/// The part of the range seen so far by which an hour must leave it.
const UNSEEN_LIMIT: f64 = 0.25;
/// A standard deviation is taken as at least this part of the range seen, or a sensor that stood still would alarm at
/// its first stir.
const SPREAD_MIN: f64 = 0.01;
/// A median absolute deviation times this is a normal distribution's standard deviation.
const DEVIATION: f64 = 1.4826;
/// The part of a day that must have been measured for its average to count.
const COVERED: f64 = 0.6;
/// The score below which an episode quietens, and how long it must stay there.
const QUIET: f64 = 0.5;
const QUIET_S: i64 = DAY_S;
/// How many times worse than at the last alarm an episode must become to be told again.
const WORSE: f64 = 1.5;
/// Loggers' clocks are set back, by an hour each autumn; until the old time is reached again, time stands still.
const CLOCK_SET_BACK_S: i64 = 2 * HOUR_S;
/// Intervals between readings that are looked at to learn the usual one.
const INTERVALS: usize = 100;

/// A reading; seconds since 1970, in whatever time zone the table is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading<'a> {
    pub time: &'a str,
    pub second: i64,
    pub value: f64,
}

/// What an alarm was raised for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Shifted,
    Unseen,
}

/// An alarm, by the place of its reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    pub reading: usize,
    pub kind: Kind,
    pub score: f64,
}

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let readings = read(input)?;
        let alarms = alarms(&readings);
        let mut output = String::from("time,kind,score,value\n");
        for alarm in &alarms {
            let reading = readings[alarm.reading];
            let kind = match alarm.kind {
                Kind::Shifted => "shifted",
                Kind::Unseen => "unseen",
            };
            let (score, value) = (text::fixed(alarm.score, 2), text::fixed(reading.value, 3));
            output.push_str(&format!("{},{kind},{score},{value}\n", reading.time));
        }
        let days = (readings[readings.len() - 1].second - readings[0].second) as f64 / DAY_S as f64;
        output.push_str(&format!(
            "# readings={} days={} alarms={}\n",
            readings.len(),
            text::fixed(days, 2),
            alarms.len()
        ));
        Ok(output.into_bytes())
    })
}

/// Reads a table with a heading that names `timestamp` (`2013-12-02 21:15:00`) and `value`, oldest reading first. What
/// [`crate::anomaly`] reads, with `time` and `temperature`, is understood as well.
pub fn read(input: &[u8]) -> Result<Vec<Reading<'_>>, String> {
    let lines = text::lines(input)?;
    let (heading, rows) = lines.split_first().ok_or("the input is empty; give a table with a heading")?;
    let [time, value] = match text::columns(heading.1, ["timestamp", "value"]) {
        Ok(columns) => columns,
        Err(missing) => text::columns(heading.1, ["time", "temperature"]).map_err(|_| missing)?,
    };
    if rows.is_empty() || rows.len() > READINGS_MAX {
        return Err(format!("the table has {} rows; wanted: 1 to {READINGS_MAX}", rows.len()));
    }
    let mut readings: Vec<Reading<'_>> = Vec::with_capacity(rows.len());
    for &(number, line) in rows {
        let time = text::field(number, line, time, "timestamp")?;
        let second = seconds(time)
            .ok_or_else(|| format!("line {number}: the timestamp is `{time}`; wanted: like 2013-12-02 21:15:00"))?;
        let last = readings.last().map_or(second, |last| last.second);
        if second < last - CLOCK_SET_BACK_S {
            return Err(format!("line {number}: {time} comes after a later time"));
        }
        let value = text::number(number, line, value, "value")?;
        readings.push(Reading { time, second: second.max(last), value });
    }
    Ok(readings)
}

/// Seconds since 1970 of `YYYY-MM-DD HH:MM` with or without seconds and their fraction.
pub fn seconds(time: &str) -> Option<i64> {
    let (date, clock) = time.split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-')?;
    let clock = clock.split('.').next()?;
    let [hour, minute, second] = match numbers(clock, ':') {
        Some(all) => all,
        None => {
            let [hour, minute] = numbers(clock, ':')?;
            [hour, minute, 0]
        }
    };
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !valid || !(1..=9999).contains(&year) {
        return None;
    }
    // Days of the civil calendar: Hinnant, "chrono-compatible low-level date algorithms". Years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some(days * DAY_S + hour * HOUR_S + minute * 60 + second)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut fields = text.split(separator);
    for number in &mut numbers {
        let field = fields.next()?;
        if field.is_empty() || field.len() > 4 || !field.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = field.parse().ok()?;
    }
    if fields.next().is_some() {
        return None;
    }
    Some(numbers)
}

/// The alarms, in order of time.
pub fn alarms(readings: &[Reading<'_>]) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = Vec::new();
    let mut episode: Option<(i64, f64)> = None;
    for (reading, (score, kind)) in scores(readings).into_iter().enumerate() {
        let second = readings[reading].second;
        match &mut episode {
            Some((loud, worst)) => {
                if score >= QUIET {
                    *loud = second;
                }
                if score >= *worst * WORSE {
                    *worst = score;
                    alarms.push(Alarm { reading, kind, score });
                } else if second - *loud >= QUIET_S {
                    episode = None;
                }
            }
            None if score >= 1.0 => {
                episode = Some((second, score));
                alarms.push(Alarm { reading, kind, score });
            }
            None => {}
        }
    }
    alarms
}

/// How abnormal each reading is, from itself and those before it.
pub fn scores(readings: &[Reading<'_>]) -> Vec<(f64, Kind)> {
    let interval = usual_interval(readings);
    let hours = averages(readings, HOUR_S);
    let days = averages(readings, DAY_S);
    let wanted = COVERED * (DAY_S as f64 / interval as f64);
    let mut scores = Vec::with_capacity(readings.len());
    let (mut seen, mut seen_until) = ((f64::INFINITY, f64::NEG_INFINITY), 0);
    // One daily average an hour, with its time: neighbours say nearly the same.
    let mut references: Vec<(i64, f64)> = Vec::new();
    let (mut shift, mut shift_taken) = (0.0, i64::MIN);
    for (place, reading) in readings.iter().enumerate() {
        // What an hour ago was complete; readings of the hour that is judged are not its own measure.
        while seen_until < place && readings[seen_until].second <= reading.second - HOUR_S {
            let (average, _) = hours[seen_until];
            seen = (seen.0.min(average), seen.1.max(average));
            seen_until += 1;
        }
        let range = (seen.1 - seen.0).max(0.0);
        let learnt = reading.second - readings[0].second >= LEARNING_S;
        if reading.second >= shift_taken.saturating_add(HOUR_S) {
            shift_taken = reading.second;
            let (average, count) = days[place];
            shift = 0.0;
            // The first day's averages are of less than a day, however well it was measured.
            let whole = reading.second - readings[0].second + interval >= DAY_S;
            if whole && count as f64 >= wanted {
                if reading.second - readings[0].second >= LEARNING_DAYS_S {
                    shift = shifted(average, reading.second, &references, SPREAD_MIN * range);
                }
                references.push((reading.second, average));
            }
        }
        let (hour, _) = hours[place];
        let outside = (seen.0 - hour).max(hour - seen.1);
        let unseen = if learnt && range > 0.0 { (outside / (UNSEEN_LIMIT * range)).max(0.0) } else { 0.0 };
        scores.push(if unseen > shift { (unseen, Kind::Unseen) } else { (shift, Kind::Shifted) });
    }
    scores
}

/// How far a day's average is from those of the last weeks. The last day's are left out: they hold the same readings.
fn shifted(average: f64, second: i64, references: &[(i64, f64)], spread_min: f64) -> f64 {
    let from = references.partition_point(|(at, _)| *at < second - REFERENCE_S);
    let until = references.partition_point(|(at, _)| *at <= second - DAY_S);
    if until < from + REFERENCES_MIN {
        return 0.0;
    }
    let mut values: Vec<f64> = references[from..until].iter().map(|(_, value)| *value).collect();
    let level = median(&mut values);
    values.iter_mut().for_each(|value| *value = (*value - level).abs());
    let spread = (DEVIATION * median(&mut values)).max(spread_min);
    let mut weeks: Vec<f64> = (1..=WEEKS).filter_map(|weeks| at(references, second - weeks * WEEK_S)).collect();
    let usual = if weeks.is_empty() { level } else { median(&mut weeks) };
    if spread > 0.0 {
        (average - level).abs().min((average - usual).abs()) / spread / SHIFT_LIMIT
    } else {
        0.0
    }
}

/// The daily average that was taken at about that time.
fn at(references: &[(i64, f64)], second: i64) -> Option<f64> {
    let (taken, average) = *references.get(references.partition_point(|(at, _)| *at < second))?;
    (taken - second <= HOUR_S).then_some(average)
}

fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    *values.select_nth_unstable_by(half, f64::total_cmp).1
}

/// The median of the first intervals between readings, in seconds.
fn usual_interval(readings: &[Reading<'_>]) -> i64 {
    let pairs = readings.windows(2).take(INTERVALS);
    let mut intervals: Vec<i64> = pairs.map(|pair| pair[1].second - pair[0].second).filter(|gap| *gap > 0).collect();
    intervals.sort_unstable();
    intervals.get(intervals.len() / 2).copied().unwrap_or(HOUR_S)
}

/// At each reading the average over the last `span_s` seconds, and how many readings it is of; at least its own.
fn averages(readings: &[Reading<'_>], span_s: i64) -> Vec<(f64, usize)> {
    let mut sums = vec![0.0];
    let mut averages = Vec::with_capacity(readings.len());
    let mut first = 0;
    for (place, reading) in readings.iter().enumerate() {
        sums.push(sums[place] + reading.value);
        while readings[first].second <= reading.second - span_s {
            first += 1;
        }
        let count = place + 1 - first;
        averages.push(((sums[place + 1] - sums[first]) / count as f64, count));
    }
    averages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings an hour apart around 20 with a daily rhythm; `change` alters one by its hour.
    fn series(hours: i64, change: impl Fn(i64, f64) -> f64) -> Vec<Reading<'static>> {
        let value = |hour: i64| {
            20.0 + 3.0 * crate::math::sin(hour as f64 / 24.0 * 2.0 * crate::math::PI) + (hour * 37 % 11) as f64 * 0.1
        };
        (0..hours).map(|hour| Reading { time: "", second: hour * HOUR_S, value: change(hour, value(hour)) }).collect()
    }

    #[test]
    fn a_daily_rhythm_is_no_alarm() {
        assert_eq!(alarms(&series(24 * 60, |_, value| value)), []);
    }

    #[test]
    fn a_weekly_rhythm_is_no_alarm() {
        let weekends = |hour: i64, value: f64| if hour / 24 % 7 >= 5 { value - 8.0 } else { value };

        assert_eq!(alarms(&series(24 * 80, weekends)), []);
    }

    #[test]
    fn a_shift_is_one_alarm_within_a_day_and_a_spike_one_at_once() {
        let shifted = alarms(&series(24 * 40, |hour, value| if hour >= 480 { value + 2.0 } else { value }));
        assert_eq!(shifted.first().map(|alarm| alarm.kind), Some(Kind::Shifted));
        assert!((480..504).contains(&shifted[0].reading), "{shifted:?}");

        let spike = alarms(&series(24 * 40, |hour, value| if hour == 600 { 60.0 } else { value }));
        assert_eq!((spike[0].reading, spike[0].kind, spike.len()), (600, Kind::Unseen, 1));
    }

    #[test]
    fn what_comes_later_changes_no_alarm() {
        let whole = series(24 * 40, |hour, value| if hour >= 480 { value * 1.3 } else { value });
        let all = scores(&whole);

        for end in [150, 481, 490, 700] {
            assert_eq!(scores(&whole[..end]), all[..end]);
        }
    }

    #[test]
    fn a_sensor_that_stands_still_or_is_short_has_no_alarm() {
        assert_eq!(alarms(&series(24 * 30, |_, _| 5.0)), []);
        assert_eq!(alarms(&series(1, |_, value| value)), []);
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("1970-01-01 00:00:00"), Some(0));
        assert_eq!(seconds("2013-12-02 21:15:00"), Some(1_386_018_900));
        assert_eq!(seconds("2013-12-02T21:15"), Some(1_386_018_900));
        assert_eq!(seconds("2012-02-29 00:00:01.000000"), Some(1_330_473_601));
        for wrong in
            ["", "2013-12-02", "2013-13-02 00:00:00", "2013-12-02 25:00:00", "x-y-z a:b:c", "2013-12-02 1:2:3:4"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wrong_input_names_the_place() {
        let error = |text: &str| run(&[], text.as_bytes()).unwrap_err();

        assert!(error("").contains("empty"));
        assert!(error("time,value\n").contains("no column `timestamp`"));
        assert!(error("timestamp,value\n").contains("0 rows"));
        assert_eq!(error("timestamp,value\n2013-12-02 21:15:00,NaN\n"), "line 2: value is `NaN`, not a number");
        assert_eq!(error("timestamp,value\n2013-12-02 21:15:00\n"), "line 2: the column `value` is missing");
        assert!(error("timestamp,value\nyesterday,1\n").contains("line 2: the timestamp is `yesterday`"));
        let backwards = "timestamp,value\n2013-12-02 21:15:00,1\n2013-12-01 21:10:00,1\n";
        assert!(error(backwards).contains("line 3: 2013-12-01 21:10:00 comes after a later time"));
    }
}
