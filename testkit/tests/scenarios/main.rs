//! Scenarios on real servers, by theme. Each drives the program as a user does, under load, and reads back every write that
//! was acknowledged.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod balancing;
mod configuration;
mod creating;
mod data;
mod deaths;
mod disks;
mod engines;
mod following;
mod freezes;
mod looks;
mod metrics;
mod moving;
mod neighbours;
mod operating;
mod repairs;
mod resharding;
mod resizing;
mod reversing;
mod rolling;
mod sentinel;
mod standalone;
mod state_files;
mod stops;
mod supervisors;
mod trouble;
