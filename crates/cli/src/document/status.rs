//! How a cluster is, as a document that programs may rely on and a page that people read.

use super::slots::some_of_owned;
use crate::called::called;
use crate::failure::ToldAlready;
use crate::output::{columns_within, width};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use valkeeper_model::{
    ClusterName, Condition, InstanceName, InstanceReport, Mode, Phase, Progress, ReplicaModeReport,
    ReplicaModeStage, Report, Role, SentinelReport, ShardReport, Waiting, ZoneName,
};
use valkeeper_plan::view::causes::{self, Cause};

/// `status -o json`. Fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) cluster: ClusterName,
    pub(crate) mode: Mode,
    /// In a mode without slots: the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_primary: Option<InstanceName>,
    pub(crate) phase: Phase,
    pub(crate) healthy: bool,
    pub(crate) supervisor_pid: Option<u32>,
    /// Where the supervisor serves metrics, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) shards: Vec<ShardReport>,
    pub(crate) instances: Vec<InstanceReport>,
    /// The Sentinels, in mode sentinel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sentinels: Vec<SentinelReport>,
    pub(crate) waiting: Vec<WaitingFor>,
    pub(crate) conditions: Vec<Condition>,
    /// Of a cluster that follows another, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replica_mode: Option<Box<ReplicaModeReport>>,
    /// Long work under way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) progress: Vec<Progress>,
    /// Zones in which no instance is placed, by the user's wish.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) cordoned_zones: BTreeSet<ZoneName>,
    /// On Kubernetes: who looks after it instead of a supervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operator: Option<OperatorSeen>,
    /// On Kubernetes: why the object's spec is not what is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// Who looks after clusters on Kubernetes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub(crate) enum OperatorSeen {
    /// This one.
    Acts { name: String },
    /// None does.
    Absent { since: Option<String> },
    /// That may not be known.
    Unknown,
}

/// A reason, with the same in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WaitingFor {
    #[serde(flatten)]
    pub(crate) what: Waiting,
    pub(crate) message: String,
    /// It follows from the last reason before it that follows from none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) follows: bool,
}

impl WaitingFor {
    fn of(cause: Cause) -> Vec<Self> {
        let told = |what: Waiting, follows| Self { message: what.told(called()), what, follows };
        let effects = cause.effects.into_iter().map(|effect| told(effect, true));
        [told(cause.waiting, false)].into_iter().chain(effects).collect()
    }
}

/// Effects of a cause that are told; the others are counted.
const EFFECTS: usize = 3;
/// Causes that fit into a line.
const CAUSES: usize = 3;

/// A reason that follows from no other, with what follows from it.
pub(crate) struct CauseTold<'a> {
    pub(crate) message: &'a String,
    effects: Vec<&'a str>,
}

impl CauseTold<'_> {
    fn consequences(&self) -> Option<String> {
        let mut told: Vec<String> =
            self.effects.iter().take(EFFECTS).map(|text| (*text).to_owned()).collect();
        match self.effects.len().saturating_sub(EFFECTS) {
            0 => {}
            more => told.push(format!("and {more} more")),
        }
        (!told.is_empty()).then(|| told.join("; "))
    }
}

