//! The way to the primary of a cluster with one primary, or to its designated leader.

use anyhow::Context as _;
use std::net::SocketAddr;
use valkeeper_client::AdminConnection;
use valkeeper_local::ClusterDir;

/// The port that leads there.
pub(crate) fn primary_port(dir: &ClusterDir) -> anyhow::Result<SocketAddr> {
    let ports = dir.client_ports()?;
    Ok(ports.with_context(|| format!("cluster {} has several primaries", dir.name()))?.primary)
}

/// A connection through that port.
pub(crate) fn primary_connection(dir: &ClusterDir) -> anyhow::Result<AdminConnection> {
    Ok(AdminConnection::new(primary_port(dir)?, Some(dir.password()?)))
}
