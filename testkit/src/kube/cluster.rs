//! A cluster in a namespace of its own.

use super::bed::Bed;
use crate::traffic::runtime;
use crate::waiting::DEADLINE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use valkeeper_client::{AdminConnection, Endpoint, LoadReport, Password};
use valkeeper_model::Mode;

/// Longer than readiness probes are apart.
const SOON: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// With slots or without.
    pub mode: Mode,
    /// Shards.
    pub shards: u32,
    /// Replicas of each.
    pub replicas: u32,
}

/// Of most scenarios.
pub const WHOLE: Shape = Shape { mode: Mode::Cluster, shards: 3, replicas: 1 };

/// One primary and two replicas, without slots.
pub const SET: Shape = Shape { mode: Mode::Standalone, shards: 1, replicas: 2 };

/// A cluster. Removed with its volumes when it goes out of scope.
#[derive(Debug)]
pub struct KubeCluster<'a> {
    /// Where it lives.
    pub bed: &'a Bed,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    extra: String,
    /// Its manifest, where that is given as a whole.
    written: Option<String>,
    shape: Shape,
    stays: bool,
}

impl<'a> KubeCluster<'a> {
    /// Not made yet. `extra` are lines of its spec, each with two blanks before it.
    pub fn describe(bed: &'a Bed, namespace: &str, shape: Shape, extra: &str) -> Self {
        if bed.try_kubectl(&["get", "namespace", namespace]).is_err() {
            bed.kubectl(&["create", "namespace", namespace]);
            crate::waiting::until("the namespace can have pods", || {
                bed.try_kubectl(&["-n", namespace, "get", "serviceaccount", "default"]).ok()
            });
        }
        Self {
            bed,
            namespace: namespace.to_owned(),
            name: "cache".to_owned(),
            extra: extra.to_owned(),
            written: None,
            shape,
            stays: false,
        }
    }

    /// Not made yet, of a manifest that is applied as it is written: with that name and in that namespace.
    pub fn of_manifest(bed: &'a Bed, (namespace, name): (&str, &str), shape: Shape, manifest: &str) -> Self {
        let mut described = Self::describe(bed, namespace, shape, "");
        name.clone_into(&mut described.name);
        described.written = Some(manifest.to_owned());
        described
    }

    /// Made, and healthy.
    pub fn create(bed: &'a Bed, namespace: &str) -> Self {
        let cluster = Self::describe(bed, namespace, WHOLE, "");
        cluster.apply();
        cluster.until_healthy();
        cluster
    }

    /// The one that stays from one scenario to the next: making one takes most of the time of many. Empty, and made anew if the
    /// scenario before has left it in a bad state.
    pub fn standing(bed: &'a Bed) -> Self {
        Self::standing_of(bed, "standing", WHOLE)
    }

    /// The same of another shape, in a namespace of its own.
    pub fn standing_of(bed: &'a Bed, namespace: &str, shape: Shape) -> Self {
        let mut cluster = Self::describe(bed, namespace, shape, "");
        cluster.stays = true;
        if !cluster.is_whole_soon() {
            cluster.force_away();
            cluster.until("it is gone", || {
                cluster.kubectl(&["get", "pods,pvc", "-o", "name"]).is_empty().then_some(())
            });
            cluster.apply();
        }
        cluster.until_healthy();
        cluster.until_spread();
        cluster.until_judged();
        for (shard, mut connection) in cluster.primaries() {
            redis::cmd("FLUSHALL")
                .exec(&mut connection)
                .unwrap_or_else(|error| cluster.fail(&format!("{shard}: {error}")));
        }
        cluster
    }

