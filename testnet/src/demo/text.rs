//! The report as people read it.

use std::fmt::{self, Display, Formatter};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use shoal_protocol::placement::explain::Candidate;

use super::board::Place;
use super::decisions::{Told, winner};
use super::percentiles::Latency;
use super::report::{Fault, Phase, Report};
use crate::cluster::Network;

/// What the peers talk over.
pub(super) fn network(network: &Network) -> String {
    match network {
        Network::Emulated => "on emulated links".into(),
        Network::Loopback { because: None } => "on loopback: no delay, no limits, so distances decide nothing".into(),
        Network::Loopback { because: Some(why) } => format!("on loopback, because {why}: distances decide nothing"),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let all: usize = self.phases.iter().map(|phase| phase.tasks).sum();
        let right: usize = self.phases.iter().map(|phase| phase.right).sum();
        writeln!(f, "{right} of {all} answers right, in {:.1} s, {}", self.wall_s, network(&self.network))?;
        for role in ["cloud", "edge"] {
            let mut peers = self.peers.iter().filter(|peer| peer.role == role);
            let count = peers.clone().count();
            if let Some(peer) = peers.next() {
                let (cores, slowdown) = (peer.cores, peer.slowdown);
                writeln!(
                    f,
                    "  {count} {role} peers of {cores} slot{}, made {slowdown} times slower than this machine",
                    if cores == 1 { "" } else { "s" }
                )?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "  ! {failure}")?;
        }
        self.users(f)?;
        self.decisions(f)?;
        if let Some(fault) = &self.fault {
            writeln!(f, "\nThe fault\n  {}", fault_told(fault))?;
        }
        self.comparison(f)?;
        self.axes(f)?;
        self.goals(f)
    }
}

impl Report {
    fn users(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe five users, on the mesh")?;
        let mut table = table([
            "USER",
            "AT",
            "TASKS",
            "RIGHT",
            "HOME",
            "NEIGHBOUR",
            "CLOUD",
            "P50",
            "P99",
            "IN TIME",
            "MOVED",
            "VARIANTS",
        ]);
        for user in &self.users {
            let variants: Vec<String> = user.variants.iter().map(|(name, count)| format!("{count} {name}")).collect();
            table.add_row([
                user.user.to_owned(),
                user.home.clone(),
                user.tasks.to_string(),
                user.right.to_string(),
                percent(user.home_percent),
                percent(user.neighbour_percent),
                percent(user.cloud_percent),
                ms(user.latency, |latency| latency.p50_ms),
                ms(user.latency, |latency| latency.p99_ms),
                format!("{} in {:.0} ms", percent(user.in_time_percent), user.deadline_ms),
                bytes(user.moved_bytes),
                variants.join(", "),
            ]);
        }
        show(f, table, &[0, 1, 9, 11])
    }

    fn decisions(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWhy there: one decision of each kind (cost = loss + wait + transfer + compute, in ms)")?;
        for told in &self.decisions {
            decision(f, told)?;
        }
        for place in [Place::Home, Place::Neighbour, Place::Cloud] {
            if !self.decisions.iter().any(|told| told.place == place) {
                writeln!(f, "  {}: nothing ran there", place_name(place))?;
            }
        }
        Ok(())
    }

    fn comparison(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe same work, side by side")?;
        let mut table = table([
            "",
            "RIGHT",
            "LOST",
            "MEAN",
            "P50",
            "P99",
            "MAX",
            "IN TIME",
            "EDGE",
            "CLOUD",
            "DATA OVER WAN",
            "ON THE WAN",
            "CPU",
            "TIME",
        ]);
        for phase in &self.phases {
            table.add_row([
                phase.mode.to_string(),
                format!("{}/{}", phase.right, phase.tasks),
                (phase.lost + phase.failed).to_string(),
                ms(phase.latency, |latency| latency.mean_ms),
                ms(phase.latency, |latency| latency.p50_ms),
                ms(phase.latency, |latency| latency.p99_ms),
                ms(phase.latency, |latency| latency.max_ms),
                percent(phase.in_time_percent),
                percent(phase.edge_percent),
                percent(phase.cloud_percent),
                bytes(phase.wan_bytes),
                phase.used.wan_wire_bytes.map_or_else(|| "-".into(), bytes),
                phase.used.cpu_s.map_or_else(|| "-".into(), |cpu_s| format!("{cpu_s:.1} s")),
                format!("{:.1} s", phase.wall_s),
            ]);
        }
        show(f, table, &[0])?;
        writeln!(f, "  DATA is inputs and outputs; ON THE WAN is every packet between edge and cloud, both ways.")?;
        if self.fault.is_some() && self.phases.len() > 1 {
            writeln!(f, "  Only the mesh had a peer killed meanwhile.")?;
        }
        Ok(())
    }

