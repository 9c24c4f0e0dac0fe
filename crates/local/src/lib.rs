//! The platform of local processes: every instance a process on this machine, every agent a task of one supervisor, the layout
//! a file. The supervisor may die at any time: servers go on, and the next one takes them over.

mod control;
mod event_log;
mod file_id;
mod forwarder;
mod lock;
mod metrics;
mod platform;
mod ports;
mod register;
mod secrets;
mod sentinels;
mod servers;
mod state_dir;
mod storage_fault;
mod store;
mod supervisor;

pub use control::{Control, ControlAnswer, ControlError, ControlRequest, Seen};
pub use event_log::{EventLine, EventLog};
pub use lock::Keeper;
pub use metrics::{InvalidMetricsAddress, MetricsAddress};
pub use ports::{ClientPorts, would_move};
pub use servers::{KnownBy, KnownServer};
pub use state_dir::{ClusterDir, DataOf, LayoutFault, StateDir, StateError};
pub use supervisor::{ProgramChoice, Supervisor, SupervisorError, SupervisorSetup, Watching};
