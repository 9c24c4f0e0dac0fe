//! Mode `cluster`: identity and roles of a server are in its nodes.conf.

pub mod nodes_conf;
