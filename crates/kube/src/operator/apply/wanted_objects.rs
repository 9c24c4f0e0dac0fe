//! What a cluster is to consist of, but for its Secrets and its layout. Pure.

use crate::objects::pod::OperatorFacts;
use crate::objects::storage::{self, Piece};
use crate::objects::template::Template;
use crate::objects::{Owner, network, pod, register, sentinel};
use crate::operator::cache::Object;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use valkeeper_kube_api::names::ANNOTATION_TEMPLATE;
use valkeeper_model::{ClusterId, HibernationStage, Instance, InstanceName, Layout, Role};

/// What objects are rendered from, beside the layout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rendering<'a> {
    pub(crate) owner: &'a Owner,
    /// None while the manifest cannot be read.
    pub(crate) template: Option<&'a Template>,
    pub(crate) operator: &'a OperatorFacts,
    pub(crate) operator_namespace: &'a str,
    pub(crate) pods_due: PodsDue,
}

/// Whose pods may be made now. What is there is looked after all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodsDue {
    /// All of them.
    All,
    /// Only those of founders.
    Founders,
    /// Nobody's: what they need is missing.
    Nobody,
}

impl PodsDue {
    /// From what pods lack, and for how long founders' pods still come first.
    pub(crate) fn of(lack: Option<&str>, founders_first: Option<Duration>) -> Self {
        match (lack, founders_first) {
            (Some(_), _) => Self::Nobody,
            (None, Some(_)) => Self::Founders,
            (None, None) => Self::All,
        }
    }

    fn wish(self, layout: &Layout, is_included: impl FnOnce(Self) -> bool) -> PodWish {
        match (layout.hibernation_stage(), is_included(self)) {
            (HibernationStage::Stopped, _) => PodWish::Never,
            (HibernationStage::Awake | HibernationStage::Stopping, true) => PodWish::Now,
            (HibernationStage::Awake | HibernationStage::Stopping, false) => PodWish::Later,
        }
    }

    fn includes(self, name: &InstanceName, layout: &Layout) -> bool {
        match self {
            Self::All => true,
            Self::Founders => layout.shards.values().any(|shard| shard.founder == *name),
            Self::Nobody => false,
        }
    }
}

/// What a cluster is to consist of.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Services, policy, budget, the register.
    pub(super) shared: Vec<Value>,
    /// Those that are not wanted: kind and name.
    pub(super) unwanted: Vec<Object>,
    pub(super) instances: BTreeMap<InstanceName, WantedInstance>,
    /// Those that were removed: their pods go, their volumes stay.
    pub(super) retired: BTreeSet<InstanceName>,
}

/// What one instance consists of.
#[derive(Debug)]
pub(super) struct WantedInstance {
    pub(super) pod: Value,
    /// None without persistent storage.
    pub(super) claim: Option<WantedClaim>,
    pub(super) wish: PodWish,
}

/// Is it to have its pod?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PodWish {
    /// Now.
    Now,
    /// When others have theirs. One that is there is looked after.
    Later,
    /// Not while the cluster hibernates: its server is down for good, and its volume stays.
    Never,
}

#[derive(Debug)]
pub(super) struct WantedClaim {
    pub(super) object: Value,
    pub(super) piece: Option<Piece>,
    pub(super) cluster: ClusterId,
}

impl Wanted {
    /// What a layout asks for. Without a template that is what needs none.
    pub(crate) fn of(layout: &Layout, rendering: &Rendering<'_>) -> Self {
        let owner = rendering.owner;
        let mut wanted = Self {
            shared: vec![
                network::headless(owner),
                network::any(owner),
                network::policy(owner, rendering.operator_namespace),
            ],
            retired: layout.retired.keys().cloned().collect(),
            ..Self::default()
        };
        if !layout.config.mode.has_slots() {
            wanted.shared.extend([Role::Primary, Role::Replica].map(|role| network::by_role(owner, role)));
            wanted.shared.extend(register::objects(owner));
        }
        wanted.shared.extend(layout.sentinels.iter().map(|_| sentinel::service(owner)));
        let Some(template) = rendering.template else { return wanted };
        let budget = network::disruption_budget(owner, layout.instances.len());
        if template.kubernetes.pod_disruption_budget {
            wanted.shared.push(budget);
        } else {
            wanted.unwanted.push(Object::of(&budget));
        }
        let instance = |(name, instance): (&InstanceName, &Instance)| {
            let claim = storage::claim(owner, name, instance, layout, template).map(|object| WantedClaim {
                object,
                piece: Piece::of(layout, &instance.shard),
                cluster: layout.id,
            });
            let template = template.of_instance(name, layout);
            let mut pod = pod::pod(owner, name, instance, &template, rendering.operator, layout.config.mode);
            if let Some(hash) = layout.pod_template_of(name) {
                pod["metadata"]["annotations"][ANNOTATION_TEMPLATE] = hash.as_str().into();
            }
            let wish = rendering.pods_due.wish(layout, |due| due.includes(name, layout));
            (name.clone(), WantedInstance { pod, claim, wish })
        };
        wanted.instances = layout.instances.iter().map(instance).collect();
        for (name, one) in layout.sentinels.iter().flat_map(|sentinels| &sentinels.members) {
            let pod = sentinel::pod(owner, name, one, layout, template, rendering.operator);
            let wish = rendering.pods_due.wish(layout, |due| due == PodsDue::All);
            wanted.instances.insert(name.clone(), WantedInstance { pod, claim: None, wish });
        }
        let sentinels = layout.sentinels.as_ref().map_or(0, |sentinels| sentinels.members.len());
        let budget = sentinel::disruption_budget(owner, sentinels);
        if sentinels > 0 && template.kubernetes.pod_disruption_budget {
            wanted.shared.push(budget);
        } else {
            wanted.unwanted.push(Object::of(&budget));
        }
        if sentinels == 0 {
            wanted.unwanted.push(Object::of(&sentinel::service(owner)));
        }
        wanted
    }

    /// All of it, in the order in which it is made.
    #[cfg(test)]
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Value> {
        let claims = self.instances.values().filter_map(|instance| Some(&instance.claim.as_ref()?.object));
        let pods = self.instances.values().map(|instance| &instance.pod);
        self.shared.iter().chain(claims).chain(pods)
    }
}

#[cfg(test)]
mod tests;
