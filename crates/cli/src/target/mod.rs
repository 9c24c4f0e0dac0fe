//! Where a cluster is, and the way to it.

#[cfg(feature = "kubernetes")]
pub(crate) mod in_pod;
#[cfg(feature = "kubernetes")]
pub(crate) mod kubernetes;
mod local;

pub(crate) use local::*;
