//! The names of instances, and whether they lead to them.
//!
//! | file | what |
//! | --- | --- |
//! | `domain.rs` | the DNS domain that names end in |
//! | `propagation.rs` | whether clients find who has another address |
//! | `new_names.rs` | whether clients find a new cluster by its names |

pub(crate) mod domain;
pub(crate) mod new_names;
pub(crate) mod propagation;
