//! What `make bench` and `cargo bench` share: a large cluster to plan for.

pub mod planning;
