use super::*;
use crate::objects::network;
use crate::objects::pod::{self, OperatorFacts};
use crate::objects::storage;
use crate::objects::template::Template;
use crate::operator::cache::pod_seen;
use crate::wire::Home;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use valkeeper_model::{Layout, manifest};
use valkeeper_plan::placement::{self, Ids};

struct Counted(u8);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        [self.0; 20]
    }
}

/// A cluster of one shard with one replica, and what there is of it.
struct Case {
    owner: Owner,
    layout: Layout,
    template: Template,
    there: Things,
}

const MANIFEST: &str = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: demo\nspec:\n  mode: cluster\n  shards: 3\n  replicasPerShard: 0\n  zones: besteffort\n";

fn template(extra: &str) -> Template {
    Template::of(&manifest::parse("demo.yaml", &format!("{MANIFEST}{extra}")).expect("valid"))
}

impl Case {
    fn new() -> Self {
        let spec = manifest::parse("demo.yaml", MANIFEST).expect("valid").spec;
        let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
        let layout = placement::found(&spec, &zones, &mut Counted(0)).expect("it has room");
        let home = Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() };
        let owner = Owner { home, uid: "u1".to_owned() };
        Self { owner, layout, template: template(""), there: Things::default() }
    }

    /// The same with all that it wants, as the API server tells of it.
    fn whole() -> Self {
        let mut case = Self::new();
        let wanted = case.wanted();
        for object in &wanted.shared {
            case.saw(object, |_| ());
        }
        for instance in wanted.instances.values() {
            case.saw(&instance.claim.as_ref().unwrap().object, |_| ());
            case.saw(&instance.pod, |_| ());
        }
        assert_eq!(case.due(), [""; 0]);
        case
    }

    fn wanted(&self) -> Wanted {
        let facts = OperatorFacts { image: "i".to_owned(), news: "n".to_owned(), domain: "d".to_owned() };
        let (owner, layout, template) = (&self.owner, &self.layout, &self.template);
        let instances = layout.instances.iter().map(|(name, instance)| {
            let object = storage::claim(owner, name, instance, layout, template).unwrap();
            let piece = Piece::of(layout, &instance.shard);
            let claim = Some(WantedClaim { object, piece, cluster: layout.id });
            let pod = pod::pod(owner, name, instance, template, &facts);
            (name.clone(), WantedInstance { pod, claim, due: true })
        });
        Wanted {
            shared: vec![network::any(owner), network::disruption_budget(owner, 3)],
            unwanted: Vec::new(),
            instances: instances.collect(),
        }
    }

    /// A watch tells of it, edited.
    fn saw(&mut self, object: &Value, edit: impl FnOnce(&mut Value)) {
        let named = Object::of(object);
        let mut object = object.clone();
        object["metadata"]["uid"] = json!(format!("uid of {}", named.name));
        object["metadata"]["resourceVersion"] = json!("7");
        edit(&mut object);
        if named.kind == "Pod" {
            let pod: Pod = serde_json::from_value(object).unwrap();
            let (_, name, seen) = pod_seen(&pod).unwrap();
            self.there.pods.insert(name, seen);
            return;
        }
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({ "metadata": object["metadata"], "status": object["status"] }))
                .unwrap();
        let unbound = object["status"]["phase"] == "Pending";
        let shape = (named.kind != "PersistentVolumeClaim").then(|| shape(&object));
        self.there.objects.insert(named, ObjectSeen { shape, unbound, ..ObjectSeen::of(&claim.metadata) });
    }

    fn plan(&self) -> Plan {
        due(&self.owner, &self.wanted(), &self.there)
    }

    /// What there is to do, in words.
    fn due(&self) -> Vec<String> {
        let plan = self.plan();
        let told = |action: &Action| {
            let what = match &action.what {
                What::Create(_) => "make".to_owned(),
                What::Mend(_) => "mend".to_owned(),
                What::Annotate(_) => "annotate".to_owned(),
                What::Remove { uid, version } => {
                    format!(
                        "remove {uid}{}",
                        version.as_deref().map(|it| format!(" at {it}")).unwrap_or_default()
                    )
                }
            };
            format!("{} {}: {what}", action.object.kind, action.object.name)
        };
        let mut due: Vec<String> = plan.first.iter().chain(&plan.pods).map(told).collect();
        due.extend(plan.told().map(|waiting| waiting.to_string()));
        due
    }

    fn pod(&self, name: &str) -> Value {
        self.wanted().instances[&name.parse().unwrap()].pod.clone()
    }

    fn claim(&self, name: &str) -> Value {
        self.wanted().instances[&name.parse().unwrap()].claim.as_ref().unwrap().object.clone()
    }
}

#[test]
fn what_is_not_there_is_made_claims_before_pods() {
    let case = Case::new();
    let plan = case.plan();
    assert_eq!((plan.first.len(), plan.pods.len()), (5, 3));
    assert!(case.due().iter().all(|due| due.ends_with(": make")), "{:?}", case.due());
    let instances: Vec<_> = plan.first.iter().filter_map(|due| due.instance.clone()).collect();
    assert_eq!(instances.len(), 3, "a claim that cannot be made is its instance's trouble");
}

