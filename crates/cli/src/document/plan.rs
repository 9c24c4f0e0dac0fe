//! What a manifest would change.

use crate::output::columns;
use serde::Serialize;
use std::fmt::Write as _;
use valkeeper_engine::RandomIds;
use valkeeper_model::{
    ClusterSpec, DemotionForecast, Instance, InstanceName, Layout, PrimaryUpdate, Refusal, Report,
    RestartPolicy, Role, ShardLife, ShardName, SlotMove, ZoneName,
};
use valkeeper_plan::controller::change::{self, Difference};
use valkeeper_plan::placement::{self, Placing, rebalance};
use valkeeper_plan::replica_mode::{self, OwnData};
use valkeeper_plan::server::config::AboveLimit;

/// `plan -o json`. Fields are added, never changed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    creates: Vec<Creation>,
    /// Instances that leave. Their data is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removes: Vec<Removal>,
    changes: Vec<Difference>,
    /// Slots that go from one shard to another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moves: Vec<SlotsMoved>,
    /// Which instances are restarted for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restarts: Option<Restarts>,
    /// Of a cluster with data of its own that goes over to following another: what it would go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    demotion: Option<DemotionForecast>,
    /// Which servers hold more than the memory limit that is wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) above_limit: Vec<AboveLimit>,
    /// On Kubernetes alone.
    #[serde(flatten)]
    pub(crate) pods: Option<PodPlan>,
}

/// Slots that go from one shard to another while both serve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotsMoved {
    from: ShardName,
    to: ShardName,
    slots: u16,
    /// About how many keys and bytes of memory: their part of what the shard's primary holds; `None` if that was not seen.
    keys: Option<u64>,
    bytes: Option<u64>,
}

impl SlotsMoved {
    fn of(one: &SlotMove, layout: &Layout, report: Option<&Report>) -> Self {
        let (from, to) = (one.target.from.clone(), one.target.to.clone());
        let held = || {
            let report = report?;
            let primary = report.shards.iter().find(|shard| shard.name == from)?.primary.as_ref()?;
            report.instances.iter().find(|one| one.name == *primary)
        };
        let owned = layout.shards.get(&from).map_or(0, |shard| u64::from(shard.slots.len()));
        let slots = one.target.slots.len();
        let part = |all: u64| (all * u64::from(slots)).checked_div(owned);
        let held = held();
        let keys = held.and_then(|one| one.keys);
        // What a server takes without any key is no part of what its slots take.
        let memory = if keys == Some(0) { Some(0) } else { held.and_then(|one| one.memory_bytes) };
        Self { slots, keys: keys.and_then(part), bytes: memory.and_then(part), from, to }
    }

    fn page(moves: &[Self]) -> String {
        let mut rows = vec![["MOVE FROM", "TO", "SLOTS", "KEYS", "MEMORY"].map(str::to_owned).to_vec()];
        let number = |number: Option<u64>| cell(number.map(|number| number.to_string()).as_deref());
        rows.extend(moves.iter().map(|one| {
            let memory = one.bytes.map(|bytes| format!("{} MB", bytes.div_ceil(1_000_000)));
            vec![
                one.from.to_string(),
                one.to.to_string(),
                one.slots.to_string(),
                number(one.keys),
                cell(memory.as_deref()),
            ]
        }));
        columns(&rows)
    }
}

/// Restarts that a change takes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restarts {
    /// Whom.
    pub(crate) instances: Vec<InstanceName>,
    /// For what: directives, or `server`.
    pub(crate) because: Vec<String>,
    /// Who restarts them.
    pub(crate) restart: RestartPolicy,
    /// For so long the first of them are watched, milliseconds.
    pub(crate) canary_ms: u64,
    /// Whether primaries wait for `valkeeper approve`.
    pub(crate) primaries: PrimaryUpdate,
}

