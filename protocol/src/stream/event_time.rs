//! When a record happened, as the record itself says.

use serde::{Deserialize, Serialize};

/// Records from further in the future than this are not believed: one of them would make all others late.
const FUTURE_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// Where a record has its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTime {
    /// A field of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// A column of a line separated by commas, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What it counts since 1970.
    #[serde(default)]
    pub unit: TimeUnit,
}

/// What a time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    #[default]
    Ms,
}

impl EventTime {
    /// Milliseconds since 1970, if the record says so in a way that can be believed.
    pub fn of(&self, record: &[u8], arrival_ms: u64) -> Option<u64> {
        let value = match (&self.field, self.column) {
            (Some(field), _) => number_of_field(record, field)?,
            (None, Some(column)) => number_of_column(record, column)?,
            (None, None) => return None,
        };
        let ms = match self.unit {
            TimeUnit::S => value * 1_000.0,
            TimeUnit::Ms => value,
        };
        let latest = arrival_ms.saturating_add(FUTURE_MAX_MS);
        // NaN is in no range. Whole milliseconds of this century are exact in a double.
        (0.0..=latest as f64).contains(&ms).then_some(ms as u64)
    }
}

fn number_of_field(record: &[u8], field: &str) -> Option<f64> {
    let value: serde_json::Value = serde_json::from_slice(record).ok()?;
    value.get(field)?.as_f64()
}

fn number_of_column(record: &[u8], column: u32) -> Option<f64> {
    let index = usize::try_from(column.checked_sub(1)?).ok()?;
    let text = core::str::from_utf8(record.split(|byte| *byte == b',').nth(index)?).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: Option<&str>, column: Option<u32>, unit: TimeUnit, record: &str, expected: Option<u64>) {
        let event_time = EventTime { field: field.map(Into::into), column, unit };

        assert_eq!(event_time.of(record.as_bytes(), 1_700_000_000_000), expected, "{record}");
    }

    #[test]
    fn a_time_is_read_from_a_field_or_a_column() {
        check(Some("t"), None, TimeUnit::Ms, r#"{"t": 1500, "v": 2}"#, Some(1_500));
        check(Some("t"), None, TimeUnit::S, r#"{"t": 1.5}"#, Some(1_500));
        check(None, Some(2), TimeUnit::S, "a, 12 ,b", Some(12_000));
    }

    #[test]
    fn what_cannot_be_a_time_is_none() {
        check(Some("t"), None, TimeUnit::Ms, r#"{"t": "noon"}"#, None);
        check(Some("t"), None, TimeUnit::Ms, r#"{"t": -1}"#, None);
        check(Some("t"), None, TimeUnit::Ms, "no JSON", None);
        check(Some("t"), None, TimeUnit::Ms, r#"{"t": 1e300}"#, None);
        check(None, Some(3), TimeUnit::S, "a,b", None);
        check(None, Some(1), TimeUnit::S, "NaN", None);
        check(None, Some(0), TimeUnit::S, "1", None);
    }
}
