//! The flags that describe a task, for `run` and `explain --dry-run` alike.

use core::time::Duration;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use shoal_protocol::api::{TaskRequest, VariantRequest};
use shoal_protocol::certificate::Role;
use shoal_protocol::task::spec::{CloudUse, Priority};
use shoal_protocol::task::verification::Verify;

use super::inputs::{InputArgument, Inputs, LocalBlob};
use super::module::Module;
use crate::commands::labels::LabelArguments;
use crate::error::Failure;
use crate::format::{parse_bytes, parse_duration, parse_label};

/// What a task reads, what it may use, and where it may run.
#[derive(Debug, clap::Args)]
pub(crate) struct TaskArguments {
    /// Standard input: a file, `-`, or b3:HASH; repeat to have several read one after the other
    #[arg(short, long = "input", value_name = "FILE", value_parser = OsStringValueParser::new().try_map(InputArgument::of))]
    inputs: Vec<InputArgument>,
    #[command(flatten)]
    labels: LabelArguments,
    /// Memory it may use, as in 64Mi
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    mem: Option<u64>,
    /// Time it may run, as in 30s; then it is stopped and has failed
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Bytes it may write to standard output, as in 4Mi
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    output_limit: Option<u64>,
    /// When its answer is wanted, as in 200ms: placement avoids being late, and what was submitted fails when it is
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// Only where the certificate carries this label (KEY=VALUE, repeatable), or only at this peer (NAME)
    #[arg(long, value_name = "KEY=VALUE|PEER")]
    on: Vec<String>,
    /// Only at this peer: a name, an id, or a prefix
    #[arg(long)]
    peer: Option<String>,
    /// Only at peers of this role
    #[arg(long, value_parser = parse_role)]
    role: Option<Role>,
    /// Only at the peer it is submitted to
    #[arg(long, conflicts_with_all = ["peer", "on"])]
    local_only: bool,
    /// Only where every part of the sandbox is in force (see `shoal doctor`)
    #[arg(long)]
    restricted: bool,
    /// Never in the cloud
    #[arg(long, conflicts_with = "cloud")]
    no_cloud: bool,
    /// How cloud peers may be used: fallback (when the edge is full), allow (cost decides), never
    #[arg(long, value_name = "USE", value_parser = parse_cloud)]
    cloud: Option<CloudUse>,
    /// What a millisecond is worth against the quality of the answer
    #[arg(long, value_parser = parse_number)]
    lambda: Option<f64>,
    /// How long it is expected to run on a reference core, in milliseconds; without it earlier runs say
    #[arg(long, value_name = "MS", value_parser = parse_number)]
    expect: Option<f64>,
    /// Attempts after the first where a peer that runs it is lost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=7))]
    retries: Option<u8>,
    /// Which of those that wait it goes before: high, normal or low
    #[arg(long, value_name = "PRIORITY", value_parser = parse_priority)]
    priority: Option<Priority>,
    /// Refused where it would wait longer than this for a core, as in 500ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    start_within: Option<Duration>,
    /// Run it again elsewhere and compare the answers: auto (by what is known of who ran it), sample:P, or quorum:K/N
    #[arg(long, value_name = "HOW", conflicts_with = "variants")]
    verify: Option<Verify>,
    /// Leave the output where it was made, as a blob, and print its name: what reads it next runs near it
    #[arg(long)]
    keep_output: bool,
    /// Declared loss (0 to 1) of the module itself, where it has one; see --variant
    #[arg(long, value_name = "LOSS", default_value_t = 0.0, value_parser = parse_share)]
    loss: f64,
    /// Another build of the module with its declared loss (0 to 1), as measured on data held back; the peers choose
    #[arg(long = "variant", value_name = "NAME=FILE:LOSS", value_parser = VariantArgument::parse)]
    variants: Vec<VariantArgument>,
    /// No build with a smaller accuracy, which is 1 less its declared loss
    #[arg(long, value_name = "SHARE", conflicts_with = "loss_max", value_parser = parse_share)]
    min_accuracy: Option<f64>,
    /// The same said otherwise: no build with a greater declared loss
    #[arg(long, value_name = "LOSS", value_parser = parse_share)]
    loss_max: Option<f64>,
    /// The same key always names the same task, so a repeated command runs it once, whatever else it reads the second time
    #[arg(long, value_name = "KEY", visible_alias = "key")]
    idempotency_key: Option<String>,
}

/// `int8=digit-int8.wasm:0.03`.
#[derive(Debug, Clone, PartialEq)]
struct VariantArgument {
    name: String,
    file: PathBuf,
    loss: f64,
}

impl VariantArgument {
    fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected NAME=FILE:LOSS, as in int8=digit-int8.wasm:0.03";
        let (name, rest) = text.split_once('=').ok_or(EXPECTED)?;
        let (file, loss) = rest.rsplit_once(':').ok_or(EXPECTED)?;
        let loss: f64 = loss.parse().map_err(|_| EXPECTED)?;
        if name.is_empty() || file.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        if !(0.0..=1.0).contains(&loss) {
            return Err("the loss is from 0 (perfect) to 1".to_owned());
        }
        Ok(Self { name: name.to_owned(), file: file.into(), loss })
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, as 0.95".to_owned())
}