    fn axes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let axes = &self.axes;
        writeln!(f, "\nBy the six axes, as measured here on the mesh")?;
        let wire = self.phases.first().and_then(|phase: &Phase| phase.used.wan_wire_bytes);
        let wire = wire.map_or_else(String::new, |wire| format!(", {} on the WAN", bytes(wire)));
        writeln!(
            f,
            "  data processing   {:.0} tasks/s ({:.0} in the rush), {} read and written{wire}",
            axes.tasks_per_s,
            axes.rush_tasks_per_s,
            bytes(axes.processed_bytes)
        )?;
        let cpu = axes.cpu_percent.map_or_else(String::new, |cpu| format!("; {cpu:.0} % of this machine's CPU"));
        writeln!(
            f,
            "  resources         slots held by runs: edge {}, cloud {}{cpu}",
            percent(axes.edge_busy_percent),
            percent(axes.cloud_busy_percent)
        )?;
        let recovery = match (&self.fault, axes.recovery_ms) {
            (None, _) => "no peer was killed".into(),
            (Some(_), Some(ms)) => format!("recovered in {:.2} s", ms / 1_000.0),
            (Some(fault), None) if fault.held == 0 => "the killed peer held nothing".into(),
            (Some(_), None) => "not recovered".into(),
        };
        let twice = self.phases.iter().map(|phase| phase.twice).sum::<Option<usize>>();
        let twice = twice.map_or_else(|| "twice: not watched throughout".into(), |twice| format!("{twice} twice"));
        writeln!(
            f,
            "  stability         {recovery}; {} lost, {twice}",
            self.phases.iter().map(|p| p.lost).sum::<usize>()
        )?;
        let figure = |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms"));
        writeln!(
            f,
            "  user experience   p50 {}, p99 {}, {} within the deadline",
            figure(axes.p50_ms),
            figure(axes.p99_ms),
            percent(axes.in_time_percent)
        )?;
        let stranger = match &axes.stranger {
            Some(stranger) => format!(
                "a peer with another mesh's certificate: refused by {} of {}, known to {}",
                stranger.refused_by, stranger.tried, stranger.admitted_by
            ),
            None => "no stranger could be started".into(),
        };
        writeln!(f, "  security          {stranger}; links are QUIC, which has no clear-text form")?;
        writeln!(f, "  scalability       not measured with {} peers; the simulator's tests do", self.peers.len())
    }

    fn goals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nHeld to")?;
        for goal in &self.goals {
            let measured = goal.measured.map_or_else(|| "not measured".into(), |is| format!("{is:.2} {}", goal.unit));
            let verdict = if goal.met { "met" } else { "MISSED" };
            writeln!(f, "  {verdict:6}  {}: {measured} of at most {} {}", goal.what, goal.at_most, goal.unit)?;
        }
        let verdict = if self.ok { "met" } else { "MISSED" };
        writeln!(f, "  {verdict:6}  every answer right, none lost, none twice")
    }
}

fn decision(f: &mut Formatter<'_>, told: &Told) -> fmt::Result {
    let decision = &told.decision;
    let at = winner(decision).map_or_else(|| "nowhere".into(), |winner| winner.name.clone());
    let how = match told.place {
        Place::Home => format!("stayed at {at}"),
        Place::Neighbour => format!("went to the neighbour {at}"),
        Place::Cloud => format!("went to the cloud, {at}"),
    };
    writeln!(f, "  {} {} ({}, {}) {how}", told.user, told.number, told.kind, told.about)?;
    let mut priced: Vec<&Candidate> = decision.candidates.iter().filter(|c| c.cost.is_some()).collect();
    let winner = winner(decision).map(|winner| winner.peer);
    priced.sort_by(|a, b| total(a).total_cmp(&total(b)));
    // The winner, home and the best of the others say it all.
    priced.sort_by_key(|candidate| (Some(candidate.peer) != winner, candidate.name != told.home));
    for candidate in priced.iter().take(3) {
        let Some(cost) = candidate.cost else { continue };
        let note = match candidate.note.as_str() {
            "" => String::new(),
            note => format!("  ({note})"),
        };
        let mark = if Some(candidate.peer) == winner { "→" } else { " " };
        writeln!(
            f,
            "    {mark} {:8} {:6.1} = {:.1} + {:.1} + {:.1} + {:.1}{note}",
            candidate.name,
            cost.total(),
            cost.loss,
            cost.wait,
            cost.transfer,
            cost.compute,
        )?;
    }
    match decision.counterfactuals.first() {
        Some(sentence) => writeln!(f, "      what would change it: {sentence}"),
        None => Ok(()),
    }
}

fn total(candidate: &Candidate) -> f64 {
    candidate.cost.map_or(f64::INFINITY, |cost| cost.total())
}

fn fault_told(fault: &Fault) -> String {
    let recovery = match fault.recovery_ms {
        Some(ms) => format!("all {} have their answer {:.2} s after the kill", fault.held, ms / 1_000.0),
        None if fault.held == 0 => "it held none, so nothing had to recover".into(),
        None => format!("{} of {} have an answer", fault.answered, fault.held),
    };
    format!(
        "{} was killed (-9) at {:.1} s while it ran {} tasks and held {} in all: {recovery}.\n  \
         Its neighbours knew after {:.2} s; {} tasks were placed again; started again, it was back in {:.2} s and ran {} until the end.",
        fault.peer,
        fault.killed_at_s,
        fault.running,
        fault.held,
        fault.noticed_ms / 1_000.0,
        fault.placed_again,
        fault.returned_in_ms / 1_000.0,
        fault.ran_after_return,
    )
}

fn place_name(place: Place) -> &'static str {
    match place {
        Place::Home => "home",
        Place::Neighbour => "neighbour",
        Place::Cloud => "cloud",
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

/// Indented, numbers to the right, columns of text to the left, nothing at the ends of lines.
fn show(f: &mut Formatter<'_>, mut table: Table, text: &[usize]) -> fmt::Result {
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if text.contains(&index) { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
    }
    for line in table.to_string().lines() {
        writeln!(f, " {}", line.trim_end())?;
    }
    Ok(())
}

fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

fn ms(latency: Option<Latency>, figure: fn(&Latency) -> f64) -> String {
    latency.map_or_else(|| "-".into(), |latency| format!("{:.0} ms", figure(&latency)))
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
