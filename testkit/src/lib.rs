//! Scenarios on real servers: the program as its users run it, faults as they happen, writers that know what was
//! acknowledged. Everything a scenario starts has its data under one folder, by which it is found and ended, also when the
//! scenario fails.
//!
//! | file | what |
//! | --- | --- |
//! | [`program`] | the program under test and the servers it runs |
//! | [`manifest`] | the manifests of scenarios |
//! | [`place`] | a folder for one scenario, and the end of all that runs in it |
//! | [`ports`] | ports that no other scenario has |
//! | [`cluster`] | one cluster: commands, status, events, servers |
//! | [`oracle`] | is the cluster whole, by its servers' own words? |
//! | [`process`] | processes: which there are, and signals to them |
//! | [`traffic`] | writers, and the reading back of what they wrote |
//! | [`batch`] | keys that were written at once, and which of them are there |
//! | [`power`] | power losses, and servers whose snapshots and loads take long |
//! | [`waiting`] | conditions instead of times, and what is told when one does not come true |
//! | [`kube`] | clusters on a real Kubernetes, and its faults |
//! | [`link`] | a link between two servers that can be stalled or cut |
//! | [`metrics`] | what a supervisor serves as metrics |
//! | [`mounts`] | full and read-only file systems |

pub mod batch;
pub mod cluster;
pub mod kube;
pub mod link;
pub mod manifest;
pub mod metrics;
pub mod mounts;
pub mod oracle;
pub mod place;
pub mod ports;
pub mod power;
pub mod process;
pub mod program;
pub mod traffic;
pub mod waiting;

pub use batch::Batch;
pub use cluster::{Cluster, Instance, Said, Status};
pub use link::Link;
pub use manifest::Manifest;
pub use metrics::Metrics;
pub use place::Place;
pub use traffic::Traffic;
