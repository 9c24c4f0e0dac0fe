//! Which copy of a shard's data counts: full stops, changes of persistence, damaged, old and foreign files, and servers that die
//! while a copy is made. Real servers; every acknowledged write that was promised is read back, and what was deleted stays away.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod damage;
mod engine;
mod longest;
mod modes;
mod old_disks;
mod sync;
