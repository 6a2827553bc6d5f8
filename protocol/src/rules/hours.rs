//! Hours of the week, as people write them: `mon-fri 07:00-10:00`.
//!
//! **Invariant:** pure numbers; what time it is comes in.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Spans of one condition: more are a calendar, not a rule.
pub const SPANS_MAX: usize = 16;

const DAY_MIN: u16 = 24 * 60;
const WEEK_MIN: i64 = 7 * DAY_MIN as i64;
/// 1970 began on a Thursday, three days after a Monday.
const EPOCH_MIN: i64 = 3 * DAY_MIN as i64;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;

/// When something holds: in any of these spans; never where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hours(pub Vec<Span>);

/// The same hours of some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// A bit for each day on which it begins, from Monday.
    #[serde(rename = "d")]
    days: u8,
    /// Minutes after midnight.
    #[serde(rename = "f")]
    from_min: u16,
    /// The same; where it is not after the beginning, of the next day.
    #[serde(rename = "t")]
    to_min: u16,
}

/// The minute of the week, counted from Monday's midnight, where clocks are so far ahead of UTC.
pub fn minute_of_week(unix_s: u64, utc_offset_min: i16) -> u16 {
    let minutes = i64::try_from(unix_s / 60).unwrap_or_default().saturating_add(i64::from(utc_offset_min));
    // Less than a week fits.
    u16::try_from(minutes.saturating_add(EPOCH_MIN).rem_euclid(WEEK_MIN)).unwrap_or_default()
}

impl Hours {
    /// Whether it holds in this minute of the week.
    pub fn contains(&self, minute_of_week: u16) -> bool {
        self.0.iter().any(|span| span.contains(minute_of_week))
    }

    /// Whether it can be meant: not too many spans, each within a day.
    pub(super) fn is_sound(&self) -> bool {
        let is_sound = |span: &Span| {
            span.days & ALL_DAYS != 0 && span.days <= ALL_DAYS && span.from_min < DAY_MIN && span.to_min <= DAY_MIN
        };
        self.0.len() <= SPANS_MAX && self.0.iter().all(is_sound)
    }
}

impl Span {
    fn contains(&self, minute_of_week: u16) -> bool {
        let (day, minute) = (minute_of_week / DAY_MIN % 7, minute_of_week % DAY_MIN);
        let begins_on = |day: u16| self.days & (1 << day) != 0;
        if self.from_min < self.to_min {
            return begins_on(day) && (self.from_min..self.to_min).contains(&minute);
        }
        begins_on(day) && minute >= self.from_min || begins_on((day + 6) % 7) && minute < self.to_min
    }
}

// ── In words ────────────────────────────────────────────────────────────────────────────────────────────────────────

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole_day = Self { days: ALL_DAYS, from_min: 0, to_min: DAY_MIN };
        let mut words = text.split_whitespace();
        let span = match (words.next(), words.next(), words.next()) {
            (Some(days), None, None) if days.starts_with(char::is_alphabetic) => {
                Self { days: parse_days(days)?, ..whole_day }
            }
            (Some(times), None, None) => whole_day.at(times)?,
            (Some(days), Some(times), None) => Self { days: parse_days(days)?, ..whole_day }.at(times)?,
            _ => return Err(format!("`{text}` is not like \"mon-fri 07:00-10:00\", \"22:00-06:00\" or \"sat,sun\"")),
        };
        Ok(span)
    }
}

impl Span {
    fn at(self, times: &str) -> Result<Self, String> {
        let expected = || format!("`{times}` is not like 07:00-10:00");
        let (from, to) = times.split_once('-').ok_or_else(expected)?;
        let (from_min, to_min) = (parse_time(from).ok_or_else(expected)?, parse_time(to).ok_or_else(expected)?);
        if from_min == to_min || from_min == DAY_MIN {
            return Err(format!("`{times}` is no time at all; leave it out for the whole day"));
        }
        Ok(Self { from_min, to_min, ..self })
    }
}

fn parse_time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2);
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let at = hours * 60 + minutes;
    (minutes < 60 && at <= DAY_MIN).then_some(at)
}

fn parse_days(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| *day == name.to_ascii_lowercase());
        found.ok_or_else(|| format!("`{name}` is not a day; {} are", DAYS.join(", ")))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|after| days |= 1 << ((first + after) % 7));
    }
    Ok(days)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole_day = (self.from_min, self.to_min) == (0, DAY_MIN);
        if self.days != ALL_DAYS || is_whole_day {
            write_days(self.days, f)?;
        }
        if is_whole_day {
            return Ok(());
        }
        let gap = if self.days == ALL_DAYS { "" } else { " " };
        let (from, to) = (self.from_min, self.to_min);
        write!(f, "{gap}{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

fn write_days(days: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = (0..7).filter(|day| days & (1 << day) != 0).peekable();
    let mut comma = "";
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| *next == last + 1) {
            last = next;
        }
        match last - first {
            0 => write!(f, "{comma}{}", DAYS[first])?,
            _ => write!(f, "{comma}{}-{}", DAYS[first], DAYS[last])?,
        }
        comma = ",";
    }
    Ok(())
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, span) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" and ")?;
            }
            write!(f, "{span}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(spans: &[&str]) -> Hours {
        Hours(spans.iter().map(|span| span.parse().unwrap()).collect())
    }

    fn at(day: u16, hour: u16, minute: u16) -> u16 {
        day * DAY_MIN + hour * 60 + minute
    }

    #[test]
    fn a_span_holds_from_its_first_minute_to_before_its_last() {
        let rush = hours(&["mon-fri 07:00-10:00"]);

        let holds = [at(0, 7, 0), at(4, 9, 59)].map(|minute| rush.contains(minute));
        let holds_not = [at(0, 6, 59), at(0, 10, 0), at(5, 8, 0)].map(|minute| rush.contains(minute));

        assert_eq!((holds, holds_not), ([true; 2], [false; 3]));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = hours(&["sun 22:00-06:00"]);

        assert!(night.contains(at(6, 23, 0)) && night.contains(at(0, 5, 59)));
        assert!(!night.contains(at(6, 5, 0)) && !night.contains(at(0, 22, 0)));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["mon-fri 07:00-10:00", "22:00-06:00", "sat-sun", "mon,wed-thu 00:00-24:00", "mon-sun"] {
            let span: Span = text.parse().unwrap();
            let again: Span = span.to_string().parse().unwrap();
            assert_eq!(span, again, "{text} → {span}");
        }
        assert_eq!(hours(&["fri-mon"]), hours(&["mon,fri,sat,sun"]));
    }

    #[test]
    fn what_is_no_time_is_refused_in_words() {
        for (text, why) in [
            ("7:00-10:00", "`7:00-10:00` is not like 07:00-10:00"),
            ("mon 07:00-07:00", "`07:00-07:00` is no time at all; leave it out for the whole day"),
            ("moon", "`moon` is not a day; mon, tue, wed, thu, fri, sat, sun are"),
            ("25:00-26:00", "`25:00-26:00` is not like 07:00-10:00"),
        ] {
            assert_eq!(text.parse::<Span>().unwrap_err(), why);
        }
        assert!("".parse::<Span>().is_err());
    }

    #[test]
    fn the_week_is_that_of_the_calendar() {
        // 2026-11-30 00:00 UTC is a Monday.
        let monday = 1_795_996_800;

        assert_eq!(minute_of_week(monday, 0), 0);
        assert_eq!(minute_of_week(monday, -60), at(6, 23, 0), "an hour behind it is Sunday still");
        assert_eq!(minute_of_week(monday + 3 * 86_400 + 61, 60), at(3, 1, 1));
    }
}
