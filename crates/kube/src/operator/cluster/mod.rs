//! One cluster: a task that runs its controller, hands it what users want and what agents say, and tells people. It depends on no
//! other cluster's task.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the way to a cluster's task |
//! | `dispatch.rs` | what the watches bring, handed to it |
//! | `task.rs` | sets the cluster up, and has one controller after the other look after it |
//! | `round.rs` | one controller, until its spec cannot be followed |
//! | `judged.rs` | what became of a spec |
//! | `volumes.rs` | what the volumes that are there allow |
//! | `requests.rs` | what users ask |
//! | `annotations.rs` | what annotations ask for: fences, hibernation |
//! | `approval.rs` | what users approve of by an annotation |
//! | `agent_news.rs` | what agents say unasked |
//! | `status.rs` | what people are told of it |

pub(crate) mod agent_news;
mod annotations;
mod approval;
mod dispatch;
mod judged;
mod requests;
mod round;
mod status;
mod task;
mod volumes;

pub(crate) use dispatch::dispatch;

use crate::ca::Lifetimes;
use crate::objects::pod::OperatorFacts;
use crate::operator::cache::Cache;
use crate::operator::metrics::Phases;
use crate::operator::status::role_labels::Roles;
use crate::wire::Home;
use agent_news::Listeners;
use kube::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use task::Task;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use valkeeper_engine::RandomIds;
use valkeeper_kube_api::{RedisCluster, RedisClusterRequest};
use valkeeper_model::ZoneName;

/// Before the next try when the cluster's platform cannot be set up, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// What all clusters share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) cache: Arc<Cache>,
    pub(crate) zones: watch::Receiver<BTreeSet<ZoneName>>,
    pub(crate) operator: OperatorFacts,
    pub(crate) operator_namespace: String,
    pub(crate) life: Lifetimes,
    pub(crate) listeners: Arc<Listeners>,
    /// This operator, as events name it.
    pub(crate) reporter: String,
    /// Clusters that may be set up at a time.
    pub(crate) setting_up: Semaphore,
    pub(crate) phases: Arc<Phases>,
}

/// The way to a cluster's task.
pub(crate) struct ClusterHandle {
    object: watch::Sender<Arc<RedisCluster>>,
    requests: mpsc::UnboundedSender<Box<RedisClusterRequest>>,
    task: JoinHandle<()>,
}

impl ClusterHandle {
    pub(crate) fn start(context: Arc<Context>, home: Home, mut object: RedisCluster) -> Self {
        let status = object.status.take().map(Arc::new);
        let (sender, receiver) = watch::channel(Arc::new(object));
        let (requests, requested) = mpsc::unbounded_channel();
        let seen = context.cache.of(&home);
        let ((tell, _), (roles, _)) = (watch::channel(None), watch::channel(Roles::new()));
        let task = Task {
            context,
            home,
            seen,
            object: receiver,
            requests: requested,
            status,
            tell,
            roles,
            mandate: None,
            annotations_wait: None,
            followed: None,
        };
        Self { object: sender, requests, task: tokio::spawn(task.run()) }
    }

    /// The object has changed. What we write of it ourselves, the status, is no news.
    pub(crate) fn changed(&self, mut object: RedisCluster) {
        object.status = None;
        self.object.send_if_modified(|before| {
            let changed = **before != object;
            if changed {
                *before = Arc::new(object);
            }
            changed
        });
    }

    pub(crate) fn asked(&self, request: Box<RedisClusterRequest>) {
        let _ = self.requests.send(request);
    }
}

impl ClusterHandle {
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends a task with its owner.
struct Aborting(AbortHandle);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Aborting {
    Aborting(tokio::spawn(task).abort_handle())
}

/// That long, give or take a quarter.
fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0; 20];
    valkeeper_plan::placement::Ids::draw(&mut RandomIds).clone_into(&mut bytes);
    pause.mul_f64(0.75 + f64::from(bytes[0]) / 512.0)
}
