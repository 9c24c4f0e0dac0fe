//! The client against real servers.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod admin;
mod cluster;
mod load;
mod servers;
