//! `shoal service deploy`

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use shoal_protocol::service::{Growth, ServiceName, ServiceVersion};
use shoal_protocol::task::spec::{CloudUse, Limits, Policy};

use super::record::with_version;
use super::show::Details;
use super::sign::{Signer, checked, in_force};
use crate::Printer;
use crate::client::Client;
use crate::commands::labels::LabelArguments;
use crate::commands::mesh::files::{self, DataDir};
use crate::commands::task::inputs::with_uploads;
use crate::commands::task::module::Module;
use crate::commands::task::request::parse_cloud;
use crate::error::Failure;
use crate::format::{parse_bytes, parse_duration, parse_label};

/// Deploy a module as the next version of a service, for all calls or for a share of them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service deploy wordcount examples/modules/wordcount.wasm
  shoal service deploy wordcount ./wordcount2.wasm --share 10% --note \"counts words in CJK\"
  shoal service deploy wordcount ./wordcount2.wasm --over 10m

It is called by its name at every peer that hears of it: shoal service call wordcount -i README.md. Only where issuer.key is, or
where this peer's certificate has the label deploy=NAME.")]
pub struct Deploy {
    /// What it is called: a-z, 0-9 and `-`
    name: ServiceName,
    /// A file, a name (wordcount), or b3:HASH
    module: String,
    /// Which share of the calls it gets, as in 10%, until you say otherwise
    #[arg(long, value_name = "SHARE", value_parser = parse_share, conflicts_with = "over")]
    share: Option<u16>,
    /// Its share grows from none to all in this time, as in 10m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    over: Option<Duration>,
    /// Memory that a call may use, as in 64Mi
    #[arg(long, visible_alias = "memory", value_name = "SIZE", value_parser = parse_bytes)]
    mem: Option<u64>,
    /// Time that a call may run, as in 30s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Bytes that a call may write, as in 4Mi
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    output_limit: Option<u64>,
    /// Only where the certificate carries this label; repeat for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    on: Vec<(String, String)>,
    /// How cloud peers may be used: fallback (when the edge is full), allow (cost decides), never
    #[arg(long, value_name = "USE", value_parser = parse_cloud)]
    cloud: Option<CloudUse>,
    #[command(flatten)]
    labels: LabelArguments,
    /// What is new, for whoever looks at its versions
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// Where the keys are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Arguments of the module
    #[arg(last = true)]
    args: Vec<String>,
}

/// Reads `10%`, `0.5%`: thousandths.
pub(super) fn parse_share(text: &str) -> Result<u16, String> {
    const EXPECTED: &str = "expected a share of the calls from 0.1% to 100%, as in 10%";
    let percent: f64 = text.strip_suffix('%').ok_or(EXPECTED)?.trim().parse().map_err(|_| EXPECTED)?;
    let permille = (percent * 10.0).round();
    if (1.0..=1_000.0).contains(&permille) { Ok(permille as u16) } else { Err(EXPECTED.to_owned()) }
}

impl Deploy {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let module = Module::find(&self.module)?;
        let (signer, mesh) = Signer::read(&DataDir::new(self.data_dir.clone()), &self.name)?;
        let held = in_force(client, mesh, &self.name).await?;
        let now_unix_s = files::now_unix_s()?;
        let growth = match (self.share, self.over) {
            (Some(permille), _) => Some(Growth::Fixed { permille }),
            (None, Some(over)) => Some(Growth::Linear { from_unix_s: now_unix_s, over_s: over.as_secs().max(1) }),
            (None, None) => None,
        };
        if growth.is_some() && held.as_ref().is_none_or(|held| held.is_removed()) {
            printer.say("it is the first version, and gets all calls");
        }
        let version = self.version(client, &module, now_unix_s).await?;
        let record = checked(with_version(held.as_ref(), (mesh, &self.name), version, growth, now_unix_s))?;
        let blobs: Vec<_> = module.blob.into_iter().collect();
        let view = with_uploads(client, printer, &blobs, async || signer.hand_in(client, &record).await).await?;
        printer.say(format_args!("→ shoal service call {} -i FILE   → shoal service show {}", self.name, self.name));
        printer.show(&Details(view))
    }

    async fn version(&self, client: &Client, module: &Module, now_unix_s: u64) -> Result<ServiceVersion, Failure> {
        let module_bytes = match &module.blob {
            Some(blob) => blob.bytes(),
            None => client.blob_stat(module.id, true).await?.bytes.unwrap_or_default(),
        };
        let labels = self.labels.clone().request(None);
        let class = labels.class.first().cloned().unwrap_or_default();
        let labels = labels.labels(now_unix_s);
        let labels = labels.map_err(|error| Failure::usage(error.to_string()).fix(error.hint()))?;
        let usual = Limits::default();
        Ok(ServiceVersion {
            number: 0,
            module: module.id,
            module_bytes,
            args: self.args.clone(),
            limits: Limits {
                memory_bytes: self.mem.unwrap_or(usual.memory_bytes),
                wall: self.timeout.unwrap_or(usual.wall),
                output_bytes: self.output_limit.unwrap_or(usual.output_bytes),
            },
            policy: Policy {
                labels: self.on.iter().cloned().collect::<BTreeMap<_, _>>(),
                cloud: self.cloud.unwrap_or_default(),
                ..Policy::default()
            },
            class,
            labels,
            deployed_unix_s: now_unix_s,
            note: self.note.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent() {
        assert_eq!(["10%", "0.1%", "100%", "33.3 %"].map(parse_share), [Ok(100), Ok(1), Ok(1_000), Ok(333)]);
        for text in ["10", "0%", "0.01%", "100.1%", "-1%", "x%", "NaN%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
