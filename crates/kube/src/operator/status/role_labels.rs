//! The label `redis.io/role` of pods, by which Services lead to them. Written by a task of its own, which waits for nothing: a label that is
//! late is a client that waits.

use super::status_writer::{AGAIN, WITHIN};
use crate::operator::apply::object_writer::told as told_of;
use crate::operator::cache::{PodSeen, Seen};
use crate::wire::Home;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use valkeeper_kube_api::names::{LABEL_ROLE, field_managers};
use valkeeper_model::{Epoch, InstanceName, Report, Role};

/// The roles to be told.
pub(crate) type Roles = BTreeMap<InstanceName, Role>;

/// The primary of a cluster without slots, as its agent has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mandate {
    pub(crate) primary: InstanceName,
    pub(crate) term: Epoch,
}

/// The roles that a report shows. `seen` is the term of the primary in it: what an agent has told of a newer one since holds.
pub(crate) fn of_report(
    report: &Report,
    seen: Option<Epoch>,
    told: Option<&Mandate>,
    pods: &BTreeMap<InstanceName, PodSeen>,
) -> Roles {
    let mut roles: Roles =
        report.instances.iter().filter_map(|one| Some((one.name.clone(), one.role?))).collect();
    for shard in &report.shards {
        let Some(primary) = &shard.primary else { continue };
        let members = report.instances.iter().filter(|one| one.shard == shard.name && one.name != *primary);
        // One that is down has been succeeded.
        for one in members.filter(|one| one.role.is_none() && is_primary(pods, &one.name)) {
            roles.insert(one.name.clone(), Role::Replica);
        }
    }
    // While the cluster follows another, its clients find the member that a promotion makes the primary.
    let designated = || report.replica_mode.as_ref().filter(|mode| mode.stage.follows())?.designated.as_ref();
    if let Some(designated) = designated() {
        promoted(&mut roles, designated, pods);
    }
    if !report.mode.has_slots()
        && let Some(told) = told.filter(|told| seen.is_none_or(|seen| seen < told.term))
    {
        promoted(&mut roles, &told.primary, pods);
    }
    roles
}

/// There is one primary, and that is this one.
pub(crate) fn promoted(roles: &mut Roles, primary: &InstanceName, pods: &BTreeMap<InstanceName, PodSeen>) {
    for name in pods.keys().filter(|name| is_primary(pods, name)) {
        roles.insert(name.clone(), Role::Replica);
    }
    for role in roles.values_mut() {
        *role = Role::Replica;
    }
    roles.insert(primary.clone(), Role::Primary);
}

/// By its label.
fn is_primary(pods: &BTreeMap<InstanceName, PodSeen>, name: &InstanceName) -> bool {
    pods.get(name).is_some_and(|pod| is_labelled(pod, Role::Primary))
}

fn is_labelled(pod: &PodSeen, role: Role) -> bool {
    pod.role.as_deref() == Some(role.to_string().as_str())
}

/// Has a pod another label than its role?
pub(crate) fn differ(pods: &BTreeMap<InstanceName, PodSeen>, roles: &Roles) -> bool {
    roles.iter().any(|(name, role)| pods.get(name).is_some_and(|pod| !is_labelled(pod, *role)))
}

