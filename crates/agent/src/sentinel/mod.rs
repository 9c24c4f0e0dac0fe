//! Mode `sentinel`: a Sentinel's process, its file, and what agents ask and tell Sentinels.

mod conf;
mod keeper;
mod look;

pub use keeper::{SentinelHandle, SentinelSetup, keep};
pub(crate) use look::SentinelLook;
