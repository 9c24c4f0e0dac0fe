//! A user's side: what the command line needs of Kubernetes. It talks to the API server alone, with the user's own permissions, and
//! depends on no operator that runs.
//!
//! | file | what |
//! | --- | --- |
//! | `reach.rs` | the way to the API server, and which cluster is meant |
//! | `error.rs` | what can go wrong on that way, and what to do |
//! | `seen.rs` | the cluster as its operator tells it, now and as it changes |
//! | `lead.rs` | does an operator act? |
//! | `ask.rs` | a request, and its answer |
//! | `promote.rs` | a promotion, which is a wish in the object |
//! | `events.rs` | what happened |
//! | `logs.rs` | what a server says |
//! | `exec.rs` | running this program in a pod of the cluster |
//! | `inside.rs` | what it finds there |
//! | `wanted.rs` | a manifest, beside what is there |

mod ask;
mod error;
mod events;
mod exec;
mod inside;
mod lead;
mod logs;
mod promote;
mod reach;
mod seen;
mod wanted;

pub use ask::AskError;
pub use error::RemoteError;
pub use events::{EventSeen, EventsFollowed};
pub use exec::{Ending, Process};
pub use inside::{Inside, InsideError};
pub use lead::Lead;
pub use logs::LogRead;
pub use reach::{Reach, ReachOptions, Remote};
pub use seen::Watched;
pub use wanted::{AppliesTo, PodChange, pod_changes};
