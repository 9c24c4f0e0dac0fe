//! Every object that a cluster consists of, as YAML in `tests/objects`. `UPDATE=1 cargo test -p valkeeper-kube --lib wanted_objects`
//! writes them anew.

use super::*;
use crate::ca::{Ca, Lifetimes};
use crate::objects::secrets::{self, Data};
use crate::objects::template::tests::Counted;
use crate::objects::{layout_map, whose};
use crate::wire::Home;
use serde_json::json;
use std::fs;
use std::path::Path;
use time::OffsetDateTime;
use valkeeper_client::Password;
use valkeeper_model::manifest::{self, Manifest};
use valkeeper_plan::placement;

/// A cluster as it was founded by a manifest.
struct Cluster {
    owner: Owner,
    layout: Layout,
    template: Template,
    operator: OperatorFacts,
}

impl Cluster {
    fn of(manifest: &Manifest) -> Self {
        let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
        let layout = placement::found(&manifest.spec, &zones, &mut Counted(0)).expect("it has room");
        let home = Home { namespace: "shop".to_owned(), cluster: manifest.spec.name.clone() };
        Self {
            owner: Owner { home, uid: "uid-of-the-cluster".to_owned() },
            layout,
            template: Template::of(manifest),
            operator: OperatorFacts {
                image: "valkeeper:1.2.3".to_owned(),
                news: "valkeeper-operator.valkeeper-system.svc:9180".to_owned(),
                domain: "cluster.local".to_owned(),
            },
        }
    }

    fn wanted(&self) -> Wanted {
        let rendering = Rendering {
            owner: &self.owner,
            template: Some(&self.template),
            operator: &self.operator,
            operator_namespace: "valkeeper-system",
            pods_due: PodsDue::All,
        };
        Wanted::of(&self.layout, &rendering)
    }

    /// The Secrets, without what is secret.
    fn secrets(&self) -> [Value; 3] {
        let (owner, now, life) = (&self.owner, OffsetDateTime::UNIX_EPOCH, Lifetimes::default());
        let ca = Ca::new("test", now, life).unwrap();
        let instances = self.layout.instances.keys().cloned();
        let agents = secrets::agents(owner, &ca, instances, &Data::new(), now, life).unwrap().unwrap();
        let auth = secrets::auth(owner, &Password::new("x"));
        [auth, secrets::ca_secret(owner, &ca), agents].map(|mut secret| {
            for value in secret["stringData"].as_object_mut().unwrap().values_mut() {
                *value = json!(if value == "" { "" } else { "(not shown)" });
            }
            secret
        })
    }
}

/// Compares with the golden file of that name.
fn compare(name: &str, objects: &[Value]) {
    let documents = objects.iter().map(|object| serde_saphyr::to_string(object).unwrap());
    let found = documents.map(|text| text.trim_end().to_owned() + "\n").collect::<Vec<_>>().join("---\n");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == found, "{name} differs; UPDATE=1 writes it anew. Found:\n{found}");
}

/// What all instances share in one file, what the first consists of in another, and the others differ from that in nothing but what
/// is theirs.
fn compare_cluster(name: &str, manifest: &str) {
    let cluster = Cluster::of(&manifest::parse(name, manifest).expect("valid"));
    let wanted = cluster.wanted();
    let map = layout_map::config_map(&cluster.owner, &cluster.layout).unwrap();
    let shared: Vec<Value> =
        [map].into_iter().chain(cluster.secrets()).chain(wanted.shared.iter().cloned()).collect();
    compare(&format!("{name}.shared.yaml"), &shared);
    let objects = |instance: &WantedInstance| -> Vec<Value> {
        instance.claim.iter().map(|claim| claim.object.clone()).chain([instance.pod.clone()]).collect()
    };
    let mut instances = wanted.instances.iter();
    let (first, of_first) = instances.next().unwrap();
    compare(&format!("{name}.instance.yaml"), &objects(of_first));
    let of_first: Vec<Value> =
        objects(of_first).into_iter().map(|object| cluster.anonymous(object, first)).collect();
    for (name, instance) in instances {
        let of_it: Vec<Value> =
            objects(instance).into_iter().map(|object| cluster.anonymous(object, name)).collect();
        assert_eq!(of_it, of_first, "{name}");
    }
    for object in shared.iter().chain(wanted.objects()) {
        assert_eq!(object["metadata"]["labels"][whose::LABEL_MANAGED_BY], whose::MANAGED_BY, "{object}");
    }
}

impl Cluster {
    /// An object without what is one instance's own: its name, shard, zone, and what is made from them.
    fn anonymous(&self, mut object: Value, name: &InstanceName) -> Value {
        let (instance, cluster) = (&self.layout.instances[name], &self.owner.home.cluster);
        object["metadata"]["labels"]["redis.io/shard"] = json!("SHARD");
        object["metadata"]["annotations"] = json!({});
        let zone = json!([instance.zone]).to_string();
        let claim = valkeeper_kube_api::names::volume_claim(cluster, name);
        let text = object.to_string();
        let text = text.replace(&claim, "CLAIM").replace(name.as_str(), "NAME").replace(&zone, "[\"ZONE\"]");
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn of_the_example() {
    compare_cluster("example", include_str!("../../../../../../examples/kubernetes.yaml"));
}

#[test]
fn of_a_set_without_slots() {
    compare_cluster("standalone", include_str!("../../../../../../examples/standalone-kubernetes.yaml"));
}

#[test]
fn of_a_manifest_with_everything_set() {
    compare_cluster("everything", include_str!("../../../../../model/tests/manifests/good/everything.yaml"));
}