#[test]
fn a_pod_that_never_ran_is_replaced_when_it_would_be_made_otherwise() {
    let mut case = Case::whole();
    case.template = template("  imageName: valkey/valkey:9.9.9\n");
    let remove = [
        "Pod demo-0: remove uid of demo-0",
        "Pod demo-1: remove uid of demo-1",
        "Pod demo-2: remove uid of demo-2",
    ];
    assert_eq!(case.due(), remove);
    for (state, due) in [
        (json!({ "waiting": { "reason": "ImagePullBackOff" } }), 3),
        (json!({ "running": {} }), 2),
        (json!({ "terminated": { "exitCode": 1 } }), 2),
    ] {
        let pod = Case::whole().pod("demo-1");
        case.saw(&pod, |pod| {
            pod["status"] = json!({ "containerStatuses": [{
                "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }] });
        });
        assert_eq!(case.due().len(), due, "{state}");
    }
    let pod = Case::whole().pod("demo-1");
    case.saw(&pod, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert_eq!(case.due().len(), 2);
}

#[test]
fn a_pod_that_has_ended_is_removed_and_no_other() {
    let mut case = Case::whole();
    let pod = case.pod("demo-2");
    case.saw(&pod, |pod| pod["status"] = json!({ "phase": "Failed" }));
    assert_eq!(case.due(), ["Pod demo-2: remove uid of demo-2"]);
}

#[test]
fn a_claim_without_a_volume_is_replaced_when_it_would_be_made_otherwise() {
    let mut case = Case::whole();
    let claim = case.claim("demo-1");
    case.template = template("  storage:\n    size: 2Gi\n");
    assert_eq!(case.due(), [""; 0], "claims with a volume");
    case.saw(&claim, |claim| claim["status"] = json!({ "phase": "Pending" }));
    // In that very version: should it have got a volume meanwhile, it stays.
    assert_eq!(case.due(), ["PersistentVolumeClaim demo-data-1: remove uid of demo-data-1 at 7"]);
    case.template = template("");
    assert_eq!(case.due(), [""; 0]);
    case.template = template("  storage:\n    size: 2Gi\n");
    // A user's own is used as it is.
    case.saw(&claim, |claim| {
        claim["status"] = json!({ "phase": "Pending" });
        claim["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by");
    });
    assert_eq!(case.due(), [""; 0]);
}

#[test]
fn what_was_edited_is_put_right() {
    let mut case = Case::whole();
    let (pod, any, budget) =
        (case.pod("demo-0"), network::any(&case.owner), network::disruption_budget(&case.owner, 3));
    case.saw(&any, |any| any["spec"]["selector"] = json!({}));
    case.saw(&budget, |budget| budget["spec"]["minAvailable"] = json!(0));
    case.saw(&pod, |pod| pod["metadata"]["labels"]["redis.io/workload"] = json!("other"));
    assert_eq!(case.due(), ["Service demo-any: mend", "PodDisruptionBudget demo: mend", "Pod demo-0: mend"]);
    // The role is observed: it has a writer of its own.
    case.saw(&pod, |pod| pod["metadata"]["labels"]["redis.io/role"] = json!("primary"));
    assert_eq!(case.due().len(), 2);
}

#[test]
fn what_is_not_ours_is_named_and_left() {
    let mut case = Case::whole();
    let foreign = |object: &mut Value| {
        object["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u9" }]);
        object["spec"] = json!({ "containers": [] });
        object["status"] = json!({ "phase": "Failed" });
    };
    let (pod, claim, any) = (case.pod("demo-0"), case.claim("demo-1"), network::any(&case.owner));
    case.saw(&pod, foreign);
    case.saw(&claim, foreign);
    case.saw(&any, foreign);
    case.template = template("  imageName: valkey/valkey:9.9.9\n  storage:\n    size: 2Gi\n");
    let named = |name: &str| {
        format!("{name} was not made by Valkeeper for this cluster and is left as it is: rename or remove it")
    };
    let due = case.due();
    assert_eq!(due[..2], ["Pod demo-1: remove uid of demo-1", "Pod demo-2: remove uid of demo-2"]);
    assert_eq!(
        due[2..],
        [named("Service demo-any"), named("Pod demo-0"), named("PersistentVolumeClaim demo-data-1")]
    );
    let lacking: Vec<_> = case.plan().in_the_way().map(ToString::to_string).collect();
    assert_eq!(lacking, ["demo-0", "demo-1"]);
}

#[test]
fn what_is_left_of_a_deleted_cluster_is_waited_for() {
    let mut case = Case::whole();
    let pod = case.pod("demo-0");
    case.saw(&pod, |pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("u0"));
    assert_eq!(case.due(), ["Pod demo-0 is of a RedisCluster of this name that was deleted, and will go"]);
    // Left on purpose (`--cascade=orphan`): it is taken over.
    case.saw(&pod, |pod| _ = pod["metadata"].as_object_mut().unwrap().remove("ownerReferences"));
    assert_eq!(case.due(), ["Pod demo-0: mend"]);
}

#[test]
fn a_piece_that_cannot_be_read_is_not_written_over() {
    let mut case = Case::whole();
    let claim = case.claim("demo-1");
    case.layout.formed = true;
    assert_eq!(case.due().iter().filter(|due| due.ends_with("annotate")).count(), 3);
    case.saw(&claim, |claim| {
        claim["metadata"]["annotations"]["redis.io/layout"] = json!("{\"of\":\"a newer version\"}");
    });
    assert_eq!(case.due().iter().filter(|due| due.ends_with("annotate")).count(), 2);
}
