//! The agent of one server. [`valkeeper_plan::agent::Agent`] decides; this crate carries out: it starts the process,
//! knows the instant it ends, looks into its data directory, talks to it, and passes questions between agents.
//!
//! | file | what |
//! | --- | --- |
//! | `runtime.rs` | the task that owns the machine |
//! | `server.rs`, `launch.rs`, `server_file.rs` | a server's folder, its start, its configuration file |
//! | `serving.rs`, `configured.rs`, `entrance.rs`, `slow.rs` | looks at a running server and commands to it; its configuration; whether clients can come in; slow commands |
//! | `slot_transfer/` | slots are given to another shard's primary |
//! | `rotation.rs` | a changed password is brought to a running server, as `plan::server::rotation` decides |
//! | `data_dir.rs`, `record_file.rs`, `copy_files.rs`, `aof_head.rs`, `rdb_header.rs` | the data directory: marker, record of the copy, files and their heads |
//! | `files.rs` | file access on a thread of its own: a disk may hang |
//! | `os.rs`, `adoption.rs` | processes; a server that runs already |
//! | `sentinel/` | a Sentinel's process and file; what Sentinels are asked and told |
//! | `plain_http.rs`, `metrics_endpoint.rs` | what strangers may ask: probes, metrics |
//! | `trial.rs`, `program.rs`, `programs.rs` | a configuration is tried with the server program; which programs there are |

mod adoption;
mod aof_head;
mod configured;
mod copy_files;
mod data_dir;
mod entrance;
mod files;
mod handle;
mod launch;
pub mod metrics_endpoint;
mod os;
pub mod plain_http;
mod program;
mod programs;
mod rdb_header;
mod record_file;
mod register;
mod rotation;
mod runtime;
mod sentinel;
mod sentinels_of_source;
mod server;
mod server_file;
mod serving;
mod slot_transfer;
mod slow;
mod source_gate;
mod source_look;
mod trial;

pub use data_dir::{DataDir, Marker, make_private_dir, replace};
pub use handle::{AgentHandle, AgentSetup, Boxed, Neighbours, PASSWORD_OVERLAP, Passwords, Peers, Secrets};
pub use os::{file_limit, is_running, raise_file_limit};
pub use program::{Program, ProgramError};
pub use programs::Programs;
pub use register::{Register, fresh_register_life};
pub use runtime::spawn;
pub use sentinel::{SentinelHandle, SentinelSetup, keep as keep_sentinel};
pub use server::{ProcessRecord, ServerHome};
pub use trial::Trials;
