//! One cluster: commands as a user gives them, what `status` and `events` tell, and the servers behind it.

mod status;

pub use status::{Condition, Instance, Shard, Status, Waiting};

use crate::manifest::Manifest;
use crate::place::Place;
use crate::{process, program};
use redis::{FromRedisValue, RedisResult};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server that is asked directly must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

/// One cluster of a scenario.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// Where it lives.
    pub place: &'a Place,
    /// The server program that `up` is given.
    pub server: PathBuf,
    manifest: Manifest,
    base_port: u16,
}

impl<'a> Cluster<'a> {
    /// Has it no slots?
    pub fn is_standalone(&self) -> bool {
        self.manifest.instances.is_some()
    }

    /// One that does not exist yet.
    pub fn new(place: &'a Place, manifest: Manifest) -> Self {
        Self::at(place, manifest, place.first_port())
    }

    /// The same, with its ports from there on.
    pub fn at(place: &'a Place, manifest: Manifest, base_port: u16) -> Self {
        let cluster = Self { place, server: program::server(), manifest, base_port };
        cluster.write_manifest();
        cluster
    }

    /// One that is up and healthy.
    pub fn started(place: &'a Place, manifest: Manifest) -> Self {
        let cluster = Self::new(place, manifest);
        cluster.up();
        cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Another manifest, in the same file.
    pub fn change(&mut self, manifest: Manifest) {
        self.manifest = manifest;
        self.write_manifest();
    }

    fn write_manifest(&self) {
        std::fs::write(self.file(), self.manifest.text()).expect("the manifest can be written");
    }

    /// The manifest's file.
    pub fn file(&self) -> PathBuf {
        self.place.path().join(format!("{}.yaml", self.name()))
    }

    /// The cluster's folder.
    pub fn dir(&self) -> PathBuf {
        self.place.state_dir().join(self.name())
    }

    /// The folder of one instance.
    pub fn instance_dir(&self, instance: &str) -> PathBuf {
        self.dir().join("instances").join(instance)
    }

    /// The data directory of one instance.
    pub fn data_dir(&self, instance: &str) -> PathBuf {
        self.instance_dir(instance).join("data")
    }

    /// Instances that have a folder.
    pub fn instance_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir().join("instances")).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| !is_sentinel(name)).collect();
        names.sort();
        names
    }

    /// The program with this cluster's place, not started yet. It finds no server but the one that is named.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program::valkeeper());
        command.arg("--state-dir").arg(self.place.state_dir()).args(args);
        command
            .env_remove("VALKEEPER_STATE_DIR")
            .env_remove("VALKEEPER_CLUSTER")
            .env_remove("VALKEEPER_SERVER");
        command.stdin(Stdio::null()).current_dir(self.place.path());
        command
    }

    /// Runs the program.
    pub fn run(&self, args: &[&str]) -> Said {
        let args: Vec<&str> = ["--cluster", self.name()].into_iter().chain(args.iter().copied()).collect();
        said(self.command(&args))
    }

    /// Runs the program; it must succeed.
    pub fn must(&self, args: &[&str]) -> String {
        let said = self.run(args);
        self.check(said.code == Some(0), &format!("{args:?} failed ({:?}): {}", said.code, said.err));
        said.out
    }

    /// Runs the program until it succeeds.
    pub fn eventually(&self, args: &[&str]) {
        self.until(&format!("{args:?} succeeds"), || (self.run(args).code == Some(0)).then_some(()));
    }

    /// `up --detach`, not started yet.
    pub fn up_command(&self, more: &[&str]) -> Command {
        let (file, server) = (self.file(), self.server.clone());
        let mut command = self.command(&["up"]);
        command.arg(file).arg("--detach").args(more);
        if self.manifest.image.is_none() {
            command.arg("--server").arg(server);
        }
        // A cluster that exists keeps its ports.
        if !self.dir().join("addresses.json").exists() && !more.contains(&"--base-port") {
            command.args(["--base-port", &self.base_port.to_string()]);
        }
        command
    }

    /// `up --detach`, as it ends.
    pub fn try_up(&self, more: &[&str]) -> Said {
        said(self.up_command(more))
    }

    /// `up --detach` until the cluster is healthy.
    pub fn up(&self) {
        let said = self.try_up(&[]);
        self.check(said.code == Some(0), &format!("up failed ({:?}): {}", said.code, said.err));
    }

    /// What `status` tells, if there is a cluster.
    pub fn try_status(&self) -> Option<Status> {
        serde_json::from_str(&self.run(&["status", "-o", "json"]).out).ok()
    }

    /// What `status` tells.
    pub fn status(&self) -> Status {
        let said = self.run(&["status", "-o", "json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// A shard's primary, if it has one now.
    pub fn primary_now(&self, shard: &str) -> Option<String> {
        self.status().primary(shard).map(str::to_owned)
    }

    /// A shard's primary, once it has one.
    pub fn primary(&self, shard: &str) -> String {
        self.until(&format!("{shard} has a primary"), || self.status().primary(shard).map(str::to_owned))
    }

    /// An instance of the shard that is a replica by now.
    pub fn replica(&self, shard: &str) -> String {
        self.until(&format!("{shard} has a replica"), || {
            let status = self.status();
            status.shards.iter().find(|one| one.name == shard)?.replicas.first().cloned()
        })
    }

    /// The process of an instance that runs.
    pub fn pid(&self, instance: &str) -> u32 {
        self.until(&format!("{instance} runs"), || self.status().instance(instance).pid)
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> u32 {
        self.until("a supervisor runs", || self.try_status()?.supervisor_pid)
    }

    /// Kills an instance's process; answers which it was.
    pub fn kill(&self, instance: &str) -> u32 {
        let pid = self.pid(instance);
        process::kill(pid);
        pid
    }

    /// Kills the supervisor, and sees it gone.
    pub fn kill_supervisor(&self) {
        let pid = self.supervisor();
        process::kill(pid);
        self.until("the supervisor is gone", || (!process::alive(pid)).then_some(()));
    }

    /// Waits until the instance runs in another process than that, and all is well.
    pub fn until_back(&self, instance: &str, before: u32) -> Status {
        self.until(&format!("{instance} is back and the cluster is healthy"), || {
            let status = self.status();
            let back = status.instance(instance).pid.is_some_and(|pid| pid != before);
            (status.healthy && back).then_some(status)
        })
    }

    /// Waits until `status` says that all is well.
    pub fn until_healthy(&self) -> Status {
        self.until("the cluster is healthy", || Some(self.status()).filter(|status| status.healthy))
    }

    /// Waits until one server holds another, a primary, for failed.
    pub fn until_held_for_failed(&self, by: &str, primary: &str) {
        let port = format!(":{}@", self.port(primary));
        self.until(&format!("{by} holds {primary} for failed"), || {
            let nodes: String = self.ask(by, &["CLUSTER", "NODES"]).ok()?;
            nodes.lines().any(|node| node.contains(&port) && node.contains("master,fail ")).then_some(())
        });
    }

    /// Waits until `status` has this reason.
    pub fn until_waits_for(&self, reason: &str) -> Status {
        self.until(&format!("status tells {reason}"), || {
            Some(self.status()).filter(|status| status.waits_for(reason))
        })
    }

    /// All events, oldest first.
    pub fn events(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.run(&["events", "-o", "json"]).out).unwrap_or_default()
    }

    /// The events of one kind among those after the first `seen`.
    pub fn events_since(&self, seen: usize, kind: &str) -> Vec<serde_json::Value> {
        self.events().into_iter().skip(seen).filter(|event| event["event"] == kind).collect()
    }

    /// Waits for an event of that kind after the first `seen`.
    pub fn until_event(&self, seen: usize, kind: &str) -> serde_json::Value {
        self.until(&format!("the event {kind}"), || self.events_since(seen, kind).into_iter().next())
    }

    /// Where an instance listens, from the addresses kept.
    pub fn port(&self, instance: &str) -> u16 {
        self.addresses().into_iter().find(|(name, _)| name == instance).map_or(0, |(_, port)| port)
    }

    /// Where the servers listen.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        self.all_addresses().into_iter().filter(|(name, _)| !is_sentinel(name)).collect()
    }

    /// Where the Sentinels listen.
    pub fn sentinels(&self) -> Vec<(String, u16)> {
        self.all_addresses().into_iter().filter(|(name, _)| is_sentinel(name)).collect()
    }

    /// The process of a Sentinel, as the supervisor has recorded it; waits for one.
    pub fn sentinel_pid(&self, n: u32) -> u32 {
        let record = self.instance_dir(&format!("{}-sentinel-{n}", self.name())).join("process.json");
        self.until("a Sentinel's process", || {
            let text = std::fs::read_to_string(&record).ok()?;
            let record: serde_json::Value = serde_json::from_str(&text).ok()?;
            u32::try_from(record["process"]["pid"].as_u64()?).ok()
        })
    }

    fn all_addresses(&self) -> Vec<(String, u16)> {
        let text = std::fs::read_to_string(self.dir().join("addresses.json")).unwrap_or_default();
        let kept: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap_or_default();
        let port =
            |value: &serde_json::Value| value["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let layout = std::fs::read_to_string(self.dir().join("layout.json")).unwrap_or_default();
        let layout: serde_json::Value = serde_json::from_str(&layout).unwrap_or_default();
        // Whose port is kept although it was removed.
        let removed = |name: &str| layout["retired"].get(name).is_some();
        let there = kept.iter().filter(|(name, _)| !removed(name));
        there.filter_map(|(name, value)| Some((name.clone(), port(value)?))).collect()
    }

    /// The file that holds the password.
    pub fn password_file(&self) -> PathBuf {
        self.dir().join("password")
    }

    /// The password.
    pub fn password(&self) -> String {
        std::fs::read_to_string(self.password_file()).unwrap_or_default().trim().to_owned()
    }

    /// Asks a server directly.
    pub fn ask<T: FromRedisValue>(&self, instance: &str, command: &[&str]) -> RedisResult<T> {
        ask(self.port(instance), Some(&self.password()), command)
    }

    /// Asks a server that must answer.
    pub fn told<T: FromRedisValue>(&self, instance: &str, command: &[&str]) -> T {
        match self.ask(instance, command) {
            Ok(answer) => answer,
            Err(error) => self.fail(&format!("{instance}: {command:?}: {error}")),
        }
    }

    /// Waits until the instance's snapshot on disk is of the history it writes now: only from such a one a dead primary can go
    /// on as a replica without a full sync.
    pub fn until_saved(&self, instance: &str) {
        self.until(&format!("{instance} has a snapshot of its present history"), || {
            let history = self.info(instance, "replication", "master_replid");
            let snapshot = std::fs::read(self.data_dir(instance).join("dump.rdb")).ok()?;
            snapshot.windows(history.len()).any(|part| part == history.as_bytes()).then_some(())
        });
    }

    /// A field of `INFO`.
    pub fn info(&self, instance: &str, section: &str, field: &str) -> String {
        let text: String = self.told(instance, &["INFO", section]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| self.fail(&format!("{instance}: INFO {section} has no {field}")))
            .trim()
            .to_owned()
    }

    /// A field of `INFO` that is a number.
    pub fn count(&self, instance: &str, section: &str, field: &str) -> u64 {
        self.info(instance, section, field).parse().unwrap_or(0)
    }
}

/// Asks whoever listens on that port.
pub fn ask<T: FromRedisValue>(port: u16, password: Option<&str>, command: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(("127.0.0.1", port))?;
    let mut connection = client.get_connection_with_timeout(ANSWER_WITHIN)?;
    connection.set_read_timeout(Some(ANSWER_WITHIN))?;
    if let Some(password) = password {
        redis::cmd("AUTH").arg(password).exec(&mut connection)?;
    }
    let mut request = redis::Cmd::new();
    for word in command {
        request.arg(*word);
    }
    request.query(&mut connection)
}

/// Runs a command to its end.
pub fn said(mut command: Command) -> Said {
    let output = command.output().expect("the program can be run");
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Empties a folder without removing it, as a careless `rm -rf DIR/*` does.
pub fn wipe(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}

/// By its name.
fn is_sentinel(name: &str) -> bool {
    name.contains("-sentinel-")
}