/// JSON has no other numbers: what is none of these would be left out, and with it what was asked for.
fn parse_number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0 up, as 1.5".to_owned())
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "edge" => Ok(Role::Edge),
        "cloud" => Ok(Role::Cloud),
        _ => Err("expected edge or cloud".to_owned()),
    }
}

fn parse_priority(text: &str) -> Result<Priority, String> {
    match text {
        "high" => Ok(Priority::High),
        "normal" => Ok(Priority::Normal),
        "low" => Ok(Priority::Low),
        _ => Err("expected high, normal or low".to_owned()),
    }
}

pub(crate) fn parse_cloud(text: &str) -> Result<CloudUse, String> {
    match text {
        "fallback" => Ok(CloudUse::Fallback),
        "allow" => Ok(CloudUse::Allow),
        "never" => Ok(CloudUse::Never),
        _ => Err("expected fallback, allow or never".to_owned()),
    }
}

/// A task ready to be handed in.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) request: TaskRequest,
    /// What it names that is here.
    pub(crate) blobs: Vec<LocalBlob>,
}

impl TaskArguments {
    /// Reads module and inputs and states the request.
    pub(crate) fn prepare(self, module: &str, args: Vec<String>) -> Result<Prepared, Failure> {
        let never = self.no_cloud || self.cloud == Some(CloudUse::Never);
        if self.role == Some(Role::Cloud) && never {
            let what = "`--role cloud` and `--no-cloud` leave no peer that may run it";
            return Err(Failure::usage(what).fix("drop one of them"));
        }
        let main = Module::find(module)?;
        let name = main.name.clone();
        let mut blobs: Vec<LocalBlob> = main.blob.into_iter().collect();
        let main_name = if self.variants.is_empty() { "" } else { "full" };
        let mut variants = vec![VariantRequest { name: main_name.to_owned(), module: main.id, loss: self.loss }];
        for variant in self.variants {
            let build = Module::find(&variant.file.to_string_lossy())?;
            variants.push(VariantRequest { name: variant.name, module: build.id, loss: variant.loss });
            blobs.extend(build.blob);
        }

        let arguments = if self.inputs.is_empty() { InputArgument::implied() } else { self.inputs };
        let inputs = Inputs::read(&arguments)?;
        let said = self.labels.request(None);
        blobs.extend(inputs.blobs.into_iter().map(|blob| blob.labelled(&said)));

        let mut peer = self.peer;
        let mut labels = std::collections::BTreeMap::new();
        for on in self.on {
            match parse_label(&on) {
                Ok((key, value)) => drop(labels.insert(key, value)),
                Err(_) if peer.is_none() && !on.is_empty() => peer = Some(on),
                Err(_) => return Err(Failure::usage(format!("`--on {on}` names a second peer")).fix("name one peer")),
            }
        }
        let request = TaskRequest {
            variants,
            args,
            inputs: inputs.requests,
            memory_bytes: self.mem,
            wall_ms: self.timeout.map(whole_millis),
            output_bytes: self.output_limit,
            deadline_ms: self.deadline.map(whole_millis),
            labels,
            role: self.role,
            cloud: if self.no_cloud { Some(CloudUse::Never) } else { self.cloud },
            local_only: self.local_only,
            restricted: self.restricted,
            peer,
            loss_max: self.loss_max,
            min_accuracy: self.min_accuracy,
            lambda: self.lambda,
            expected_ms: self.expect,
            retries: self.retries,
            priority: self.priority,
            start_within_ms: self.start_within.map(whole_millis),
            verify: self.verify.map(|verify| verify.to_string()),
            keep_output: self.keep_output,
            residency: said.residency,
            class: said.class,
            durable: 0,
            retention_ms: None,
            idempotency_key: self.idempotency_key,
            submitter: None,
            wait: false,
            dry_run: false,
            name,
        };
        Ok(Prepared { request, blobs })
    }
}

/// At least one, so that a tiny limit does not become none.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_name_file_and_loss() {
        let parsed = VariantArgument::parse("int8=a:b.wasm:0.03");
        assert_eq!(parsed, Ok(VariantArgument { name: "int8".into(), file: "a:b.wasm".into(), loss: 0.03 }));
        for wrong in ["", "int8", "int8=a.wasm", "=a.wasm:0", "int8=:0", "int8=a.wasm:2", "int8=a.wasm:nan"] {
            assert!(VariantArgument::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_refused() {
        assert_eq!(parse_number("1e3"), Ok(1_000.0));
        for wrong in ["nan", "inf", "-inf", "-1", "", "x"] {
            assert!(parse_number(wrong).is_err(), "{wrong}");
        }
    }
}
