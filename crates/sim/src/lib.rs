//! A fleet without machines: servers, network, clock, disks and users are models, agents and controllers are the real state
//! machines of `valkeeper-plan`. A run is a function of its [`Setup`]: the same seed gives the same run, event by event.
//!
//! | file | what |
//! | --- | --- |
//! | [`setup`] | shape, faults and sabotage of a run |
//! | [`fleet`] | who gets which happening when, commands carried out |
//! | [`server`] | one Valkey server in cluster mode |
//! | [`atoms`] | groups of slots that move together |
//! | [`history`] | what was written, as trees: copies, prefixes, forks |
//! | [`network`], [`clock`], [`random`] | what is lost, when things happen, chance |
//! | [`writers`] | clients with a ledger of what was acknowledged |
//! | [`faults`], [`hosts`] | what goes wrong, with single parts and with whole hosts |
//! | [`laws`] | what must hold all the same |
//! | [`sabotage`] | the laws broken on purpose |
//! | [`scenario`] | short scripts that double as documentation |
//! | [`transcript`] | what happened, for people |

pub mod atoms;
pub mod clock;
mod disk_faults;
pub mod faults;
pub mod fleet;
pub mod history;
pub mod hosts;
pub mod laws;
pub mod network;
pub mod random;
pub mod sabotage;
pub mod scenario;
pub mod server;
pub mod setup;
mod transcript;
mod writers;

pub use fleet::{Fleet, Outcome};
pub use sabotage::Sabotage;
pub use setup::Setup;

/// Runs what a seed says.
pub fn run(seed: u64) -> Outcome {
    Fleet::new(Setup::random(seed)).run()
}