/// Writes the newest, until nobody has anything to tell any more.
pub(crate) async fn write(client: Client, home: Home, seen: Arc<Seen>, mut told: watch::Receiver<Roles>) {
    let pods: Api<Pod> = Api::namespaced(client, &home.namespace);
    let mut pause = AGAIN.0;
    while told.changed().await.is_ok() {
        loop {
            let newest = told.borrow_and_update().clone();
            let error = match tokio::time::timeout(WITHIN, label(&pods, &seen, &newest)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => told_of(&error),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(%home, %error, "the roles of pods cannot be written");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
        pause = AGAIN.0;
    }
}

async fn label(pods: &Api<Pod>, seen: &Seen, roles: &Roles) -> Result<(), kube::Error> {
    let there = seen.pods();
    let mut changed: Vec<(&InstanceName, &PodSeen, Role)> = roles
        .iter()
        .filter_map(|(name, role)| Some((name, there.get(name)?, *role)))
        .filter(|(_, pod, role)| !is_labelled(pod, *role))
        .collect();
    // Who is the primary no more first, and nobody waits for another's answer.
    changed.sort_by_key(|(.., role)| Reverse(*role == Role::Replica));
    let patches = changed.into_iter().map(|(name, pod, role)| relabel(pods, name, pod, role));
    futures::future::try_join_all(patches).await.map(drop)
}

async fn relabel(pods: &Api<Pod>, name: &InstanceName, pod: &PodSeen, role: Role) -> Result<(), kube::Error> {
    let patch = json!({ "metadata": { "uid": pod.uid, "labels": { LABEL_ROLE: role } } });
    let params =
        PatchParams { field_manager: Some(field_managers::ROLES.to_owned()), ..PatchParams::default() };
    match pods.patch(name.as_str(), &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        // Another pod of the name by now, or none.
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pod_trouble::tests::pod;
    use super::*;
    use valkeeper_model::{
        InstanceReport, Mode, Phase, ReplicaModeReport, ReplicaModeStage, ShardName, ShardReport, SlotSet,
        Source, SourcePlace,
    };

    fn name(n: u32) -> InstanceName {
        format!("demo-{n}").parse().unwrap()
    }

    fn labelled(role: Role) -> PodSeen {
        PodSeen { role: Some(role.to_string()), ..pod(&json!({})) }
    }

    /// A set of three, with the roles that are seen.
    fn report(seen: [Option<Role>; 3]) -> Report {
        let instance = |(n, role)| InstanceReport {
            name: name(n),
            shard: ShardName::nth(0),
            zone: "a".parse().unwrap(),
            role,
            address: None,
            pid: None,
            version: None,
            engine: None,
            lag_bytes: None,
            fenced: false,
            keys: None,
            memory_bytes: None,
            data: None,
        };
        let primary = (0..).zip(seen).find(|(_, role)| *role == Some(Role::Primary)).map(|(n, _)| name(n));
        let shard = ShardReport {
            name: ShardName::nth(0),
            slots: SlotSet::all(),
            primary,
            replicas: Vec::new(),
            needed_replicas: None,
        };
        Report {
            sentinels: Vec::new(),
            replica_mode: None,
            progress: Vec::new(),
            cordoned_zones: std::collections::BTreeSet::new(),
            mode: Mode::Standalone,
            phase: Phase::Degraded,
            healthy: false,
            shards: vec![shard],
            instances: (0..).zip(seen).map(instance).collect(),
            waiting: Vec::new(),
        }
    }

    #[test]
    fn a_label_that_was_edited_differs() {
        let pods = BTreeMap::from([(name(1), labelled(Role::Primary))]);
        assert!(!differ(&pods, &BTreeMap::from([(name(1), Role::Primary)])));
        assert!(differ(&pods, &BTreeMap::from([(name(1), Role::Replica)])));
    }

    #[test]
    fn a_primary_that_is_down_keeps_its_label_until_it_has_a_successor() {
        let pods = BTreeMap::from([(name(0), labelled(Role::Primary)), (name(1), labelled(Role::Replica))]);
        let nobody = of_report(&report([None, Some(Role::Replica), None]), None, None, &pods);
        assert_eq!(nobody, BTreeMap::from([(name(1), Role::Replica)]));
        let succeeded = of_report(&report([None, Some(Role::Primary), None]), Some(Epoch(2)), None, &pods);
        assert_eq!(succeeded, BTreeMap::from([(name(0), Role::Replica), (name(1), Role::Primary)]));
    }

    #[test]
    fn who_is_designated_is_found_as_the_primary_until_somebody_is() {
        let followed = |designated: Option<u32>, stage| {
            let source = Source {
                cluster_name: None,
                at: SourcePlace::Host { host: "10.0.0.9".to_owned(), port: Source::DEFAULT_PORT },
                user: None,
                auth_secret: None,
            };
            let mode = ReplicaModeReport {
                token: None,
                source,
                stage,
                designated: designated.map(name),
                link: None,
                lag_bytes: None,
                lag_age_ms: None,
                held_back: None,
            };
            Report { replica_mode: Some(Box::new(mode)), ..report([Some(Role::Replica); 3]) }
        };
        let replica = |n| (name(n), Role::Replica);
        let primary = |n| (name(n), Role::Primary);
        let pods = BTreeMap::from([(name(0), labelled(Role::Primary)), (name(1), labelled(Role::Replica))]);
        let of = |designated, told| {
            of_report(&followed(designated, ReplicaModeStage::Following), None, told, &pods)
        };
        assert_eq!(of(Some(0), None), BTreeMap::from([primary(0), replica(1), replica(2)]));
        // It went away, and another one takes its place.
        assert_eq!(of(Some(1), None), BTreeMap::from([replica(0), primary(1), replica(2)]));
        assert_eq!(of(None, None), BTreeMap::from([replica(0), replica(1), replica(2)]));
        // It was promoted, and that is told before it is seen.
        let told = Mandate { primary: name(2), term: Epoch(2) };
        assert_eq!(of(Some(0), Some(&told)), BTreeMap::from([replica(0), replica(1), primary(2)]));
        let promoted = ReplicaModeStage::Promoted { designated: name(0), loss: None, point: None };
        let seen = Report {
            shards: report([Some(Role::Primary), None, None]).shards,
            ..followed(Some(1), promoted)
        };
        assert_eq!(of_report(&seen, Some(Epoch(2)), None, &pods)[&name(1)], Role::Replica);
    }

    #[test]
    fn what_an_agent_has_told_holds_until_a_look_shows_a_term_as_new() {
        let pods = BTreeMap::from([(name(0), labelled(Role::Primary)), (name(1), labelled(Role::Replica))]);
        let told = Mandate { primary: name(1), term: Epoch(2) };
        let before = report([Some(Role::Primary), Some(Role::Replica), Some(Role::Replica)]);
        let roles = of_report(&before, Some(Epoch(1)), Some(&told), &pods);
        let replica = |n| (name(n), Role::Replica);
        assert_eq!(roles, BTreeMap::from([replica(0), (name(1), Role::Primary), replica(2)]));
        let later = of_report(&before, Some(Epoch(3)), Some(&told), &pods);
        assert_eq!(later[&name(0)], Role::Primary);
    }
}
