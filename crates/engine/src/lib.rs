//! Carries out what [`valkeeper_plan::controller::Controller`] decides, against any platform: local processes or Kubernetes.
//! What differs between them is behind three ports.

mod driver;
mod ports;
mod random;

pub use driver::{Driver, Publish, Requests};
pub use ports::{Boxed, Clock, Platform, Store};
pub use random::{RandomIds, password};
