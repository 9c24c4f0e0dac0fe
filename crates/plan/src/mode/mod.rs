//! What a mode answers: how servers are told who they are. One mode exists, `cluster`.

pub mod cluster;
