//! What a cluster consists of in Kubernetes, and what there is of it: what follows from the difference, and doing it.
//!
//! | file | what |
//! | --- | --- |
//! | `wanted_objects.rs` | what a cluster is to consist of. Pure |
//! | `missing_objects.rs` | what there is to do about what is there. Pure |
//! | `missing_secrets.rs` | the same of its Secrets. Pure |
//! | `object_writer.rs` | doing it, each object for itself |
//! | `backoff.rs` | what was refused is not tried again at once |
//! | `founders_first.rs` | whose pods are made first |
//! | `unstarted_pods.rs` | pods that do not begin on their node |

pub(crate) mod backoff;
pub(crate) mod founders_first;
pub(crate) mod missing_objects;
pub(crate) mod missing_secrets;
pub(crate) mod object_writer;
pub(crate) mod unstarted_pods;
pub(crate) mod wanted_objects;
