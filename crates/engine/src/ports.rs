//! What a platform has to offer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use valkeeper_model::{
    Address, AgentOrder, Answer, Ask, AskFailed, InstanceName, Layout, LayoutVersion, Millis, ProvisionError,
    StartFailure, StoreError,
};
use valkeeper_plan::controller::CommitError;

/// A future in a box, for traits that are used as objects.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where instances live.
pub trait Platform: Send + Sync {
    /// Gives every instance of the layout an agent, a place for its data and an address, and says which. Doing it again
    /// changes nothing.
    fn provision(&self, layout: &Layout) -> Boxed<Result<BTreeMap<InstanceName, Address>, ProvisionError>>;
    /// Hands an agent its order; whether it obeys, its report says.
    fn order(&self, order: AgentOrder);
    /// Asks an agent. Never takes longer than `within`.
    fn ask(&self, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>>;
    /// Whose names lead clients elsewhere, as far as it knows. Nobody's where addresses are not told by name.
    fn names_elsewhere(&self) -> BTreeSet<InstanceName> {
        BTreeSet::new()
    }
    /// Whose agents cannot be started, as far as it knows, and why.
    fn not_starting(&self) -> BTreeMap<InstanceName, StartFailure> {
        BTreeMap::new()
    }
}

/// Where the layout is kept.
pub trait Store: Send + Sync {
    /// Reads it.
    fn load(&self) -> Boxed<Result<Option<Layout>, StoreError>>;
    /// Stores this one if the stored one is of that version, whole or not at all.
    fn commit(&self, layout: Layout, after: Option<LayoutVersion>) -> Boxed<Result<(), CommitError>>;
}

/// Monotonic time since an origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Instant);

impl Clock {
    /// Now.
    pub fn now(self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
    /// When that will be.
    pub fn at(self, time: Millis) -> Instant {
        self.0 + Duration::from_millis(time.0)
    }
}
