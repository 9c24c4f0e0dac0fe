//! How pods are made: what the manifest says for Kubernetes alone, and whose password they use.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use valkeeper_kube_api::names;
use valkeeper_model::{
    ClusterName, ClusterSpec, ImageVersion, InstanceName, KubernetesSpec, Layout, PodTemplate, Storage,
    TemplateHash, manifest::Manifest,
};

/// The fields for which a pod that runs is replaced. The others are for pods that are made from then on.
pub(crate) const REPLACED_FOR: [&str; 3] = ["image", "resources", "kernelTuning"];

/// How pods are made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) kubernetes: KubernetesSpec,
    /// The Secret with the password; ours if none is named.
    pub(crate) auth_secret: Option<String>,
}

impl Template {
    /// Of a manifest.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self { kubernetes: manifest.kubernetes.clone(), auth_secret: manifest.spec.auth_secret.clone() }
    }
}

impl Template {
    /// What of it a pod that runs is replaced for.
    pub(crate) fn of_pods(&self) -> PodTemplate {
        let mut body = fields(&self.kubernetes);
        body.retain(|name, _| REPLACED_FOR.contains(&name.as_str()));
        let body = Value::Object(body);
        let serves = ImageVersion::of(&self.kubernetes.image).server();
        PodTemplate { hash: TemplateHash::new(hash(&body)), body, serves }
    }

    /// The template of that instance's pod: in a roll it keeps the former one until its turn.
    pub(crate) fn of_instance(&self, name: &InstanceName, layout: &Layout) -> Self {
        let body = layout.pod_template_of(name).and_then(|hash| layout.pod_templates.get(hash));
        let Some(Value::Object(body)) = body else { return self.clone() };
        let mut whole = fields(&self.kubernetes);
        whole.extend(body.iter().map(|(name, value)| (name.clone(), value.clone())));
        // What a newer version has written and this one cannot read is as the manifest has it.
        let kubernetes = serde_json::from_value(Value::Object(whole));
        Self { kubernetes: kubernetes.unwrap_or_else(|_| self.kubernetes.clone()), ..self.clone() }
    }

    /// The Secret with the password, if it is the user's to keep and not ours.
    pub(crate) fn users_secret(&self, cluster: &ClusterName) -> Option<&str> {
        self.auth_secret.as_deref().filter(|named| *named != names::auth_secret(cluster))
    }
}

/// What a manifest says for Kubernetes alone, field by field.
pub(crate) fn fields(kubernetes: &KubernetesSpec) -> Map<String, Value> {
    match serde_json::to_value(kubernetes) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The spec of a manifest, with how its pods are made.
///
/// A server that is alone in its shard and keeps its data in its pod would lose the data with the pod: what is said of such pods holds for those that
/// are made from then on.
pub(crate) fn spec_of(manifest: &Manifest) -> ClusterSpec {
    let is_alone = manifest.spec.replicas_per_shard == 0;
    let goes_with_pod = matches!(manifest.kubernetes.storage, Storage::EmptyDir { .. });
    let pod_template = (!(is_alone && goes_with_pod)).then(|| Template::of(manifest).of_pods());
    ClusterSpec { pod_template, ..manifest.spec.clone() }
}

/// Tells one object from another.
pub(crate) fn hash(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;
    use valkeeper_plan::placement::{self, Ids};

    /// Ids that are the same each time.
    pub(crate) struct Counted(pub(crate) u8);

    impl Ids for Counted {
        fn draw(&mut self) -> [u8; 20] {
            self.0 += 1;
            [self.0; 20]
        }
    }

    fn template(kubernetes: KubernetesSpec) -> Template {
        Template { kubernetes, auth_secret: None }
    }

    #[test]
    fn a_pod_that_takes_the_only_copy_with_it_is_not_replaced() {
        let is_replaced = |spec: &str| {
            let text = format!(
                "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {{name: demo}}\nspec: {spec}\n"
            );
            let manifest = valkeeper_model::manifest::parse("demo.yaml", &text).expect("a manifest");
            spec_of(&manifest).pod_template.is_some()
        };
        assert!(!is_replaced("{mode: standalone, instances: 1, storage: {type: emptyDir}}"));
        assert!(is_replaced("{mode: standalone, instances: 1, storage: {type: pvc}}"));
        assert!(is_replaced("{mode: standalone, instances: 2, storage: {type: emptyDir}}"));
    }

    #[test]
    fn a_pod_keeps_its_image_until_its_turn_and_the_rest_is_as_the_manifest_says() {
        let before = KubernetesSpec { image: "a:1".to_owned(), ..KubernetesSpec::default() };
        let after = KubernetesSpec {
            image: "a:2".to_owned(),
            priority_class: Some("high".to_owned()),
            ..before.clone()
        };
        let (before, after) = (template(before).of_pods(), template(after));
        assert_eq!(before.body, json!({ "image": "a:1", "resources": {}, "kernelTuning": false }));
        assert_ne!(before.hash, after.of_pods().hash);
        let mut spec = ClusterSpec::new("demo".parse().unwrap());
        spec.pod_template = Some(before);
        let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
        let layout = placement::found(&spec, &zones, &mut Counted(0)).expect("it has room");
        let name = layout.instances.keys().next().expect("one");
        let made = after.of_instance(name, &layout).kubernetes;
        assert_eq!((made.image.as_str(), made.priority_class.as_deref()), ("a:1", Some("high")));
        // A layout of before knows no templates.
        let none = Layout { pod_template: None, ..layout.clone() };
        assert_eq!(after.of_instance(name, &none), after);
    }
}
