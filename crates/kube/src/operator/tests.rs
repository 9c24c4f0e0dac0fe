//! The operator's loop, from the watches to what is written, on an API server in memory. No agent answers: what is made is seen, and
//! what servers do is tried elsewhere.

use super::fake_api::{FakeApi, Verb, Write, failure};
use super::*;
use crate::pod::register::LeaseRegister;
use crate::wire::Home;
use futures::FutureExt as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;
use valkeeper_agent::Register as _;
use valkeeper_kube_api::names::{LABEL_ZONE, LAYOUT_KEY};
use valkeeper_kube_api::{RedisCluster, RedisClusterRequest};
use valkeeper_model::{
    ClusterId, Epoch, KnownVotes, Layout, NodeId, PrimaryTerm, RegisterFault, RegisterLife,
};
use valkeeper_plan::mode::standalone::register::{RegisterAnswer, RegisterAsk, RegisterWish};

/// The pods of the cluster.
const PODS: usize = 6;
/// What is due at once is done by then.
const AT_ONCE: Duration = Duration::from_millis(500);

/// An operator that leads, and the API server that it talks to.
struct Leading {
    api: FakeApi,
    context: Arc<Context>,
    task: JoinHandle<()>,
}

impl Leading {
    /// Three nodes in a zone each, and no cluster yet.
    async fn start() -> Self {
        Self::on(FakeApi::default()).await
    }

    /// The same on what another one has left.
    async fn on(api: FakeApi) -> Self {
        for zone in ["a", "b", "c"] {
            api.put(
                "nodes",
                json!({
                    "apiVersion": "v1", "kind": "Node",
                    "metadata": { "name": format!("node-{zone}"), "labels": { LABEL_ZONE: zone } },
                    "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
                }),
            );
        }
        let setup = OperatorSetup {
            namespace: "valkeeper-system".to_owned(),
            name: "operator-0".to_owned(),
            image: "valkeeper:test".to_owned(),
            news: news_address("valkeeper-system"),
            scope: Scope::Only(vec!["shop".to_owned()]),
            listen: IpAddr::from([127, 0, 0, 1]),
            lifetimes: Lifetimes::default(),
            domain: Some("cluster.local".to_owned()),
        };
        let (context, watches) = observe(&api.client(), &setup, Arc::new(Phases::new())).await;
        let leading = Arc::clone(&context);
        let task = tokio::spawn(async move { follow_clusters(&leading, &watches).await });
        Self { api, context, task }
    }

    /// A user applies `examples/kubernetes.yaml`.
    fn apply_example(&self) {
        self.apply(include_str!("../../../../examples/kubernetes.yaml"));
    }

    /// A user makes what a manifest says.
    fn apply(&self, text: &str) {
        let mut object: Value = serde_saphyr::from_str(text).unwrap();
        object["metadata"]["namespace"] = json!("shop");
        object["metadata"]["generation"] = json!(1);
        self.api.put(RedisCluster::PLURAL, object);
    }

    /// The example, of which everything is there.
    async fn with_example() -> Self {
        let leading = Self::start().await;
        leading.apply_example();
        leading.api.until("all pods", |api| api.count("pods") == PODS).await;
        leading.settle().await;
        leading
    }

    /// Waits until nothing has been written for a while.
    async fn settle(&self) {
        loop {
            let before = self.api.writes().len();
            tokio::time::sleep(AT_ONCE).await;
            if self.api.writes().len() == before {
                return;
            }
        }
    }

    /// Has the controller provision once more, and waits until it has.
    async fn round(&self) {
        let home = Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() };
        let seen = self.context.cache.of(&home);
        seen.reprovision.notify_one();
        tokio::time::sleep(AT_ONCE).await;
        assert!(seen.reprovision.notified().now_or_never().is_none(), "nobody provisions");
    }

    /// Whether people were told that in a status.
    fn told(&self, text: &str) -> bool {
        let of_status = |write: &Write| write.what == "patch redisclusters/demo";
        self.api.writes().iter().filter(|write| of_status(write)).any(|write| says(&write.body, text))
    }

    /// Whether the status says that now.
    fn tells(&self, text: &str) -> bool {
        self.api.object(RedisCluster::PLURAL, "demo").is_some_and(|cluster| says(&cluster["status"], text))
    }
}

