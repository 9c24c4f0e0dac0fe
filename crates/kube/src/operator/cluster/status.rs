//! What people are told of one cluster: the controller's report, with what Kubernetes and the spec add to it.

use super::judged::Judged;
use super::round::Explanation;
use super::task::Task;
use crate::operator::status::role_labels::{self, Mandate};
use crate::operator::status::{pod_trouble, zones};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_kube_api::{Facts, RedisClusterStatus, names};
use valkeeper_model::{Epoch, Observation, Phase, Report, Waiting};

impl Task {
    pub(super) fn tell_of_spec(&mut self, judged: &Judged) {
        let generation = self.object.borrow().metadata.generation;
        let before = self.status.as_deref();
        let status = Arc::new(RedisClusterStatus::of_spec(judged.verdict(), generation, before, &now()));
        self.status = Some(Arc::clone(&status));
        self.tell.send_modify(|told| *told = Some(status));
    }

    /// Nothing is known yet, but for this.
    pub(super) fn tell_of_beginning(&mut self, waiting: Option<Waiting>, judged: &Judged) {
        let wanted = self.object.borrow().manifest().map(|manifest| manifest.spec.mode);
        let report = Report {
            mode: wanted.unwrap_or_default(),
            phase: Phase::Creating,
            healthy: false,
            shards: Vec::new(),
            instances: Vec::new(),
            waiting: waiting.into_iter().collect(),
            sentinels: Vec::new(),
            replica_mode: None,
            progress: Vec::new(),
            cordoned_zones: std::collections::BTreeSet::new(),
        };
        self.tell_report(None, &report, judged);
    }

    pub(super) fn tell_latest(&mut self, latest: Option<&Explanation>, judged: &Judged) {
        match latest {
            Some(latest) => self.tell_report(latest.observation.as_ref(), &latest.report, judged),
            // Before the first look: what cannot be made may keep it away.
            None if self.status.as_ref().is_none_or(|status| !status.bootstrap_completed) => {
                self.tell_of_beginning(None, judged);
            }
            None => {}
        }
    }

    fn tell_report(&mut self, observation: Option<&Observation>, report: &Report, judged: &Judged) {
        let mut report = report.clone();
        // Pods that are not to be there are missed by nobody.
        if report.phase != Phase::Hibernated {
            let silent = self.context.cache.silent_nodes();
            report.waiting.extend(pod_trouble::not_running(&self.seen, &silent, &report));
            let left = zones::without_nodes(&report, &self.context.zones.borrow());
            report.waiting.extend(left);
        }
        report.waiting.extend(self.annotations_wait.clone());
        let obstacles = self.seen.obstacles();
        if !obstacles.is_empty() {
            // What is in the way of the cluster's objects is its trouble, however well its servers are.
            report.healthy = false;
            if report.phase == Phase::Healthy {
                report.phase = Phase::Degraded;
            }
            report.waiting.extend(obstacles);
        }
        report.waiting.extend(self.seen.definition_older());
        let claims = self.seen.objects_of("PersistentVolumeClaim");
        let used = |claim: &str| {
            let instances = report.instances.iter();
            instances.map(|one| names::volume_claim(&self.home.cluster, &one.name)).any(|name| name == claim)
        };
        let dangling: Vec<String> = claims.keys().filter(|claim| !used(claim)).cloned().collect();
        let secrets: BTreeMap<String, String> = self
            .seen
            .objects_of("Secret")
            .into_iter()
            .filter(|(name, _)| *name == names::auth_secret(&self.home.cluster))
            .map(|(name, secret)| (name, secret.version))
            .collect();
        let facts = Facts {
            generation: self.object.borrow().metadata.generation,
            verdict: judged.verdict(),
            observation,
            at_risk: &zones::at_risk(&report),
            volumes: u32::try_from(claims.len() - dangling.len()).unwrap_or(u32::MAX),
            dangling_volumes: &dangling,
            secrets: &secrets,
            before: self.status.as_deref(),
            now: &now(),
        };
        let mut status = RedisClusterStatus::from_report(&report, &facts);
        for (name, instance) in &mut status.instances_status {
            let (home, domain) = (&self.home, &self.context.operator.domain);
            instance.host = Some(names::host(&home.cluster, name, &home.namespace, domain));
        }
        let status = Arc::new(status);
        self.context.phases.set(&self.home, report.phase);
        self.status = Some(Arc::clone(&status));
        let (pods, term) = (self.seen.pods(), status.shards.values().next().and_then(|shard| shard.epoch));
        let roles = role_labels::of_report(&report, term.map(Epoch), self.mandate.as_ref(), &pods);
        self.tell.send_if_modified(|told| {
            let next = Some(status);
            let changed = *told != next;
            *told = next;
            changed
        });
        // A label that somebody has edited is put right although nothing else has changed.
        let edited = role_labels::differ(&pods, &roles);
        self.roles.send_if_modified(|told| {
            let changed = *told != roles;
            *told = roles;
            changed || edited
        });
    }

    /// An agent tells that its server is the primary, in a cluster without slots: its label is not to wait for the next look at all of them.
    pub(super) fn take_mandate(&mut self, told: Mandate) {
        if self.mandate.as_ref().is_some_and(|known| known.term >= told.term) {
            return;
        }
        tracing::info!(home = %self.home, primary = %told.primary, term = told.term.0, "an agent tells of its mandate");
        let pods = self.seen.pods();
        self.roles.send_modify(|roles| role_labels::promoted(roles, &told.primary, &pods));
        self.mandate = Some(told);
    }
}

fn now() -> Time {
    Time(jiff::Timestamp::now())
}
