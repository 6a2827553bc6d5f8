//! The flags that say what data is, for everything that hands some in.

use core::time::Duration;

use shoal_protocol::api::LabelsRequest;

/// Where data may be, and what it is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LabelArguments {
    /// Only where this may be: regions (eu) and sites (site:street-9), with commas, as certificates say it
    #[arg(long, value_name = "PLACES", value_delimiter = ',')]
    residency: Vec<String>,
    /// What kind of data it is, as in personal; what is made of it is of that kind too, and business rules know it by the first
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    class: Vec<String>,
}

impl LabelArguments {
    /// As the API has it.
    pub(crate) fn request(self, ttl: Option<Duration>) -> LabelsRequest {
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        LabelsRequest { residency: self.residency, class: self.class, ttl_ms }
    }
}