fn says(value: &Value, text: &str) -> bool {
    match value {
        Value::String(said) => said.contains(text),
        Value::Array(all) => all.iter().any(|one| says(one, text)),
        Value::Object(all) => all.values().any(|one| says(one, text)),
        _ => false,
    }
}

#[tokio::test]
async fn what_is_missing_is_made_in_order() {
    let leading = Leading::start().await;
    leading.apply_example();
    leading.api.until("the first pods", |api| api.count("pods") > 0).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let first = leading.api.names("pods");
    leading.api.until("all pods", |api| api.count("pods") == PODS).await;
    let writes = leading.api.writes();
    let created: Vec<&str> = writes
        .iter()
        .filter(|write| write.code == 200)
        .filter_map(|write| write.what.strip_prefix("create "))
        .filter(|what| !what.starts_with("events/"))
        .collect();
    let map = leading.api.object("configmaps", "demo-layout").unwrap();
    let layout = Layout::read(map["data"][LAYOUT_KEY].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(first, layout.shards.values().map(|shard| shard.founder.to_string()).collect());
    // What comes before what; within a step all is made side by side.
    let step = |what: &str| match what.split_once('/').unwrap() {
        ("secrets", "demo-ca") => 0,
        ("configmaps", "demo-layout") => 1,
        ("secrets", "demo-auth") => 2,
        ("secrets", "demo-agent-tls") => 3,
        ("services" | "networkpolicies" | "poddisruptionbudgets" | "persistentvolumeclaims", _) => 4,
        ("pods", _) => 5,
        _ => panic!("{what} is not of the cluster"),
    };
    let steps: Vec<i32> = created.iter().map(|what| step(what)).collect();
    assert!(steps.is_sorted(), "{created:#?}");
    let expected = 4 + 2 + 1 + 1 + PODS + PODS;
    assert_eq!(created.len(), expected, "{created:#?}");
}

#[tokio::test]
async fn rounds_with_nothing_to_do_write_nothing() {
    let leading = Leading::with_example().await;
    // What was made is right: nothing was mended, which would be held back for a while and not show in the next rounds.
    let is_made = |write: &Write| write.what.starts_with("create ");
    let is_status = |write: &Write| write.what == "patch redisclusters/demo";
    let writes = leading.api.writes();
    let mended = writes.iter().filter(|write| !is_made(write) && !is_status(write));
    assert_eq!(mended.map(|write| write.what.as_str()).collect::<Vec<_>>(), [""; 0]);
    let before = leading.api.writes().len();
    leading.round().await;
    leading.round().await;
    let new: Vec<String> =
        leading.api.writes().split_off(before).into_iter().map(|write| write.what).collect();
    assert_eq!(new, [""; 0]);
}

#[tokio::test]
async fn what_was_deleted_by_hand_is_made_again() {
    let leading = Leading::with_example().await;
    for (kind, name) in [
        ("services", "demo-any"),
        ("poddisruptionbudgets", "demo"),
        ("networkpolicies", "demo"),
        ("persistentvolumeclaims", "demo-data-1"),
        ("pods", "demo-1"),
        ("secrets", "demo-auth"),
        ("secrets", "demo-ca"),
        ("configmaps", "demo-layout"),
    ] {
        let before = leading.api.object(kind, name).unwrap();
        leading.api.delete(kind, name);
        leading.api.until(name, |api| api.object(kind, name).is_some()).await;
        let after = leading.api.object(kind, name).unwrap();
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
        // The same password, CA and layout: servers and agents have them.
        assert_eq!(after["data"], before["data"], "{kind}/{name}");
    }
}

#[tokio::test]
async fn an_edit_that_conflicts_is_put_right_all_the_same() {
    let leading = Leading::with_example().await;
    let wanted = leading.api.object("services", "demo-any").unwrap()["spec"].clone();
    leading.api.refuse(Verb::Patch, "services", 1, failure(409, "Conflict", "it was modified"));
    leading.api.edit("services", "demo-any", &json!({ "spec": { "selector": { "app": "web" } } }));
    let is_right = |api: &FakeApi| api.object("services", "demo-any").unwrap()["spec"] == wanted;
    leading.api.until("the selector", is_right).await;
    let writes = leading.api.writes();
    let codes = writes.iter().filter(|write| write.what == "patch services/demo-any").map(|write| write.code);
    assert_eq!(codes.collect::<Vec<_>>(), [409, 200]);
    assert!(!leading.told("modified"), "a conflict is nobody's trouble");
}

#[tokio::test]
async fn a_layout_that_another_has_made_meanwhile_is_not_written_over() {
    let leading = Leading::start().await;
    let conflict = failure(409, "AlreadyExists", "configmaps \"demo-layout\" already exists");
    leading.api.refuse(Verb::Create, "configmaps", 1, conflict);
    leading.apply_example();
    leading.api.until("all pods", |api| api.count("pods") == PODS).await;
    let writes = leading.api.writes();
    let codes = writes.iter().filter(|write| write.what == "create configmaps/demo-layout");
    assert_eq!(codes.map(|write| write.code).collect::<Vec<_>>(), [409, 200]);
}

#[tokio::test]
async fn what_the_api_server_fails_at_is_told_and_tried_again() {
    let leading = Leading::start().await;
    let failed = failure(500, "InternalError", "etcdserver: request timed out");
    leading.api.refuse(Verb::Create, "persistentvolumeclaims", 1, failed);
    leading.apply_example();
    leading.api.until("all pods", |api| api.count("pods") == PODS).await;
    assert!(leading.told("etcdserver: request timed out"));
    leading.api.until("the all-clear", |_| !leading.tells("etcdserver")).await;
    // The one whose claim failed came last: its pod would have waited for it.
    let writes = leading.api.writes();
    let failed = writes.iter().find(|write| write.code == 500).unwrap();
    let pod = failed.what.replace("create persistentvolumeclaims/demo-data-", "create pods/demo-");
    let position = |what: &str| writes.iter().position(|write| write.what == what && write.code == 200);
    assert!(position(&failed.what) < position(&pod), "{} before {pod}", failed.what);
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let leading = Leading::start().await;
    let why = "pods is forbidden: User \"system:serviceaccount:valkeeper-system:valkeeper-operator\" cannot create resource \"pods\" in API group \"\" in the namespace \"shop\"";
    leading.api.refuse(Verb::Create, "pods", usize::MAX, failure(403, "Forbidden", why));
    leading.apply_example();
    leading.api.until("the reason", |_| leading.tells("cannot create resource \"pods\"")).await;
    assert_eq!(leading.api.count("pods"), 0);
    assert_eq!(leading.api.count("persistentvolumeclaims"), PODS, "all else goes on");
    leading.api.allow();
    leading.api.until("all pods", |api| api.count("pods") == PODS).await;
    leading.api.until("the all-clear", |_| !leading.tells("cannot create")).await;
}

#[tokio::test]
async fn who_may_not_even_make_a_ca_says_so() {
    let leading = Leading::start().await;
    let why = "secrets is forbidden: User \"operator\" cannot create resource \"secrets\" in API group \"\" in the namespace \"shop\"";
    leading.api.refuse(Verb::Create, "secrets", usize::MAX, failure(403, "Forbidden", why));
    leading.apply_example();
    leading.api.until("the reason", |_| leading.tells("cannot create resource \"secrets\"")).await;
    leading.api.allow();
    leading.api.until("all pods", |api| api.count("pods") == PODS).await;
}

#[tokio::test]
async fn a_request_for_a_cluster_that_is_not_there_is_answered() {
    let leading = Leading::start().await;
    leading.api.put(
        RedisClusterRequest::PLURAL,
        json!({
            "apiVersion": "redis.io/v1", "kind": "RedisClusterRequest",
            "metadata": { "name": "r1", "namespace": "shop" },
            "spec": { "cluster": "nowhere", "request": { "restart": { "instance": "nowhere-0" } } },
        }),
    );
    let answered = |api: &FakeApi| {
        api.object(RedisClusterRequest::PLURAL, "r1")
            .is_some_and(|request| says(&request["status"], "there is no"))
    };
    leading.api.until("an answer", answered).await;
}

#[tokio::test]
async fn an_annotation_that_cannot_be_followed_is_told_until_it_is_taken_away() {
    let leading = Leading::with_example().await;
    let annotate = |value: Value| {
        let annotations = json!({ "redis.io/fencedInstances": value });
        leading.api.edit(
            RedisCluster::PLURAL,
            "demo",
            &json!({ "metadata": { "annotations": annotations } }),
        );
    };
    annotate(json!(r#"["demo-99"]"#));
    let says = |api: &FakeApi, text: &str| {
        let waiting =
            api.object(RedisCluster::PLURAL, "demo").map(|cluster| cluster["status"]["waiting"].clone());
        waiting.is_some_and(|waiting| says(&waiting, text))
    };
    leading.api.until("the reason", |api| says(api, "there is no instance demo-99")).await;
    annotate(Value::Null);
    leading.api.until("no reason", |api| !says(api, "demo-99")).await;
    assert_eq!(leading.api.count("pods"), PODS);
    // Without the webhook a word that is none is told by a condition.
    annotate(json!("demo-0"));
    leading.api.until("the condition", |_| leading.tells("InvalidSpec")).await;
}

/// The pods of `examples/following-kubernetes.yaml`.
const FOLLOWING_PODS: usize = 2;

/// A cluster that follows another, of which everything is there.
async fn following() -> Leading {
    let leading = Leading::start().await;
    leading.apply(include_str!("../../../../examples/following-kubernetes.yaml"));
    leading.api.until("all pods", |api| api.count("pods") == FOLLOWING_PODS).await;
    leading
}

/// How far the stored layout is with following.
fn stage(api: &FakeApi) -> Value {
    let map = api.object("configmaps", "copy-layout").unwrap();
    let layout: Value = serde_json::from_str(map["data"][LAYOUT_KEY].as_str().unwrap()).unwrap();
    layout["replicaMode"]["stage"].clone()
}

/// What the status says of a condition: its status, reason and message.
fn condition(api: &FakeApi, kind: &str) -> [String; 3] {
    let cluster = api.object(RedisCluster::PLURAL, "copy").unwrap();
    let all = cluster["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let one = all.into_iter().find(|one| one["type"] == kind).unwrap_or_default();
    ["status", "reason", "message"].map(|field| one[field].as_str().unwrap_or_default().to_owned())
}

fn wish(promote: bool) -> Value {
    let generation = if promote { 2 } else { 3 };
    json!({ "metadata": { "generation": generation }, "spec": { "replicaMode": { "promote": promote } } })
}

#[tokio::test]
async fn a_promotion_is_stored_and_goes_on_with_the_next_operator() {
    let leading = following().await;
    let enabled = "Cluster is replicating from cache (cache-leader.default.svc.cluster.local:6379)";
    let enabled = ["True", "Enabled", enabled].map(str::to_owned);
    leading.api.until("the condition", |api| condition(api, "ReplicaMode") == enabled).await;
    leading.api.edit(RedisCluster::PLURAL, "copy", &wish(true));
    let is_promoting = |api: &FakeApi| !stage(api)["promoting"].is_null();
    leading.api.until("the promotion is stored", is_promoting).await;
    let told = |api: &FakeApi| {
        let cluster = api.object(RedisCluster::PLURAL, "copy").unwrap();
        cluster["status"]["replicaMode"]["stage"] == "Promoting" && condition(api, "SpecValid")[0] == "True"
    };
    leading.api.until("the status", told).await;
    // The operator dies, and the layout is taken away with it: the volumes carry it.
    leading.settle().await;
    let api = leading.api.clone();
    leading.task.abort();
    drop(leading);
    api.delete("configmaps", "copy-layout");
    let next = Leading::on(api).await;
    next.api.until("the layout", |api| api.object("configmaps", "copy-layout").is_some()).await;
    next.api.until("the promotion goes on", is_promoting).await;
    // Who takes the wish back is told that it is under way.
    next.api.edit(RedisCluster::PLURAL, "copy", &wish(false));
    let refused = |api: &FakeApi| condition(api, "SpecValid")[2].contains("the cluster is being promoted");
    next.api.until("the refusal", refused).await;
    assert!(is_promoting(&next.api));
}

#[tokio::test]
async fn who_takes_replica_mode_away_while_it_follows_is_told_and_nothing_changes() {
    let leading = following().await;
    leading.settle().await;
    let off = json!({ "metadata": { "generation": 2 }, "spec": { "replicaMode": { "enabled": false } } });
    leading.api.edit(RedisCluster::PLURAL, "copy", &off);
    let refused = |api: &FakeApi| {
        let [holds, reason, message] = condition(api, "SpecValid");
        holds == "False" && reason == "ChangeRefused" && message.contains("follows cache")
    };
    leading.api.until("the refusal", refused).await;
    assert_eq!(stage(&leading.api), "following");
}

fn seat(of: u8) -> NodeId {
    NodeId::from_bytes([of; 20])
}

/// What the agent of one of two asks the register.
async fn asks(
    register: &LeaseRegister,
    of: u8,
    life: Option<RegisterLife>,
    wish: RegisterWish,
) -> Result<RegisterAnswer, RegisterFault> {
    let known = Some(PrimaryTerm { term: Epoch(1), primary: seat(1) });
    let votes = KnownVotes { known, ..KnownVotes::default() };
    let (cluster, agents) = (ClusterId::from_bytes([7; 20]), BTreeSet::from([seat(1), seat(2)]));
    let ask = RegisterAsk { cluster, from: seat(of), agents, votes, life, wish };
    register.ask(ask, Duration::from_secs(60)).await
}

/// Of two that write at a time one reads again; a vote stands in the Lease before it is given, and one that is lost gives none.
#[tokio::test]
async fn a_register_is_a_lease_that_is_replaced_by_its_version() {
    let api = FakeApi::default();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "demo-register", "namespace": "shop" },
    });
    let home = Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() };
    let register = LeaseRegister::new(api.client(), &home);
    let vote = |term| RegisterWish::Vote { term: Epoch(term), unchanged: None };
    let missing = asks(&register, 2, None, vote(2)).await;
    assert!(matches!(missing, Err(RegisterFault::Unreachable { .. })), "{missing:?}");
    api.put("leases", lease.clone());
    let life = match asks(&register, 2, None, vote(2)).await {
        Ok(RegisterAnswer::Gathering(life)) => Some(life),
        other => panic!("{other:?}"),
    };
    asks(&register, 1, life, RegisterWish::Exchange).await.unwrap();
    asks(&register, 2, life, RegisterWish::Exchange).await.unwrap();
    api.refuse(Verb::Update, "leases", 1, failure(409, "Conflict", "it was modified"));
    let given = asks(&register, 2, life, vote(2)).await;
    assert!(matches!(given, Ok(RegisterAnswer::Vote { refused: None, .. })), "{given:?}");
    let codes = api.writes().into_iter().rev().take(2).map(|write| write.code);
    assert_eq!(codes.collect::<Vec<_>>(), [200, 409]);
    let other = asks(&LeaseRegister::new(api.client(), &home), 1, life, vote(2)).await;
    assert!(matches!(other, Ok(RegisterAnswer::Vote { refused: Some(_), .. })), "{other:?}");
    api.delete("leases", "demo-register");
    api.put("leases", lease);
    let anew = asks(&register, 1, life, vote(3)).await;
    assert!(matches!(anew, Ok(RegisterAnswer::Gathering(anew)) if Some(anew) != life), "{anew:?}");
}
