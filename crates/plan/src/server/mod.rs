//! One server as it is to be: its directives and its password.

pub mod config;
pub mod drift;
pub mod password;
pub mod rotation;
pub mod sync_replicas;
