//! The register of a cluster: the seat that is no agent (mode `standalone`).

use crate::handle::Boxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use valkeeper_model::{RegisterFault, RegisterLife};
use valkeeper_plan::mode::standalone::register::{RegisterAnswer, RegisterAsk};

/// Whoever keeps it: reads what is stored, has [`valkeeper_plan::mode::standalone::register::asked`] answer, and stores what that says before it answers. Of two
/// that store at a time one must lose: a file of the one supervisor, or an object that is replaced by compare-and-set.
pub trait Register: Send + Sync {
    /// Asks it. Never takes longer than `within`.
    fn ask(&self, ask: RegisterAsk, within: Duration) -> Boxed<Result<RegisterAnswer, RegisterFault>>;
}

/// The number of a register that is made now: no register before it had the same.
pub fn fresh_register_life() -> RegisterLife {
    let distance = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_else(|before| before.duration());
    RegisterLife(u64::try_from(distance.as_nanos()).unwrap_or(u64::MAX))
}
