//! Programs of testkit/clients that run beside a cluster: what they are given, and what they say.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use valkeeper_testkit::{Cluster, program};

/// Connecting, and everything else that is not reading back.
const SAID_WITHIN: Duration = Duration::from_secs(60);
/// Reading back, which a program gives up after a minute, and its last writes.
const ENDED_WITHIN: Duration = Duration::from_secs(180);

/// Clients by the names their makers give them.
pub(super) const CLIENTS: [&str; 5] = ["redis-rs", "redis-py", "go-redis", "node-redis", "ioredis"];

/// Those that ask Sentinels.
pub(super) const SENTINEL_CLIENTS: [&str; 4] = ["redis-py", "go-redis", "node-redis", "ioredis"];

/// How an application uses its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Habit {
    pub(super) name: &'static str,
    writers: u32,
    pause_ms: u32,
}

/// Some hundred writes a second: it notices everything.
pub(super) const BUSY: Habit = Habit { name: "busy", writers: 6, pause_ms: 10 };
/// Hardly a write to a shard between two events: what it knows of the cluster is old when it writes.
pub(super) const RARE: Habit = Habit { name: "rare", writers: 1, pause_ms: 2_000 };
/// One write after the other without a pause.
pub(super) const CLOSED_LOOP: Habit = Habit { name: "closed loop", writers: 1, pause_ms: 0 };

impl Habit {
    /// Writes in flight at once, at most.
    pub(super) fn writers(self) -> u32 {
        self.writers
    }
}

/// What an application says of a phase.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Figures {
    phase: String,
    #[serde(default)]
    pub(super) acked: u64,
    /// By their text.
    #[serde(default)]
    pub(super) errors: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) longest_gap_ms: f64,
    pub(super) read: Option<u64>,
    pub(super) lost: Option<u64>,
    pub(super) unreadable: Option<u64>,
}

/// One that runs.
pub(super) struct Application<'a> {
    cluster: &'a Cluster<'a>,
    pub(super) client: &'static str,
    pub(super) habit: Habit,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Receiver<String>,
    log: PathBuf,
    acked: u64,
}

impl<'a> Application<'a> {
    /// Starts it; it is ready after [`Application::until_ready`].
    pub(super) fn start(cluster: &'a Cluster<'a>, client: &'static str, habit: Habit) -> Self {
        let log = cluster.place.path().join(format!("{client}-{}.log", habit.name.replace(' ', "-")));
        let connect: Connect = serde_json::from_str(&cluster.must(&["connect", "-o", "json"])).unwrap();
        let mut command = command(client);
        if !connect.sentinels.is_empty() {
            command.env("VALKEEPER_SENTINELS", connect.sentinels.join(","));
            command.env("VALKEEPER_PRIMARY_NAME", connect.primary_name);
        }
        let mut child = command
            .env("VALKEEPER_SEEDS", connect.seeds.join(","))
            .env("VALKEEPER_USERNAME", connect.username)
            .env("VALKEEPER_PASSWORD_FILE", connect.password_file)
            .env("VALKEEPER_WRITERS", habit.writers.to_string())
            .env("VALKEEPER_PAUSE_MS", habit.pause_ms.to_string())
            // By this folder it is found and ended should this test not get to it.
            .current_dir(cluster.place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{client}: {error}: run `cargo xtask clients`"));
        let (lines, said) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let stdin = child.stdin.take();
        Self { cluster, client, habit, child, stdin, said, log, acked: 0 }
    }

    /// Waits until every one of its writers got through.
    pub(super) fn until_ready(&self) {
        self.hear("ready", SAID_WITHIN);
    }

    /// Its figures since the last phase, or since it was ready.
    pub(super) fn phase(&mut self, name: &str) -> Figures {
        let sent = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{name}"));
        self.cluster.check(matches!(sent, Some(Ok(()))), &format!("{} has gone away", self.client));
        let figures = self.hear(name, SAID_WITHIN);
        self.acked += figures.acked;
        figures
    }

    /// Lets it read back everything and end.
    pub(super) fn end(mut self) -> Figures {
        drop(self.stdin.take());
        let figures = self.hear("end", ENDED_WITHIN);
        let status = self.child.wait().unwrap();
        self.acked += figures.acked;
        let all_read = figures.read.zip(figures.unreadable).map(|(read, unreadable)| read + unreadable);
        let wrong = format!("{}: {status}, {} acknowledged, {figures:?}", self.client, self.acked);
        self.cluster.check(status.success() && all_read == Some(self.acked), &wrong);
        figures
    }

    fn hear(&self, phase: &str, within: Duration) -> Figures {
        let line = self.said.recv_timeout(within);
        match line.as_deref().map(serde_json::from_str::<Figures>) {
            Ok(Ok(figures)) if figures.phase == phase => figures,
            other => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let log = &log[log.len().saturating_sub(2_000)..];
                self.cluster.fail(&format!("{}: {phase} was to come, not {other:?}: {log}", self.client))
            }
        }
    }
}

impl Drop for Application<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `connect -o json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    seeds: Vec<String>,
    username: String,
    password_file: PathBuf,
    #[serde(default)]
    sentinels: Vec<String>,
    #[serde(default, rename = "masterName")]
    primary_name: String,
}

fn command(client: &str) -> Command {
    let root = program::checkout().canonicalize().unwrap();
    let (source, kits) = (root.join("testkit/clients"), root.join(".clients"));
    let mut command = match client {
        "redis-rs" => Command::new(env!("CARGO_BIN_EXE_redis-rs-client")),
        "redis-py" => Command::new("python3"),
        "go-redis" => Command::new(kits.join("go/client")),
        _ => Command::new("node"),
    };
    match client {
        "redis-py" => {
            command.env("PYTHONPATH", kits.join("python/site")).arg(source.join("python/client.py"))
        }
        "node-redis" | "ioredis" => command
            .env("NODE_PATH", kits.join("node/node_modules"))
            .arg(source.join("node/client.js"))
            .arg(client),
        _ => &mut command,
    };
    command
}
