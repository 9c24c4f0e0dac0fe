//! What an operation of a trait object gives: those have no async functions.

use std::pin::Pin;

/// A result that takes time. Everything runs in the thread of the program.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + 'a>>;
