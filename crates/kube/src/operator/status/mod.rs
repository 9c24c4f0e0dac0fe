//! What people are told.
//!
//! | file | what |
//! | --- | --- |
//! | `status_writer.rs` | the status of a `RedisCluster` |
//! | `role_labels.rs` | the roles of pods, by which Services lead to them |
//! | `events.rs` | what has happened |
//! | `pod_trouble.rs` | why pods do not run |
//! | `zones.rs` | what the loss of a zone would cost |

pub(crate) mod events;
pub(crate) mod pod_trouble;
pub(crate) mod role_labels;
pub(crate) mod status_writer;
pub(crate) mod zones;
