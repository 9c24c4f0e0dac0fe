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
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use valkeeper_agent::plain_http::{self, Limits, Plain};
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

/// What was denied is tried again every few seconds, and not denied any more when nothing was heard of it for so long.
const DENIED_FOR: Duration = Duration::from_secs(20);

/// The phase of each cluster.
#[derive(Debug)]
pub(crate) struct Phases {
    of: Mutex<BTreeMap<Home, Phase>>,
    gauge: Family<InPhase, Gauge>,
    changes: Family<OfCluster, Counter>,
    registry: Registry,
    pub(crate) ready: AtomicBool,
    /// When the operator was last denied what it cannot do without, by what that is.
    denied: Mutex<BTreeMap<String, Instant>>,
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
            denied: Mutex::default(),
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

    /// It is denied what it cannot do without.
    pub(crate) fn denied(&self, what: &str, why: &str) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let before = denied.insert(what.to_owned(), Instant::now());
        if before.is_none_or(|before| before.elapsed() > DENIED_FOR) {
            tracing::error!("not ready: {why}");
        }
    }

    fn is_ready(&self) -> bool {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.load(Ordering::Relaxed) && denied.values().all(|last| last.elapsed() > DENIED_FOR)
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

/// The format of `prometheus-client`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const LIMITS: Limits = Limits { connections: 32, head: 4_096, within: Duration::from_secs(5) };

/// Answers `/metrics`, `/livez` and `/readyz`.
pub(crate) async fn serve(listener: TcpListener, phases: Arc<Phases>) {
    let answer = move |path: String| {
        let answer = match path.as_str() {
            "/metrics" => Plain::Text { kind: OPEN_METRICS, body: phases.text().unwrap_or_default() },
            "/livez" => Plain::Well(true),
            "/readyz" => Plain::Well(phases.is_ready()),
            _ => Plain::Unknown,
        };
        std::future::ready(answer)
    };
    plain_http::serve(listener, LIMITS, answer).await;
}
