//! What is printed, as documents that programs may rely on and pages that people read.

pub(crate) mod status;
