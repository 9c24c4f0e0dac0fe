//! Which operator acts.
//!
//! | file | what |
//! | --- | --- |
//! | `lease.rs` | which of several operators of an install |
//! | `other_installs.rs` | which of several installs |

mod lease;
pub(crate) mod other_installs;

pub(crate) use lease::{Candidate, LABEL_LEADING, LEASE};
