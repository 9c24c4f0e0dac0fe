//! The platform of pods: the same controller and agents as locally, with pods instead of processes.
//!
//! | folder | what |
//! | --- | --- |
//! | `operator/` | one process for many clusters: watches, leads, explains |
//! | `objects/` | what a cluster consists of in Kubernetes, rendered from its layout |
//! | `pod/` | the agent in a pod |
//! | `wire/` | how the two talk |
//! | `remote/` | what the command line needs of all that |
//! | `memory.rs` | what is free is given back |
//! | `ca.rs` | certificates for that |

mod ca;
pub mod install;
mod memory;
mod objects;
pub mod operator;
pub mod pod;
pub mod remote;
mod wire;

pub use ca::Lifetimes;
pub use valkeeper_kube_api as api;
use valkeeper_kube_api::names::{BUS_PORT, CLIENT_PORT};
pub use wire::CredentialsError;

/// Where an agent answers its controller and the other agents.
pub(crate) const AGENT_PORT: u16 = 9180;
/// Where it answers the kubelet.
pub(crate) const PROBE_PORT: u16 = 9181;
/// Where it answers Prometheus, as `redis_exporter` does.
pub(crate) const AGENT_METRICS_PORT: u16 = 9121;
/// Where an operator takes its agents' news.
pub(crate) const NEWS_PORT: u16 = 9180;
/// Where it judges what users write.
pub(crate) const WEBHOOK_PORT: u16 = 9443;
/// Where it answers the kubelet and Prometheus.
pub(crate) const METRICS_PORT: u16 = 9182;
