//! Metrics and health of the operator itself.

use crate::wire::Home;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use valkeeper_model::Phase;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    namespace: String,
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    namespace: String,
    cluster: String,
    phase: String,
}

/// The phase of each cluster.
#[derive(Debug)]
pub(crate) struct Phases {
    of: Mutex<BTreeMap<Home, Phase>>,
    gauge: Family<InPhase, Gauge>,
    changes: Family<OfCluster, Counter>,
    registry: Registry,
    pub(crate) ready: AtomicBool,
    pub(crate) leading: AtomicBool,
}

impl Phases {
    pub(crate) fn new() -> Self {
        let (gauge, changes) = (Family::default(), Family::default());
        let mut registry = Registry::default();
        registry.register("redis_cluster_phase", "The phase a cluster is in: 1", Family::clone(&gauge));
        registry.register(
            "valkeeper_phase_changes",
            "How often a cluster's phase has changed",
            Family::clone(&changes),
        );
        Self {
            of: Mutex::default(),
            gauge,
            changes,
            registry,
            ready: AtomicBool::new(false),
            leading: AtomicBool::new(false),
        }
    }

    fn label(home: &Home, phase: Phase) -> InPhase {
        let (namespace, cluster) = (home.namespace.clone(), home.cluster.to_string());
        InPhase { namespace, cluster, phase: format!("{phase:?}") }
    }

    pub(crate) fn set(&self, home: &Home, phase: Phase) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match of.insert(home.clone(), phase) {
            Some(before) if before == phase => return,
            Some(before) => _ = self.gauge.remove(&Self::label(home, before)),
            None => {}
        }
        self.gauge.get_or_create(&Self::label(home, phase)).set(1);
        let label = OfCluster { namespace: home.namespace.clone(), cluster: home.cluster.to_string() };
        self.changes.get_or_create(&label).inc();
    }

    pub(crate) fn forget(&self, home: &Home) {
        let before = self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(home);
        if let Some(before) = before {
            self.gauge.remove(&Self::label(home, before));
        }
    }

    fn text(&self) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok()?;
        let leading = u8::from(self.leading.load(Ordering::Relaxed));
        let head = format!(
            "# TYPE valkeeper_leading gauge\n# HELP valkeeper_leading Whether this operator acts\nvalkeeper_leading {leading}\n"
        );
        Some(head + &text)
    }
}

const WITHIN: Duration = Duration::from_secs(5);

/// Answers `/metrics`, `/livez` and `/readyz`.
pub(crate) async fn serve(listener: TcpListener, phases: Arc<Phases>) {
    let room = Arc::new(Semaphore::new(32));
    while let Some((stream, permit)) = crate::wire::accept(&listener, &room).await {
        let phases = Arc::clone(&phases);
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(WITHIN, answer(stream, &phases)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, phases: &Phases) -> std::io::Result<()> {
    let mut head = vec![0; 4_096];
    let mut read = 0;
    while read < head.len() && !head[..read].windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut head[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let (status, body) = if head.starts_with(b"GET /metrics ") {
        ("200 OK", phases.text().unwrap_or_default())
    } else if head.starts_with(b"GET /livez ") {
        ("200 OK", String::new())
    } else if head.starts_with(b"GET /readyz ") {
        let ready = phases.ready.load(Ordering::Relaxed);
        (if ready { "200 OK" } else { "503 Service Unavailable" }, String::new())
    } else {
        ("404 Not Found", String::new())
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
