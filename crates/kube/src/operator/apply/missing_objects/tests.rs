use super::super::wanted_objects::PodsDue;
use super::*;
use crate::objects::network;
use crate::objects::pod::OperatorFacts;
use crate::objects::template::Template;
use crate::objects::template::tests::Counted;
use crate::operator::cache::pod_seen;
use crate::wire::Home;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;
use std::sync::Arc;
use valkeeper_model::{Layout, manifest};
use valkeeper_plan::placement;

/// A cluster of three shards without replicas, and what there is of it.
struct Case {
    owner: Owner,
    layout: Layout,
    template: Option<Template>,
    pods_due: PodsDue,
    there: SeenObjects,
}

const MANIFEST: &str = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: demo\nspec:\n  mode: cluster\n  shards: 3\n  replicasPerShard: 0\n  zones: besteffort\n";

/// What the manifest says with more lines in its spec.
fn with(more: &str) -> Template {
    Template::of(&manifest::parse("demo.yaml", &format!("{MANIFEST}{more}")).expect("valid"))
}

fn read<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

impl Case {
    fn new() -> Self {
        let spec = manifest::parse("demo.yaml", MANIFEST).expect("valid").spec;
        let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
        let layout = placement::found(&spec, &zones, &mut Counted(0)).expect("it has room");
        let home = Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() };
        let owner = Owner { home, uid: "u1".to_owned() };
        Self {
            owner,
            layout,
            template: Some(with("")),
            pods_due: PodsDue::All,
            there: SeenObjects::default(),
        }
    }

    /// The same with all that it wants, as the API server tells of it.
    fn whole() -> Self {
        let mut case = Self::new();
        let wanted = case.wanted();
        for object in wanted.objects() {
            case.saw(object, |_| ());
        }
        assert_eq!(case.due(), [""; 0]);
        case
    }

    fn rendered<T>(&self, of: impl FnOnce(&Rendering<'_>) -> T) -> T {
        let operator = OperatorFacts { image: "i".to_owned(), news: "n".to_owned(), domain: "d".to_owned() };
        of(&Rendering {
            owner: &self.owner,
            template: self.template.as_ref(),
            operator: &operator,
            operator_namespace: "system",
            pods_due: self.pods_due,
        })
    }

    fn wanted(&self) -> Wanted {
        self.rendered(|rendering| Wanted::of(&self.layout, rendering))
    }

    /// A watch tells of it, edited.
    fn saw(&mut self, object: &Value, edit: impl FnOnce(&mut Value)) {
        let named = Object::of(object);
        let mut object = object.clone();
        object["metadata"]["uid"] = json!(format!("uid of {}", named.name));
        object["metadata"]["resourceVersion"] = json!("7");
        edit(&mut object);
        let seen = match named.kind.as_str() {
            "Pod" => {
                let (_, name, seen) = pod_seen(&read::<Pod>(object)).unwrap();
                self.there.pods.insert(name, seen);
                return;
            }
            "PersistentVolumeClaim" => ObjectSeen::of_claim(&read(object)),
            "Service" => ObjectSeen::whole(&read::<Service>(object)),
            "PodDisruptionBudget" => ObjectSeen::whole(&read::<PodDisruptionBudget>(object)),
            "NetworkPolicy" => ObjectSeen::whole(&read::<NetworkPolicy>(object)),
            other => panic!("nobody watches {other}"),
        };
        self.there.objects.insert(named, seen);
    }

    fn actions(&self) -> Actions {
        self.rendered(|rendering| missing_objects(&self.layout, &self.there, rendering))
    }

    /// What there is to do, in words.
    fn due(&self) -> Vec<String> {
        let actions = self.actions();
        let told = |action: &Action| {
            let what = match &action.what {
                What::Create(_) => "make".to_owned(),
                What::Mend(_) => "mend".to_owned(),
                What::Annotate(_) => "annotate".to_owned(),
                What::LetGo { uid } => format!("let go of {uid}"),
                What::Remove { uid, version } => {
                    format!(
                        "remove {uid}{}",
                        version.as_deref().map(|it| format!(" at {it}")).unwrap_or_default()
                    )
                }
            };
            format!("{} {}: {what}", action.object.kind, action.object.name)
        };
        let mut due: Vec<String> = actions.first.iter().chain(&actions.pods).map(told).collect();
        due.extend(actions.told().map(|waiting| waiting.to_string()));
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
    let actions = case.actions();
    assert_eq!((actions.first.len(), actions.pods.len()), (4 + 3, 3));
    assert!(case.due().iter().all(|due| due.ends_with(": make")), "{:?}", case.due());
    let instances: Vec<_> = actions.first.iter().filter_map(|due| due.instance.clone()).collect();
    assert_eq!(instances.len(), 3, "a claim that cannot be made is its instance's trouble");
}

#[test]
fn a_pod_that_never_ran_is_replaced_when_it_would_be_made_otherwise() {
    let mut case = Case::whole();
    case.template = Some(with("  imageName: valkey/valkey:9.9.9\n"));
    let remove = [
        "Pod demo-0: remove uid of demo-0",
        "Pod demo-1: remove uid of demo-1",
        "Pod demo-2: remove uid of demo-2",
    ];
    assert_eq!(case.due(), remove);
    let container = |name: &str, restarts: u32, state: Value| {
        json!({
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
        })
    };
    for (state, due) in [
        (json!({ "waiting": { "reason": "ImagePullBackOff" } }), 3),
        (json!({ "running": {} }), 2),
        (json!({ "terminated": { "exitCode": 1 } }), 2),
    ] {
        let pod = Case::whole().pod("demo-1");
        case.saw(&pod, |pod| {
            pod["status"] = json!({ "containerStatuses": [container("server", 0, state.clone())] });
        });
        assert_eq!(case.due().len(), due, "{state}");
    }
    // It ran, and cannot start any more: too little memory, say. One that runs beside another container that waits is left alone.
    let waits = || json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    for (beside, due) in [(waits(), 3), (json!({ "running": {} }), 2)] {
        let pod = Case::whole().pod("demo-1");
        case.saw(&pod, |pod| {
            let containers = [container("server", 3, beside), container("injected", 3, waits())];
            pod["status"] = json!({ "containerStatuses": containers });
        });
        assert_eq!(case.due().len(), due);
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
    case.template = Some(with("  storage:\n    size: 2Gi\n"));
    assert_eq!(case.due(), [""; 0], "claims with a volume");
    case.saw(&claim, |claim| claim["status"] = json!({ "phase": "Pending" }));
    // In that very version: should it have got a volume meanwhile, it stays.
    assert_eq!(case.due(), ["PersistentVolumeClaim demo-data-1: remove uid of demo-data-1 at 7"]);
    case.template = Some(with(""));
    assert_eq!(case.due(), [""; 0]);
    case.template = Some(with("  storage:\n    size: 2Gi\n"));
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
    case.template = Some(with("  imageName: valkey/valkey:9.9.9\n  storage:\n    size: 2Gi\n"));
    let named = |name: &str| {
        format!("{name} was not made by Valkeeper for this cluster and is left as it is: rename or remove it")
    };
    let due = case.due();
    assert_eq!(due[..2], ["Pod demo-1: remove uid of demo-1", "Pod demo-2: remove uid of demo-2"]);
    assert_eq!(
        due[2..],
        [named("Service demo-any"), named("Pod demo-0"), named("PersistentVolumeClaim demo-data-1")]
    );
    let lacking: Vec<_> = case.actions().in_the_way().map(ToString::to_string).collect();
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
    case.layout = case.layout.clone().founded();
    assert_eq!(case.due().iter().filter(|due| due.ends_with("annotate")).count(), 3);
    case.saw(&claim, |claim| {
        claim["metadata"]["annotations"]["redis.io/layout"] = json!("{\"of\":\"a newer version\"}");
    });
    assert_eq!(case.due().iter().filter(|due| due.ends_with("annotate")).count(), 2);
}

#[test]
fn a_pod_that_is_being_deleted_is_let_go_and_made_when_it_is_gone() {
    let mut case = Case::whole();
    let pod = case.pod("demo-1");
    case.saw(&pod, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert_eq!(case.due(), [""; 0]);
    case.there.pods.remove(&"demo-1".parse().unwrap());
    assert_eq!(case.due(), ["Pod demo-1: make"]);
}

#[test]
fn a_pod_of_a_lost_node_is_left_until_kubernetes_gives_it_up() {
    let mut case = Case::whole();
    let pod = case.pod("demo-1");
    // Not heard of, then tainted: the pod is to end, and nobody is there to end it.
    let on_node = |status: Value| {
        move |pod: &mut Value| {
            pod["spec"]["nodeName"] = json!("node-1");
            pod["status"] = status;
        }
    };
    let ready = |status: &str| json!([{ "type": "Ready", "status": status }]);
    case.saw(&pod, on_node(json!({ "phase": "Running", "conditions": ready("False") })));
    assert_eq!(case.due(), [""; 0]);
    case.saw(&pod, |pod| {
        on_node(json!({ "phase": "Running", "conditions": ready("False") }))(pod);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(case.due(), [""; 0]);
    // Its node was shut down, and has come back: the kubelet calls it failed.
    case.saw(&pod, on_node(json!({ "phase": "Failed", "reason": "Terminated" })));
    assert_eq!(case.due(), ["Pod demo-1: remove uid of demo-1"]);
}

#[test]
fn a_claim_that_is_being_deleted_is_left_and_made_when_it_is_gone() {
    let mut case = Case::whole();
    let claim = case.claim("demo-1");
    case.template = Some(with("  storage:\n    size: 2Gi\n"));
    case.saw(&claim, |claim| {
        claim["status"] = json!({ "phase": "Pending" });
        claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(case.due(), [""; 0]);
    case.there.objects.remove(&Object::of(&claim));
    assert_eq!(case.due(), ["PersistentVolumeClaim demo-data-1: make"]);
}

#[test]
fn a_pod_whose_zone_has_no_node_waits_for_one() {
    let mut case = Case::whole();
    let pod = case.pod("demo-1");
    case.saw(&pod, |pod| {
        let condition =
            json!({ "type": "PodScheduled", "status": "False", "message": "0/2 nodes are available" });
        pod["status"] = json!({ "phase": "Pending", "conditions": [condition] });
    });
    assert_eq!(case.due(), [""; 0]);
    // Made again it is for the same zone: its volume is there.
    case.there.pods.remove(&"demo-1".parse().unwrap());
    assert_eq!(case.due(), ["Pod demo-1: make"]);
    let zone = &case.layout.instances[&"demo-1".parse().unwrap()].zone;
    let affinity = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let expression = &affinity["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(expression["values"], json!([zone]));
}

#[test]
fn without_a_manifest_that_can_be_read_only_what_needs_none_is_looked_after() {
    let mut case = Case::whole();
    let (pod, any) = (case.pod("demo-2"), network::any(&case.owner));
    case.saw(&pod, |pod| pod["status"] = json!({ "phase": "Failed" }));
    case.there.pods.remove(&"demo-1".parse().unwrap());
    case.there.objects.remove(&Object::of(&any));
    case.template = None;
    assert_eq!(case.due(), ["Service demo-any: make"]);
}

#[test]
fn pods_are_made_for_those_whose_turn_it_is() {
    let mut case = Case::new();
    let pods = |case: &Case| case.actions().pods.len();
    case.pods_due = PodsDue::of(None, None);
    assert_eq!(pods(&case), 3);
    case.pods_due = PodsDue::of(Some("the Secret is missing"), None);
    assert_eq!((pods(&case), case.actions().first.len()), (0, 4 + 3), "all else is made");
    // Every instance but one becomes a replica.
    let shards = std::sync::Arc::make_mut(&mut case.layout.shards);
    let founder: InstanceName = "demo-1".parse().unwrap();
    for shard in shards.values_mut() {
        shard.founder = founder.clone();
    }
    case.pods_due = PodsDue::of(None, Some(std::time::Duration::from_secs(1)));
    assert_eq!(
        case.actions().pods.iter().filter_map(|pod| pod.instance.clone()).collect::<Vec<_>>(),
        [founder]
    );
    // What is there is looked after all the same.
    let mut whole = Case::whole();
    whole.pods_due = PodsDue::Nobody;
    let pod = whole.pod("demo-2");
    whole.saw(&pod, |pod| pod["status"] = json!({ "phase": "Failed" }));
    assert_eq!(whole.due(), ["Pod demo-2: remove uid of demo-2"]);
}

#[test]
fn a_budget_that_is_not_wanted_is_removed_if_it_is_ours() {
    let mut case = Case::whole();
    case.template = Some(with("  enablePodDisruptionBudget: false\n"));
    assert_eq!(case.due(), ["PodDisruptionBudget demo: remove uid of demo"]);
    case.saw(&network::disruption_budget(&case.owner, 3), |budget| {
        budget["metadata"]["ownerReferences"][0]["uid"] = json!("u0");
    });
    assert_eq!(case.due(), [""; 0]);
}

#[test]
fn of_one_that_was_removed_the_pod_goes_and_the_volume_stays() {
    let mut case = Case::whole();
    let last: valkeeper_model::InstanceName = "demo-2".parse().unwrap();
    let pod = case.pod("demo-2");
    let removed = Arc::make_mut(&mut case.layout.instances).remove(&last).unwrap();
    let gone = valkeeper_model::RetiredInstance {
        shard: removed.shard,
        zone: removed.zone,
        node_id: removed.node_id,
        newer: valkeeper_model::NewerFields::default(),
    };
    Arc::make_mut(&mut case.layout.retired).insert(last, gone);
    let due = case.due();
    let of_it: Vec<&String> = due.iter().filter(|one| one.contains("demo-2")).collect();
    assert_eq!(of_it, ["Pod demo-2: remove uid of demo-2"], "{due:?}");
    // Its node does not answer: nobody is waited for.
    case.saw(&pod, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert!(case.due().contains(&"Pod demo-2: let go of uid of demo-2".to_owned()), "{:?}", case.due());
}

/// The cluster hibernates, by what is stored of that and of these instances.
fn hibernates(case: &mut Case, stored: valkeeper_model::Hibernation, of: &[&str]) {
    case.layout.hibernation = Some(stored);
    for name in of {
        let instances = Arc::make_mut(&mut case.layout.instances);
        let one = instances.get_mut(&name.parse::<InstanceName>().unwrap()).unwrap();
        one.fences.set(valkeeper_model::FencedBy::Hibernation);
    }
}

#[test]
fn of_a_cluster_that_hibernates_pods_go_and_nothing_else() {
    use valkeeper_model::Hibernation;
    let all = ["demo-0", "demo-1", "demo-2"];
    // Not before all servers are stopped, whatever is stored.
    for (stored, of) in [(Hibernation::Stopping, &all[..]), (Hibernation::Stopped, &all[..2])] {
        let mut case = Case::whole();
        hibernates(&mut case, stored, of);
        assert!(!case.due().iter().any(|due| due.starts_with("Pod ")), "{:?}", case.due());
    }
    let mut case = Case::whole();
    let ending = case.pod("demo-2");
    hibernates(&mut case, Hibernation::Stopped, &all);
    case.saw(&ending, |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    let due = case.due();
    let removed: Vec<_> = due.iter().filter(|one| one.contains("remove")).collect();
    assert_eq!(removed, ["Pod demo-0: remove uid of demo-0", "Pod demo-1: remove uid of demo-1"]);
    // And none is made until it runs again.
    let mut gone = Case::new();
    hibernates(&mut gone, Hibernation::Stopped, &all);
    assert!(!gone.due().iter().any(|due| due.starts_with("Pod ")), "{:?}", gone.due());
}

#[test]
fn a_volume_of_no_instance_is_kept() {
    let mut case = Case::whole();
    let mut claim = case.claim("demo-1");
    claim["metadata"]["name"] = json!("demo-data-7");
    case.saw(&claim, |_| ());
    assert_eq!(case.due(), [""; 0]);
}

#[test]
fn a_layout_that_was_taken_away_is_missed() {
    let cluster: ClusterName = "demo".parse().unwrap();
    let mut there = SeenObjects::default();
    assert!(is_layout_missing(&cluster, &there));
    let seen = ObjectSeen::of(&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default());
    there.objects.insert(Object::new("ConfigMap", "demo-layout"), seen);
    assert!(!is_layout_missing(&cluster, &there));
}
