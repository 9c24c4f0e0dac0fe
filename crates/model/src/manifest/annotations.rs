//! What the annotations of a cluster ask of its operator, beside its spec.

use super::Target;
use super::check::Findings;
use super::read::written;
use super::tree::Node;
use crate::spec::{FieldProblem, Persistence, printable, rules};
use crate::{FencedInstances, HibernationWish, KubernetesSpec, Storage};
use serde::{Deserialize, Serialize};

/// What they ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotated {
    /// Who is kept down.
    pub fenced: FencedInstances,
    /// Is the whole cluster stopped?
    pub hibernation: HibernationWish,
}

impl Annotated {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads them. What does not last where there is no disk is not asked for there.
pub(super) fn read(
    root: &Node,
    kubernetes: &KubernetesSpec,
    persistence: Persistence,
    findings: &mut Findings,
) -> Annotated {
    let value = |annotation: &str| written(annotations_of(root)?, annotation);
    let mut annotated = Annotated::default();
    if let Some(text) = value(FencedInstances::ANNOTATION) {
        match FencedInstances::read(text) {
            Ok(fenced) => annotated.fenced = fenced,
            Err(fault) => findings.problem(rules::FENCED_INSTANCES.broken(&[&fault])),
        }
    }
    if let Some(text) = value(HibernationWish::ANNOTATION) {
        match HibernationWish::read(text) {
            Ok(wish) => annotated.hibernation = wish,
            Err(_) => findings.problem(rules::HIBERNATION.broken(&[&printable(text)])),
        }
    }
    if annotated.hibernation == HibernationWish::On && findings.target == Target::Kubernetes {
        if matches!(kubernetes.storage, Storage::EmptyDir { .. }) {
            findings.problem(rules::HIBERNATION_OF_EMPTY_DIR.broken(&[]));
        }
        if persistence == Persistence::None {
            findings.problem(rules::HIBERNATION_WITHOUT_PERSISTENCE.broken(&[]));
        }
    }
    annotated
}

fn annotations_of(root: &Node) -> Option<&Node> {
    root.get("metadata")?.get("annotations")
}

/// The annotations that mean nothing on this machine, and what does the same here.
const OF_KUBERNETES: [(&str, &str); 3] = [
    (
        HibernationWish::ANNOTATION,
        "only for Kubernetes; here `valkeeper down` stops the cluster, and `valkeeper up` starts it",
    ),
    (FencedInstances::ANNOTATION, "only for Kubernetes; here `valkeeper fence INSTANCE` keeps one down"),
    ("redis.io/approve-primary-update", "only for Kubernetes; here `valkeeper approve` approves"),
];

/// Notes those that are there.
pub(super) fn note_useless(root: &Node, findings: &mut Findings) {
    let annotations = annotations_of(root);
    for (annotation, why) in OF_KUBERNETES {
        if annotations.and_then(|annotations| annotations.get(annotation)).is_some() {
            let note = findings.note(FieldProblem::new(format!("metadata.annotations.{annotation}"), why));
            findings.without_effect.push(note);
        }
    }
}