    /// A scenario may end before the last probe has told that a pod is ready again.
    fn is_whole_soon(&self) -> bool {
        let begun = Instant::now();
        while self.try_kubectl(&["get", "redisclusters", &self.name]).is_ok() {
            if self.is_healthy() && self.all_ready() {
                return true;
            }
            if begun.elapsed() > SOON {
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        false
    }

    /// Its manifest.
    pub fn manifest(&self) -> String {
        if let Some(written) = &self.written {
            return written.clone();
        }
        let (namespace, name, shape) = (&self.namespace, &self.name, self.shape);
        let servers = match shape.mode {
            Mode::Cluster => format!("shards: {}\n  replicasPerShard: {}", shape.shards, shape.replicas),
            Mode::Standalone | Mode::Sentinel => format!("instances: {}", shape.replicas + 1),
        };
        format!(
            "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  mode: {}\n  {servers}\n  storage:\n    size: 1Gi\n  resources:\n    requests:\n      cpu: 10m\n      memory: 16Mi\n{}",
            shape.mode, self.extra
        )
    }

    /// Applies it.
    pub fn apply(&self) {
        self.until_ok("the manifest is taken", || match self.bed.try_apply_text(&self.manifest(), &[]) {
            Ok(_) => Ok(()),
            // Its operator is just being replaced.
            Err(error) if error.contains("failed calling webhook") => Err(error),
            Err(error) => self.fail(&error),
        });
    }

    /// Waits until the webhook judges manifests: a scenario must not begin with what another has broken.
    pub fn until_judged(&self) {
        let another = self.manifest().replacen(&self.name, "judged", 1);
        self.until_ok("the webhook judges", || {
            self.bed.try_apply_text(&another, &["--server-side", "--dry-run=server"])
        });
    }

    /// Asks kubectl in its namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        self.bed.kubectl(&args)
    }

    /// The same; may fail.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let args: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        self.bed.try_kubectl(&args)
    }

    /// Asks the command line about it; stdout, or what it says on stderr if it fails.
    pub fn valkeeper(&self, args: &[&str]) -> Result<String, String> {
        let mut program = self.bed.program();
        program.args(["--kubernetes", "-n", &self.namespace, "--cluster", &self.name]).args(args);
        let ran = program.stdin(Stdio::null()).output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // `status` says with its exit code that the cluster is not healthy.
        let told = args.first() == Some(&"status") && ran.status.code() == Some(1) && ran.stderr.is_empty();
        if ran.status.success() || told { Ok(text(&ran.stdout)) } else { Err(text(&ran.stderr)) }
    }

    /// The same; a failure of it is one of the test.
    pub fn said(&self, args: &[&str]) -> String {
        self.valkeeper(args).unwrap_or_else(|error| self.fail(&format!("{args:?}: {error}")))
    }

