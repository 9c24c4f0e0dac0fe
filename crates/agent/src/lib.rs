//! The supervisor of one server. [`valkeeper_plan::agent::Agent`] decides; this crate carries out: it starts the process,
//! knows the instant it ends, looks into its data directory, talks to it, and passes questions between agents.

mod adoption;
mod aof_head;
mod configured;
mod copy_files;
mod data_dir;
mod entrance;
mod files;
mod handle;
mod launch;
mod os;
mod program;
mod rdb_header;
mod record_file;
mod rotation;
mod runtime;
mod server;
mod server_file;
mod serving;
mod slow;
mod trial;

pub use data_dir::{DataDir, Marker, make_private_dir, replace};
pub use handle::{AgentHandle, AgentSetup, Boxed, Neighbours, PASSWORD_OVERLAP, Passwords, Peers};
pub use os::{file_limit, raise_file_limit};
pub use program::{Program, ProgramError};
pub use runtime::spawn;
pub use server::{ProcessRecord, ServerHome};
pub use trial::Trials;