impl Restarts {
    fn page(&self) -> String {
        let names: Vec<&str> = self.instances.iter().map(InstanceName::as_str).collect();
        let (names, because) = (names.join(", "), self.because.join(", "));
        match self.restart {
            RestartPolicy::Rolling => format!(
                "\nrestarted in turn for {because}: {names}\nreplicas first; a primary hands over before, so that roles change; the \
                 first shard is watched for {} s before the others follow\n{}",
                self.canary_ms / 1_000,
                match self.primaries {
                    PrimaryUpdate::Unsupervised => "",
                    PrimaryUpdate::Supervised => "primaries wait for `valkeeper approve`\n",
                }
            ),
            RestartPolicy::Manual => format!("\n{because} shows after `valkeeper restart` of: {names}\n"),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    instance: InstanceName,
    shard: ShardName,
    zone: ZoneName,
    role: Role,
    slots: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removal {
    instance: InstanceName,
    shard: ShardName,
    zone: ZoneName,
    /// As it is now, if that is seen.
    role: Option<Role>,
}

/// Who leaves by a change.
fn removals(layout: &Layout, next: &Layout, report: Option<&Report>) -> Vec<Removal> {
    let is_leaving = |layout: &Layout, one: &Instance| {
        let shard = layout.shards.get(&one.shard);
        one.life.leaves() || shard.is_some_and(|shard| shard.life == ShardLife::Leaving)
    };
    let leaves = |name: &InstanceName| next.instances.get(name).is_none_or(|one| is_leaving(next, one));
    let role =
        |name: &InstanceName| report?.instances.iter().find(|one| one.name == *name).and_then(|one| one.role);
    let going = layout.instances.iter().filter(|(name, one)| !is_leaving(layout, one) && leaves(name));
    going
        .map(|(name, one)| Removal {
            instance: name.clone(),
            shard: one.shard.clone(),
            zone: one.zone.clone(),
            role: role(name),
        })
        .collect()
}

/// What changes of pods and volumes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodPlan {
    pub(crate) pods: Vec<PodChange>,
    /// Pods whose server has never started, and that this manifest makes anew.
    pub(crate) made_anew: Vec<String>,
}

/// A change of what pods and volumes are to be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodChange {
    pub(crate) what: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Where it shows, in words.
    pub(crate) applies_to: String,
}

impl Plan {
    /// What the controller would make of the spec: by the same functions that it uses itself.
    pub(crate) fn of(
        layout: Option<&Layout>,
        spec: &ClusterSpec,
        zones: &[ZoneName],
        report: Option<&Report>,
    ) -> Result<Self, Refusal> {
        if let Some(layout) = layout {
            let zones = placement::resize::zones_of(layout, zones);
            let mut placing = Placing { zones: &zones, ids: &mut RandomIds };
            let next = change::follow(layout, spec, report, &mut placing)?;
            let changes = change::differences(layout, &next);
            let demotion = replica_mode::forecast(
                &OwnData::of(layout, report),
                layout.replica_mode.as_deref(),
                next.replica_mode.as_deref(),
                spec.replica_mode.as_ref(),
            );
            let new = next.instances.iter().filter(|(name, _)| !layout.instances.contains_key(*name));
            let creates = new.map(|(name, instance)| {
                let begins = next.shards.get(&instance.shard).is_some_and(|shard| shard.founder == *name);
                Creation {
                    instance: name.clone(),
                    shard: instance.shard.clone(),
                    zone: instance.zone.clone(),
                    role: if begins { Role::Primary } else { Role::Replica },
                    slots: String::new(),
                }
            });
            let (creates, removes) = (creates.collect(), removals(layout, &next, report));
            let resharded = changes.iter().any(|change| change.what == "shards");
            let moves = if resharded { rebalance::moves(&rebalance::held(&next)) } else { Vec::new() };
            let moves = moves.iter().map(|one| SlotsMoved::of(one, layout, report)).collect();
            return Ok(Self { creates, removes, changes, moves, demotion, ..Self::default() });
        }
        let layout = placement::found(spec, zones, &mut RandomIds)?;
        let creates = layout.instances.iter().map(|(name, instance)| {
            let shard = layout.shards.get(&instance.shard);
            let founder = shard.is_some_and(|shard| shard.founder == *name);
            Creation {
                instance: name.clone(),
                shard: instance.shard.clone(),
                zone: instance.zone.clone(),
                role: if founder { Role::Primary } else { Role::Replica },
                slots: shard.filter(|_| founder).map(|shard| shard.slots.to_string()).unwrap_or_default(),
            }
        });
        Ok(Self { creates: creates.collect(), ..Self::default() })
    }

