//! Scenarios on a real Kubernetes, each in a namespace of its own. They run in a bed: `cargo xtask test --kubernetes`.

mod creating;
mod deaths;
mod evictions;
mod hosts;
mod operators;
mod volumes;
mod wishes;
