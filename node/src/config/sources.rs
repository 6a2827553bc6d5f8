//! Where values come from, weakest first: defaults, files, `SHOAL_*` variables, flags.
//!
//! A variable's name is its key in capitals with `_` or `__` between the parts: `SHOAL_NODE_DATA_DIR` and
//! `SHOAL_NODE__DATA_DIR` both set `node.data_dir`; lists are separated by commas.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{ConfigError, Fault};
use super::settings::{Host, KEYS, Kind, Settings};

/// The origin of a value that nobody has set.
pub(super) const DEFAULT: &str = "default";

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen`, in place of `net.listen`.
    pub listen: Vec<String>,
    /// `--bootstrap`, in place of `net.bootstrap`.
    pub bootstrap: Vec<String>,
    /// `--role`.
    pub role: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--api`.
    pub api: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
}

/// Everything a configuration is made of.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What the defaults depend on.
    pub host: Host,
    /// Files, weakest first.
    pub files: Vec<PathBuf>,
    /// Whether a file that is not there is an error: it was named by a person.
    pub files_required: bool,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// The command line.
    pub flags: Flags,
}

/// The files that are read when none is named, weakest first.
pub fn default_files(host: &Host) -> Vec<PathBuf> {
    let user = match (&host.xdg_config_home, &host.home) {
        (Some(config), _) if config.starts_with('/') => Some(Path::new(config).join("shoal/config.toml")),
        (_, Some(home)) => Some(Path::new(home).join(".config/shoal/config.toml")),
        (_, None) => None,
    };
    std::iter::once(PathBuf::from("/etc/shoal/shoal.toml")).chain(user).collect()
}

/// Variables of ours that are not configuration of the daemon.
const OTHER_VARIABLES: &[&str] = &["SHOAL_API", "SHOAL_CONFIG"];
/// Names at least this alike are taken for the same word mistyped.
const ALIKE: f64 = 0.75;

/// One value from one place.
struct One {
    origin: String,
    key: String,
    value: Value,
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// Lays the sources over each other.
pub(super) fn layer(sources: &Sources) -> Result<Figment, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Settings::defaults(&sources.host)));
    for path in &sources.files {
        match std::fs::read_to_string(path) {
            Ok(_) => figment = figment.merge(Toml::file_exact(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !sources.files_required => {}
            Err(error) => {
                return Err(ConfigError::one(
                    format!("the configuration cannot be read: {error}"),
                    path.display().to_string(),
                    "check the path and the file's mode",
                ));
            }
        }
    }
    for one in from_variables(&sources.variables)?.into_iter().chain(from_flags(&sources.flags)) {
        figment = figment.merge(one);
    }
    Ok(figment)
}

fn from_variables(variables: &[(String, String)]) -> Result<Vec<One>, ConfigError> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("SHOAL_") else { continue };
        if name == "SHOAL_API" && !text.is_empty() {
            found.push(One { origin: name.clone(), key: "api.listen".into(), value: Value::from(text.as_str()) });
        }
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let canonical = rest.replace("__", "_");
        match KEYS.iter().find(|(key, _)| variable_part(key) == canonical) {
            Some((key, kind)) => {
                found.push(One { origin: name.clone(), key: (*key).into(), value: parse(*kind, text) });
            }
            None => faults.extend(unknown_variable(name, &canonical)),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(ConfigError { faults }) }
}

fn variable_part(key: &str) -> String {
    key.replace('.', "_").to_uppercase()
}

/// A variable that looks like ours and is not; others may have their own `SHOAL_…`.
fn unknown_variable(name: &str, canonical: &str) -> Option<Fault> {
    let (likeness, nearest) = KEYS
        .iter()
        .map(|(key, _)| variable_part(key))
        .map(|known| (strsim::normalized_damerau_levenshtein(&known, canonical), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let section = canonical.split('_').next().unwrap_or_default().to_lowercase();
    let ours = KEYS.iter().any(|(key, _)| key.split('.').next() == Some(section.as_str()));
    (ours || likeness >= ALIKE).then(|| Fault {
        what: format!("the variable {name} sets no known key"),
        origin: "the environment".into(),
        fix: format!("did you mean SHOAL_{nearest}? If not, unset it"),
    })
}

/// Text that does not parse stays text, so that the type check names what was expected.
fn parse(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Text => Value::from(text),
        Kind::List => text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().into(),
        Kind::Switch => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        Kind::Number => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| Value::from(text)),
    }
}

