//! What is printed: documents that programs may rely on, and pages that people read. The same for each platform; what one of them has
//! alone is a field that the others leave out.

pub(crate) mod balance;
pub(crate) mod connection;
pub(crate) mod event;
pub(crate) mod plan;
mod slots;
pub(crate) mod status;