    /// The object, as it is.
    pub fn object(&self) -> Value {
        let text = self.try_kubectl(&["get", "redisclusters", &self.name, "-o", "json"]).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Healthy, as far as the operator says?
    pub fn is_healthy(&self) -> bool {
        let status = &self.object()["status"];
        status["healthy"] == true && status["phase"] == "Healthy"
    }

    /// The message of a condition.
    pub fn condition_message(&self, kind: &str) -> Option<String> {
        let object = self.object();
        let conditions = object["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        Some(found["message"].as_str()?.to_owned())
    }

    /// Waits until its status tells of something with these words among what is not as it should be.
    pub fn until_waits_for(&self, words: &str) {
        self.until(&format!("status says: {words}"), || {
            let object = self.object();
            let waiting = object["status"]["waiting"].as_array()?;
            let says = |one: &Value| one["message"].as_str().is_some_and(|said| said.contains(words));
            waiting.iter().any(says).then_some(())
        });
    }

    /// A condition's status and reason.
    pub fn condition(&self, kind: &str) -> Option<(String, String)> {
        let object = self.object();
        let conditions = object["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
    }

    /// Waits until it is healthy and all pods are ready.
    pub fn until_healthy(&self) {
        self.until("the cluster is healthy", || (self.is_healthy() && self.all_ready()).then_some(()));
    }

    /// Waits until any zone may be lost: after a failover two primaries may be in one zone until one is switched back.
    pub fn until_spread(&self) {
        self.until("any zone may be lost", || {
            self.condition("ZoneLossTolerated").filter(|(status, _)| status == "True")
        });
    }

    fn all_ready(&self) -> bool {
        let pods = self.pods();
        let wanted = (self.shape.shards * (1 + self.shape.replicas)) as usize;
        let ready = |pod: &Value| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["containerStatuses"][0]["ready"] == true
        };
        pods.len() == wanted && pods.values().all(ready)
    }

    /// Its pods, by instance.
    pub fn pods(&self) -> BTreeMap<String, Value> {
        let label = format!("redis.io/cluster={},redis.io/workload=data", self.name);
        let text = self.try_kubectl(&["get", "pods", "-l", &label, "-o", "json"]).unwrap_or_default();
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .map(|pod| (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), pod))
            .collect()
    }

    /// The instance that serves a shard, and one of its replicas, as the operator says.
    pub fn roles(&self, shard: &str) -> (String, String) {
        let object = self.object();
        let shard = &object["status"]["shards"][shard];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&shard["primaryPod"]), text(&shard["replicaPods"][0]))
    }

    /// The same of all its shards.
    pub fn all_roles(&self) -> Vec<(String, String)> {
        (0..self.shape.shards).map(|shard| self.roles(&format!("s{shard}"))).collect()
    }

    /// Waits until another than that one serves the shard, and says who.
    pub fn until_other_primary(&self, shard: &str, than: &str) -> String {
        self.until(&format!("{shard} has another primary than {than}"), || {
            let (primary, _) = self.roles(shard);
            (!primary.is_empty() && primary != than).then_some(primary)
        })
    }

    /// The node an instance is on.
    pub fn node_of(&self, instance: &str) -> String {
        self.kubectl(&["get", "pod", instance, "-o", "jsonpath={.spec.nodeName}"])
    }

    /// The process of an instance's server, or of its agent, as this bed counts them.
    pub fn process(&self, instance: &str, server: bool) -> u32 {
        let node = self.node_of(instance);
        let object = self.kubectl(&["get", "pod", instance, "-o", "json"]);
        let pod: Value = serde_json::from_str(&object).expect("json");
        let container =
            pod["status"]["containerStatuses"][0]["containerID"].as_str().expect("it runs").to_owned();
        let container = container.trim_start_matches("containerd://").to_owned();
        let socket = format!("{}/{node}/c.sock", std::env::var("BED_RUN").expect("in a bed"));
        let listed = std::process::Command::new("ctr")
            .args(["-a", &socket, "-n", "k8s.io", "task", "ls"])
            .output()
            .expect("ctr runs");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let line = listed.lines().find(|line| line.starts_with(&container)).expect("its task is listed");
        let agent: u32 = line.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("a pid");
        if !server {
            return agent;
        }
        // A child belongs to the thread that started it.
        let threads = std::fs::read_dir(format!("/proc/{agent}/task")).expect("readable").flatten();
        let children: Vec<String> = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
            .collect();
        let children = children.join(" ");
        let child = children.split_whitespace().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with("valkey-server"))
        });
        child.and_then(|pid| pid.parse().ok()).expect("the server runs")
    }

    /// Kills a process.
    pub fn kill(&self, pid: u32) {
        self.bed.signal("KILL", pid);
    }

    /// Has a shard's primary deleted with its pod, and waits until another serves it and all are there again.
    pub fn delete_primary(&self, shard: &str) {
        let (primary, _) = self.roles(shard);
        self.kubectl(&["delete", "pod", &primary, "--wait=false"]);
        self.until_other_primary(shard, &primary);
        self.until_healthy();
    }

    /// Where clients begin: all its servers.
    pub fn seeds(&self) -> Vec<Endpoint> {
        let pods = self.pods();
        let ip = |pod: &Value| pod["status"]["podIP"].as_str().map(|ip| Endpoint::new(ip, 6379));
        pods.values().filter_map(ip).collect()
    }

    /// Where a Service of it answers, as `leader`.
    pub fn service(&self, of: &str) -> Endpoint {
        let name = format!("{}-{of}", self.name);
        Endpoint::new(self.kubectl(&["get", "service", &name, "-o", "jsonpath={.spec.clusterIP}"]), 6379)
    }

    /// The instances that a Service of it leads to, as `leader`.
    pub fn behind_service(&self, of: &str) -> Vec<String> {
        let label = format!("kubernetes.io/service-name={}-{of}", self.name);
        let path = "jsonpath={.items[*].endpoints[*].targetRef.name}";
        let found = self.try_kubectl(&["get", "endpointslices", "-l", &label, "-o", path]);
        let mut names: Vec<String> =
            found.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The volume that an instance has its data on.
    pub fn volume_of(&self, instance: &str) -> String {
        let claim = instance.replacen(&self.name, &format!("{}-data", self.name), 1);
        self.kubectl(&["get", "pvc", &claim, "-o", "jsonpath={.spec.volumeName}"])
    }

    /// How many servers let in who has this password.
    pub fn let_in_with(&self, password: &str) -> usize {
        let runtime = runtime();
        let lets_in = |server: &Endpoint| {
            let server = AdminConnection::new(server.clone(), Some(Password::new(password)));
            runtime.block_on(server.ping(Duration::from_secs(2))).is_ok()
        };
        self.seeds().iter().filter(|server| lets_in(server)).count()
    }

    /// The password in the Secret that its manifest names, which is its own unless the user keeps one.
    pub fn password(&self) -> String {
        let own = || format!("{}-auth", self.name);
        let secret = self.object()["spec"]["authSecret"]["name"].as_str().map_or_else(own, str::to_owned);
        let template = "{{.data.password | base64decode}}";
        self.kubectl(&["get", "secret", &secret, "-o", &format!("go-template={template}")])
    }

    /// Fails unless it has at least as many keys as were acknowledged: for where another password keeps the load from reading them.
    pub fn check_keys_of(&self, written: &LoadReport) {
        let (keys, acknowledged) = (self.keys(), written.totals().acknowledged);
        self.check(keys >= acknowledged, &format!("{keys} keys are left of {acknowledged} writes"));
    }

    /// How many keys its primaries hold.
    fn keys(&self) -> u64 {
        let size = |(shard, mut connection): (String, redis::Connection)| {
            redis::cmd("DBSIZE")
                .query::<u64>(&mut connection)
                .unwrap_or_else(|error| self.fail(&format!("{shard}: {error}")))
        };
        self.primaries().map(size).sum()
    }

    /// A connection to each shard's primary.
    fn primaries(&self) -> impl Iterator<Item = (String, redis::Connection)> {
        let password = self.password();
        (0..self.shape.shards).map(move |number| {
            let shard = format!("s{number}");
            // A look at a busy machine may miss one that serves.
            let primary = self.until(&format!("{shard} has a primary"), || {
                Some(self.roles(&shard).0).filter(|primary| !primary.is_empty())
            });
            let ip = self.kubectl(&["get", "pod", &primary, "-o", "jsonpath={.status.podIP}"]);
            let client = redis::Client::open(format!("redis://:{password}@{ip}:6379/")).expect("an address");
            let connection =
                client.get_connection().unwrap_or_else(|error| self.fail(&format!("{shard}: {error}")));
            (shard, connection)
        })
    }

    /// Waits for a condition; fails with all there is to know.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        self.until_ok(what, || look().ok_or_else(String::new))
    }

    /// The same for what says itself why it is not so.
    pub fn until_ok<T>(&self, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
        let begun = Instant::now();
        loop {
            match look() {
                Ok(found) => return found,
                Err(why) if begun.elapsed() > DEADLINE => {
                    self.fail(&format!("not within {DEADLINE:?}: {what}\n{why}"));
                }
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        }
    }

    /// Fails unless it is so.
    pub fn check(&self, so: bool, what: &str) {
        if !so {
            self.fail(what);
        }
    }

    /// Fails with all there is to know.
    pub fn fail(&self, what: &str) -> ! {
        let status =
            self.try_kubectl(&["get", "redisclusters", &self.name, "-o", "yaml"]).unwrap_or_default();
        let mut logs = String::new();
        for pod in self.pods().keys() {
            let said =
                self.try_kubectl(&["logs", pod, "-c", "server", "--tail=25"]).unwrap_or_else(|error| error);
            let _ = writeln!(logs, "--- {pod}\n{said}");
        }
        panic!("{what}\n{status}\n{logs}\n{}", self.bed.told());
    }

    /// A scenario that failed must not use up the machine for those after it.
    fn force_away(&self) {
        let _ = self.try_kubectl(&["delete", "redisclusters", "--all", "--wait=false"]);
        let _ = self.try_kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false"]);
        let _ = self.try_kubectl(&["delete", "pvc", "--all", "--wait=false"]);
    }
}

/// Removes it with its volumes, so that the next scenario has room.
impl Drop for KubeCluster<'_> {
    fn drop(&mut self) {
        if !self.stays || std::thread::panicking() {
            self.force_away();
        }
    }
}
