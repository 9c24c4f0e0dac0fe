//! The agent of one server, as a state machine: events and time in, commands out. What must be fast is decided here, on
//! the spot, with the functions of [`crate::failover`] that the controller uses too.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `machine.rs` | the state, which event goes where |
//! | `obeying.rs` | what an order changes, and going down on purpose |
//! | `running.rs` | what a running server's replies mean |
//! | `role_change.rs` | what follows a promotion or a handover |
//! | `by_hand.rs` | what others have changed: its role, its node id |
//! | `launch.rs` | whether and as what a server starts |
//! | `starting.rs` | with which files and directives, and what follows when a start fails |
//! | `consultation.rs` | what others hold before a start |
//! | `copy_choice.rs` | which of its files a server is started from |
//! | `copy_record.rs` | the durable record of our copy |
//! | `sync_check.rs` | whether a replica has caught up with its primary |
//! | `founding.rs` | whether a server begins with nothing |
//! | `aof_loss.rs` | an append-only file that is lost while its server runs |
//! | `watch.rs` | whether a running server is well |
//! | `silence.rs` | when silence is its end |
//! | `crash_loop.rs` | when one that ends again and again is started |
//! | `relink.rs` | when a replica without a place in the stream connects anew |
//! | `exit.rs` | what follows when its process has ended |
//! | `stopping.rs` | how a run ends on purpose, and when by force |
//! | `snapshot.rs` | when a server writes a snapshot of its data |
//! | `memory.rs` | whether its memory is used up, rather than only for a moment |
//! | `host_watch.rs` | on a host of its own: where the agent and its [`crate::hostwatch`] meet |
//! | `terms.rs` | in mode `standalone`: where the agent and its [`crate::mode::standalone::Terms`] meet |
//! | `demotion.rs` | in a cluster that goes over to following another: its primary is demoted |
//! | `last_write.rs` | up to where in its stream the server has taken writes |
//! | `source.rs` | in a cluster that follows another: where the agent and [`crate::replica_mode`] meet |
//! | `report.rs` | what it tells of itself |
//! | `trial.rs` | whether its server would start with what is ordered |
//! | `answer.rs` | what others may ask |

mod answer;
mod aof_loss;
mod by_hand;
mod consultation;
mod copy_choice;
mod copy_record;
mod crash_loop;
mod demotion;
mod exit;
mod founding;
mod host_watch;
mod last_write;
mod launch;
mod machine;
mod memory;
mod obeying;
mod relink;
mod report;
mod role_change;
mod running;
mod sentinels;
mod silence;
mod snapshot;
mod source;
mod starting;
mod stopping;
mod sync_check;
mod terms;
mod trial;
mod watch;

pub use crate::protocol::{
    About, Command, Event, ExitCause, GateSeen, Login, Outbox, Passes, Reply, ServerCommand, ServerError,
    SetAside, StartPlan, Token,
};
pub(crate) use answer::{MOVE_ENDS_MS, SERVE_MS};
pub use machine::Agent;

use crate::protocol::sooner;