    /// For people.
    pub(crate) fn page(&self) -> String {
        let pods = self.pods.as_ref().filter(|plan| !plan.pods.is_empty());
        if self.creates.is_empty() && self.removes.is_empty() && self.changes.is_empty() && pods.is_none() {
            return "nothing would change\n".to_owned();
        }
        let mut page = String::new();
        if !self.creates.is_empty() {
            let mut rows = vec![["CREATE", "SHARD", "ZONE", "ROLE", "SLOTS"].map(str::to_owned).to_vec()];
            rows.extend(self.creates.iter().map(|new| {
                vec![
                    new.instance.to_string(),
                    new.shard.to_string(),
                    new.zone.to_string(),
                    new.role.to_string(),
                    new.slots.clone(),
                ]
            }));
            page.push_str(&columns(&rows));
        }
        if !self.removes.is_empty() {
            let mut rows = vec![["REMOVE", "SHARD", "ZONE", "ROLE"].map(str::to_owned).to_vec()];
            rows.extend(self.removes.iter().map(|gone| {
                let role = gone.role.map(|role| role.to_string());
                vec![
                    gone.instance.to_string(),
                    gone.shard.to_string(),
                    gone.zone.to_string(),
                    cell(role.as_deref()),
                ]
            }));
            page.push_str(&columns(&rows));
        }
        if !self.moves.is_empty() {
            page.push_str(&SlotsMoved::page(&self.moves));
        }
        if !self.changes.is_empty() {
            let mut rows = vec![["CHANGE", "FROM", "TO"].map(str::to_owned).to_vec()];
            rows.extend(self.changes.iter().map(|change| {
                vec![change.what.clone(), cell(change.from.as_deref()), cell(change.to.as_deref())]
            }));
            page.push_str(&columns(&rows));
        }
        if let Some(restarts) = &self.restarts {
            page.push_str(&restarts.page());
        }
        if let Some(demotion) = &self.demotion {
            let _ = writeln!(page, "\ndata is replaced by the source's: {demotion}");
        }
        if let Some(pods) = pods {
            page.push_str(&pods.page());
        }
        page
    }
}

impl PodPlan {
    fn page(&self) -> String {
        let mut rows = vec![["CHANGE", "FROM", "TO", "APPLIES TO"].map(str::to_owned).to_vec()];
        rows.extend(self.pods.iter().map(|change| {
            vec![
                change.what.clone(),
                cell(change.from.as_deref()),
                cell(change.to.as_deref()),
                change.applies_to.clone(),
            ]
        }));
        let mut page = columns(&rows);
        if !self.made_anew.is_empty() {
            page.push_str("\nmade anew at once, as their servers have never started: ");
            page.push_str(&self.made_anew.join(", "));
            page.push('\n');
        }
        page
    }
}

fn cell(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pods: Option<PodPlan>) -> Plan {
        Plan { pods, ..Plan::default() }
    }

    fn image() -> PodChange {
        let to = Some("b".to_owned());
        PodChange { what: "imageName".to_owned(), from: None, to, applies_to: "new pods".to_owned() }
    }

    #[test]
    fn pods_are_in_a_plan_for_kubernetes_alone() {
        let document = |plan: &Plan| serde_json::to_string(plan).unwrap();
        assert_eq!(document(&plan(None)), r#"{"creates":[],"changes":[]}"#);
        let none = PodPlan { pods: Vec::new(), made_anew: Vec::new() };
        assert_eq!(plan(None).page(), "nothing would change\n");
        assert_eq!(document(&plan(Some(none))), r#"{"creates":[],"changes":[],"pods":[],"madeAnew":[]}"#);
        let one = plan(Some(PodPlan { pods: vec![image()], made_anew: vec!["demo-0".to_owned()] }));
        assert_eq!(
            document(&one),
            r#"{"creates":[],"changes":[],"pods":[{"what":"imageName","from":null,"to":"b","appliesTo":"new pods"}],"madeAnew":["demo-0"]}"#
        );
        assert_eq!(
            one.page(),
            "CHANGE     FROM  TO  APPLIES TO\nimageName  -     b   new pods\n\n\
             made anew at once, as their servers have never started: demo-0\n"
        );
    }
}