fn from_flags(flags: &Flags) -> Vec<One> {
    let one = |flag: &str, key: &str, value: Value| One { origin: format!("flag {flag}"), key: key.into(), value };
    let mut found = Vec::new();
    for (flag, key, list) in
        [("--listen", "net.listen", &flags.listen), ("--bootstrap", "net.bootstrap", &flags.bootstrap)]
    {
        if !list.is_empty() {
            found.push(one(flag, key, Value::from(list.clone())));
        }
    }
    for (flag, key, text) in [
        ("--role", "node.role", &flags.role),
        ("--name", "node.name", &flags.name),
        ("--api", "api.listen", &flags.api),
        ("--data-dir", "node.data_dir", &flags.data_dir),
    ] {
        if let Some(text) = text {
            found.push(one(flag, key, Value::from(text.as_str())));
        }
    }
    found
}

/// Where a value came from, as a person would say it.
pub(super) fn origin(figment: &Figment, key: &str) -> String {
    let Some(metadata) = figment.find_metadata(key) else { return DEFAULT.into() };
    match metadata.source.as_ref().and_then(figment::Source::file_path) {
        Some(path) => match line_of(path, key) {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        },
        None if metadata.source.as_ref().is_some_and(|source| source.code_location().is_some()) => DEFAULT.into(),
        None => metadata.name.to_string(),
    }
}

/// The line a key stands on; inline tables hide theirs.
fn line_of(path: &Path, key: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = header.trim().to_owned();
            if section == key {
                return Some(index + 1);
            }
        } else if let Some((name, _)) = line.split_once('=') {
            let full = if section.is_empty() { name.trim().to_owned() } else { format!("{section}.{}", name.trim()) };
            // `weights = {…}` is as near as one gets to `weights.delay`.
            if full == key || key.strip_prefix(&full).is_some_and(|rest| rest.starts_with('.')) {
                return Some(index + 1);
            }
        }
    }
    None
}

/// Every key that means nothing, with the nearest one that does.
pub(super) fn unknown_keys(figment: &Figment) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Ok(top) = figment.extract::<Dict>() else { return faults };
    for section in top.keys() {
        walk(figment, section, &mut faults);
    }
    faults
}

fn walk(figment: &Figment, path: &str, faults: &mut Vec<Fault>) {
    if KEYS.iter().any(|(key, _)| *key == path) {
        return;
    }
    let is_section = KEYS.iter().any(|(key, _)| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
    let value = figment.find_value(path).ok();
    match (is_section, value.as_ref().and_then(Value::as_dict)) {
        (true, Some(dict)) => {
            for name in dict.keys() {
                walk(figment, &format!("{path}.{name}"), faults);
            }
        }
        // A section given as a plain value: the type check says so.
        (true, None) => {}
        (false, _) => faults.push(Fault {
            what: format!("unknown key `{path}`"),
            origin: origin(figment, path),
            fix: suggestion(path),
        }),
    }
}

fn suggestion(path: &str) -> String {
    let sections: std::collections::BTreeSet<&str> =
        KEYS.iter().flat_map(|(key, _)| key.match_indices('.').filter_map(|(at, _)| key.get(..at))).collect();
    let last = path.rsplit('.').next().unwrap_or(path);
    // `cores` under the wrong section is a full match of its last part.
    let likeness = |known: &str| {
        let part = known.rsplit('.').next().unwrap_or(known);
        strsim::normalized_damerau_levenshtein(known, path)
            .max(0.95 * strsim::normalized_damerau_levenshtein(part, last))
    };
    let nearest = KEYS
        .iter()
        .map(|(key, _)| *key)
        .filter(|_| path.contains('.'))
        .chain(sections.iter().copied().filter(|_| !path.contains('.')))
        .map(|known| (likeness(known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness >= 0.6 => format!("did you mean `{known}`?"),
        Some(_) | None => "remove it; `shoal config show` lists every key there is".into(),
    }
}
