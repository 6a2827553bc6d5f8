//! Sizes, durations and ids, as people write and read them.

use core::time::Duration;

use shoal_protocol::api::LabelsView;
use shoal_protocol::id::TaskId;
use shoal_protocol::output::PeerState;
use shoal_protocol::task::TaskState;
use shoal_protocol::task::report::LimitKind;

use crate::commands::audit::date::utc;

/// Reads `1048576`, `64Ki`, `512Mi`, `1.5Gi`, also `MiB`, `M` (binary, as everywhere in Shoal).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit.trim_end_matches('B').trim_end_matches('i') {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(format!("`{unit}` is not a unit of size: use Ki, Mi or Gi, as in 64Mi")),
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 && value * (factor as f64) < 9e15 => {
            Ok((value * factor as f64) as u64)
        }
        Ok(_) | Err(_) => Err("expected a size such as 64Mi".to_owned()),
    }
}

/// Reads `250ms`, `30s`, `5m`, `1h`, `2d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        "" => return Err(format!("`{text}` has no unit: write {text}s or {text}ms")),
        _ => return Err(format!("`{unit}` is not a unit of time: use ms, s, m, h or d")),
    };
    match number.parse::<f64>() {
        Ok(value) if value >= 0.0 => Duration::try_from_secs_f64(value * seconds).map_err(|error| error.to_string()),
        Ok(_) | Err(_) => Err("expected a duration such as 30s".to_owned()),
    }
}

/// Reads `key=value`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected key=value, as in site=a".to_owned()),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `210M`, `1.1G`, `17B`.
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = scaled(count);
    if unit == "B" { format!("{count}B") } else { format!("{}{unit}", short_number(value)) }
}

/// `210/512M`: both in the unit of the second.
pub(crate) fn used_of(used: u64, total: u64) -> String {
    let (total_scaled, unit) = scaled(total);
    let factor = if total == 0 { 1.0 } else { total as f64 / total_scaled };
    format!("{}/{}{unit}", short_number(used as f64 / factor), short_number(total_scaled))
}

fn scaled(count: u64) -> (f64, &'static str) {
    let value = count as f64;
    match count {
        0..=1023 => (value, "B"),
        1024..=1_048_575 => (value / 1024.0, "K"),
        1_048_576..=1_073_741_823 => (value / 1_048_576.0, "M"),
        _ => (value / 1_073_741_824.0, "G"),
    }
}

/// Two significant digits below ten, whole numbers above.
pub(crate) fn short_number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude < 0.005 {
        "0".to_owned()
    } else if magnitude < 0.095 {
        format!("{value:.2}")
    } else if magnitude < 99.95 && (value * 10.0).round() % 10.0 != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// `430 µs`, `12.3 ms`, `4.2 s`, `3m 20s`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=999_999 => format!("{} ms", short_number(us as f64 / 1e3)),
        1_000_000..=59_999_999 => format!("{} s", short_number(us as f64 / 1e6)),
        60_000_000..=3_599_999_999 => format!("{}m {}s", us / 60_000_000, us / 1_000_000 % 60),
        3_600_000_000..=86_399_999_999 => format!("{}h {}m", us / 3_600_000_000, us / 60_000_000 % 60),
        _ => format!("{}d {}h", us / 86_400_000_000, us / 3_600_000_000 % 24),
    }
}

/// `residency=eu,site:a class=personal until 2026-11-30 12:00:00Z`; nothing where nothing is said.
pub(crate) fn labels(labels: &LabelsView) -> String {
    let residency = labels.residency.as_ref().map(|places| match places.as_slice() {
        [] => "residency=nowhere".to_owned(),
        places => format!("residency={}", places.join(",")),
    });
    let class = (!labels.class.is_empty()).then(|| format!("class={}", labels.class.join(",")));
    let until = labels.expires_unix_s.map(|unix_s| format!("until {}", utc(unix_s.saturating_mul(1_000))));
    [residency, class, until].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Enough of a task's id to tell it from the others a peer remembers; the daemon takes any unique prefix.
pub(crate) fn task(id: TaskId) -> String {
    id.to_string().chars().take(8).collect()
}

pub(crate) fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Accepted => "accepted",
        TaskState::Placing => "placing",
        TaskState::Fetching => "fetching",
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}

pub(crate) fn peer_state(state: PeerState) -> &'static str {
    match state {
        PeerState::Alive => "alive",
        PeerState::Suspect => "suspect",
        PeerState::Dead => "dead",
        PeerState::Left => "left",
    }
}

pub(crate) fn limit(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Memory => "memory",
        LimitKind::Wall => "time",
        LimitKind::Output => "output",
    }
}

/// The names most like the one that was not found, best first.
pub(crate) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const LIKENESS_MIN: f64 = 0.7;
    let mut close: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    close.dedup();
    close.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units() {
        assert_eq!(parse_bytes("1048576"), Ok(1 << 20));
        assert_eq!(parse_bytes("64Mi"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("8 K"), Ok(8192));
        for wrong in ["", "Mi", "-1", "1Q", "1e9", "nan"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("30"), Err("`30` has no unit: write 30s or 30ms".to_owned()));
        for wrong in ["", "s", "-1s", "1y", "99999999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.04, 0.3, 8.1, 12.0, 99.8, 1234.5].map(short_number);
        assert_eq!(shown, ["0", "0.04", "0.3", "8.1", "12", "99.8", "1234"]);
        assert_eq!(used_of(220_200_960, 536_870_912), "210/512M");
        assert_eq!(used_of(0, 0), "0/0B");
        assert_eq!([17, 2048, 1_181_116_006].map(bytes), ["17B", "2K", "1.1G"]);
        assert_eq!([430, 12_300, 4_200_000, 200_000_000].map(micros), ["430 µs", "12.3 ms", "4.2 s", "3m 20s"]);
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(near("wordcont", ["digit", "wordcount", "spin"]), ["wordcount"]);
        assert!(near("zzz", ["digit", "wordcount"]).is_empty());
    }
}
