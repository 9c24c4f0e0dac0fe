//! Scenarios on a real Kubernetes. Those that leave a cluster whole use the same one, one after the other; the others have their own.
//! They run in a bed: `cargo xtask test --kubernetes`.

mod annotations;
mod commands;
mod creating;
mod deaths;
mod evictions;
mod following;
mod hosts;
mod obstacles;
mod operators;
mod resharding;
mod rolling;
mod sentinel;
mod standalone;
mod volumes;
mod wishes;
