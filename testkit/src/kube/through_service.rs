//! A writer that knows a Service and nothing else, as most applications do: it connects anew when its connection ends or its server takes no
//! writes.

use super::cluster::KubeCluster;
use redis::{Client, Commands as _, Connection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use valkeeper_client::Endpoint;

/// How long it waits for a connection and for an answer.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(1);

/// What it has written.
#[derive(Debug, Default, Clone, Copy)]
struct Acknowledged {
    /// Writes that were acknowledged: of the keys from 0 on.
    writes: u64,
    /// Writes that were answered by an error, or by silence.
    failed: u64,
    /// The longest time between two acknowledgements.
    gap: Duration,
}

/// The writer.
#[derive(Debug)]
pub struct ThroughService<'a> {
    cluster: &'a KubeCluster<'a>,
    client: Client,
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writer: JoinHandle<Acknowledged>,
}

impl<'a> ThroughService<'a> {
    /// Starts it, through that Service.
    pub fn start(cluster: &'a KubeCluster<'a>, service: &str) -> Self {
        let client = client(cluster, service);
        let (ends, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = {
            let (client, ends, count) = (client.clone(), Arc::clone(&ends), Arc::clone(&acknowledged));
            std::thread::spawn(move || write(&client, &ends, &count))
        };
        let started = Self { cluster, client, ends, acknowledged, writer };
        started.flowing();
        started
    }

    /// Waits until it has written more from now on.
    pub fn flowing(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        self.cluster.until("writes flow through the Service", || {
            (self.acknowledged.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    }

    /// Ends it, and reads back what was acknowledged; at most `may_be_lost` writes may be missing.
    pub fn finish(self, may_be_lost: u64) {
        let (cluster, client) = (self.cluster, self.client.clone());
        self.end().read_back(cluster, &client, may_be_lost);
    }

    /// Ends it.
    pub fn end(self) -> Written {
        self.flowing();
        self.ends.store(true, Ordering::Relaxed);
        Written(self.writer.join().unwrap_or_else(|_| self.cluster.fail("the writer has failed")))
    }
}

/// What a writer has written that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Written(Acknowledged);

impl Written {
    /// Has that cluster, which is found through that Service, the last of it?
    pub fn has_come(&self, cluster: &KubeCluster<'_>, service: &str) -> bool {
        let last = self.0.writes.saturating_sub(1);
        let connection = client(cluster, service).get_connection_with_timeout(PATIENCE);
        let read = connection.and_then(|mut connection| connection.get::<_, Option<u64>>(key(last)));
        read.is_ok_and(|value| value == Some(last))
    }

    /// Reads all of it back through a Service of that cluster; none may be missing.
    pub fn read_back_at(&self, cluster: &KubeCluster<'_>, service: &str) {
        self.read_back(cluster, &client(cluster, service), 0);
    }

    fn read_back(&self, cluster: &KubeCluster<'_>, client: &Client, may_be_lost: u64) {
        let mut connection =
            cluster.until("a connection to read back", || client.get_connection_with_timeout(PATIENCE).ok());
        let mut there = |number: &u64| match connection.get::<_, Option<u64>>(key(*number)) {
            Ok(value) => value == Some(*number),
            Err(error) => cluster.fail(&format!("{} cannot be read back: {error}", key(*number))),
        };
        let lost = (0..self.0.writes).filter(|number| !there(number)).map(|_| 1).sum::<u64>();
        eprintln!("{}: through the Service: {:?}, {lost} lost", cluster.namespace, self.0);
        cluster.check(lost <= may_be_lost, &format!("{lost} acknowledged writes are missing"));
    }
}

fn client(cluster: &KubeCluster<'_>, service: &str) -> Client {
    let Endpoint { host, port } = cluster.service(service);
    let url = format!("redis://:{}@{host}:{port}/", cluster.password());
    Client::open(url).expect("an address")
}

fn key(number: u64) -> String {
    format!("through-service:{number}")
}

fn write(client: &Client, ends: &AtomicBool, count: &AtomicU64) -> Acknowledged {
    let (mut seen, mut last) = (Acknowledged::default(), Instant::now());
    let mut connection: Option<Connection> = None;
    while !ends.load(Ordering::Relaxed) {
        if set(client, &mut connection, seen.writes).is_ok() {
            seen.gap = seen.gap.max(last.elapsed());
            last = Instant::now();
            seen.writes += 1;
            count.store(seen.writes, Ordering::Relaxed);
        } else {
            seen.failed += 1;
            connection = None;
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

fn set(client: &Client, connection: &mut Option<Connection>, number: u64) -> redis::RedisResult<()> {
    if let Some(connection) = connection {
        return connection.set(key(number), number);
    }
    let new = client.get_connection_with_timeout(PATIENCE)?;
    new.set_write_timeout(Some(PATIENCE))?;
    new.set_read_timeout(Some(PATIENCE))?;
    connection.insert(new).set(key(number), number)
}