impl Status {
    /// What lies behind all that is not as it should be, each with what follows from it.
    pub(crate) fn causes(&self) -> Vec<CauseTold<'_>> {
        let mut causes: Vec<CauseTold<'_>> = Vec::new();
        for waiting in &self.waiting {
            match causes.last_mut().filter(|_| waiting.follows) {
                Some(cause) => cause.effects.push(&waiting.message),
                None => causes.push(CauseTold { message: &waiting.message, effects: Vec::new() }),
            }
        }
        causes
    }

    /// The same for an error, which is one line.
    pub(crate) fn causes_in_a_line(&self) -> String {
        let causes = self.causes();
        let told: Vec<&str> = causes.iter().take(CAUSES).map(|cause| cause.message.as_str()).collect();
        match causes.len().saturating_sub(CAUSES) {
            0 if told.is_empty() => "nothing was seen of it yet".to_owned(),
            0 => told.join("; "),
            more => format!("{}; and {more} more", told.join("; ")),
        }
    }

    /// The exit code says whether it is healthy.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        // A user has stopped it.
        if self.healthy || self.phase == Phase::Hibernated { Ok(()) } else { Err(ToldAlready(1).into()) }
    }

    /// By a report, which says it all but for who looks after the cluster.
    pub(crate) fn new(cluster: ClusterName, report: Report, supervisor_pid: Option<u32>) -> Self {
        let causes = causes::of(&report);
        let conditions = valkeeper_model::conditions(&report, &[], called());
        Self {
            cluster,
            mode: report.mode,
            current_primary: match report.mode {
                Mode::Cluster => None,
                Mode::Standalone | Mode::Sentinel => report.current_primary().cloned(),
            },
            phase: report.phase,
            healthy: report.healthy,
            supervisor_pid,
            metrics: None,
            shards: report.shards,
            instances: report.instances,
            sentinels: report.sentinels,
            waiting: causes.into_iter().flat_map(WaitingFor::of).collect(),
            conditions,
            replica_mode: report.replica_mode,
            progress: report.progress,
            cordoned_zones: report.cordoned_zones,
            operator: None,
            refused: None,
        }
    }

    /// For people.
    pub(crate) fn page(&self) -> String {
        self.page_within(width())
    }

    /// The same on so many columns.
    pub(crate) fn page_within(&self, columns: Option<usize>) -> String {
        let keeper = match (&self.operator, self.supervisor_pid) {
            (Some(OperatorSeen::Acts { name }), _) => format!("operator {name}"),
            (Some(OperatorSeen::Absent { .. }), _) => "no operator".to_owned(),
            (Some(OperatorSeen::Unknown), _) => "on Kubernetes".to_owned(),
            (None, Some(pid)) => format!("supervisor {pid}"),
            (None, None) => "no supervisor".to_owned(),
        };
        let health = match (self.phase, self.healthy) {
            (Phase::Hibernating, _) => "being stopped, to hibernate",
            (Phase::Hibernated, _) => "hibernated, its data is kept",
            (_, true) => "healthy",
            (_, false) => "not healthy",
        };
        let phase = match self.phase {
            Phase::Healthy | Phase::Hibernating | Phase::Hibernated => String::new(),
            other => format!(" ({})", format!("{other:?}").to_lowercase()),
        };
        let mut page = format!("cluster {}: {health}{phase}, {keeper}\n\n", self.cluster);
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let head = ["SHARD", "INSTANCE", "ROLE", "ZONE", "ADDRESS", "SLOTS", "LAG", "VERSION", "PID"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for shard in &self.shards {
            let mut members: Vec<&InstanceReport> =
                self.instances.iter().filter(|i| i.shard == shard.name).collect();
            members.sort_by_key(|instance| (instance.role != Some(Role::Primary), &instance.name));
            for instance in members {
                let serving = shard.primary.as_ref() == Some(&instance.name);
                let role = match (instance.fenced, instance.role, instance.pid) {
                    (true, _, None) => "fenced".to_owned(),
                    (_, Some(role), _) => role.to_string(),
                    (_, None, Some(_)) => "unknown".to_owned(),
                    (_, None, None) => "down".to_owned(),
                };
                rows.push(vec![
                    shard.name.to_string(),
                    instance.name.to_string(),
                    role,
                    instance.zone.to_string(),
                    cell(instance.address.clone()),
                    if serving { some_of_owned(&shard.slots) } else { "-".to_owned() },
                    cell(instance.lag_bytes.map(|bytes| format!("{bytes} B"))),
                    cell(instance.version.clone()),
                    cell(instance.pid.map(|pid| pid.to_string())),
                ]);
            }
        }
        // There is one shard without slots: neither tells anything.
        if !self.mode.has_slots() {
            for row in &mut rows {
                row.remove(5);
                row.remove(0);
            }
        }
        if let Some(replica_mode) = &self.replica_mode {
            page.push_str(&followed(replica_mode));
        }
        page.push_str(&columns_within(rows, columns, &["VERSION", "PID", "LAG", "ZONE"]));
        if !self.sentinels.is_empty() {
            page.push('\n');
            page.push_str(&columns_within(self.sentinel_rows(), columns, &["ZONE"]));
        }
        if !self.progress.is_empty() {
            page.push_str("\nunder way:\n");
            for progress in &self.progress {
                let _ = writeln!(page, "  - {progress}");
            }
        }
        if !self.cordoned_zones.is_empty() {
            let zones: Vec<&str> = self.cordoned_zones.iter().map(ZoneName::as_str).collect();
            let _ =
                writeln!(page, "\ncordoned zones: {} (`{} zone uncordon ZONE`)", zones.join(", "), called());
        }
        if let Some(why) = &self.refused {
            let _ = writeln!(page, "\nits new spec is not followed: {why}");
        }
        if !self.waiting.is_empty() {
            page.push_str(if self.healthy { "\nnot yet as it should be:\n" } else { "\nwaiting for:\n" });
            for cause in self.causes() {
                let _ = writeln!(page, "  - {}", cause.message);
                if let Some(consequences) = cause.consequences() {
                    let _ = writeln!(page, "      so: {consequences}");
                }
            }
        }
        page
    }
}

impl Status {
    fn sentinel_rows(&self) -> Vec<Vec<String>> {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let head = ["SENTINEL", "ZONE", "ADDRESS", "LEADS TO"].map(str::to_owned).to_vec();
        let rows = self.sentinels.iter().map(|one| {
            let SentinelReport { name, zone, address, leads_to } = one;
            // The server's name says more than where it answers.
            let to = leads_to.as_ref().map(|place| {
                let server = self.instances.iter().find(|server| server.address.as_ref() == Some(place));
                server.map_or_else(|| place.clone(), |server| server.name.to_string())
            });
            vec![name.to_string(), zone.to_string(), cell(address.clone()), cell(to)]
        });
        [head].into_iter().chain(rows).collect()
    }
}

/// What is followed, and how far behind the designated member is.
fn followed(mode: &ReplicaModeReport) -> String {
    let told = mode.condition().message;
    if matches!(mode.stage, ReplicaModeStage::Promoted { .. }) {
        let token = mode.token.as_ref().map_or_else(String::new, |token| {
            format!("token of the promotion, for spec.replicaMode.token of the cluster that is to follow:\n  {token}\n")
        });
        return format!("{told}\n{token}\n");
    }
    let designated = mode.designated.as_ref().map_or("none yet", InstanceName::as_str);
    let lag = match (mode.lag_bytes, mode.lag_age_ms) {
        (Some(bytes), Some(ms)) => {
            format!("{bytes} bytes behind, seen {}.{} s ago", ms / 1_000, ms % 1_000 / 100)
        }
        (None, Some(ms)) => format!("not in its history, seen {}.{} s ago", ms / 1_000, ms % 1_000 / 100),
        (_, None) => "the source was not seen yet".to_owned(),
    };
    format!("{told}\ndesignated leader: {designated}; {lag}\n\n")
}
