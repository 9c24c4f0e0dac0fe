//! Following the primary of another cluster, the *source*, and ending that: `spec.replicaMode`.
//!
//! The source is a node in the files in which agents keep who is the primary (`mode::standalone`): while the cluster follows, that node is the
//! primary, and every member is a replica of it. So a server that starts is a replica from its first millisecond, and a promotion is an
//! election as any other: the designated member stands for the next term, and the others follow it by a partial resynchronisation. That the
//! cluster is to be promoted is stored in the layout before any agent is told.
//!
//! | file | what is decided |
//! | --- | --- |
//! | `change.rs` | what a changed manifest makes of it |
//! | `demotion.rs` | whether a cluster with data of its own may go over to following, and what of it may be replaced |
//! | `designated.rs` | who becomes the primary when the cluster is promoted |
//! | `stage.rs` | when the layout goes on from following to promoted, by what is seen |
//! | `witnesses.rs` | when it is promoted without a person |
//! | `source_watch.rs` | one agent's look at the source: where it is, how far its stream is, why it must not be followed |
//! | `versions.rs` | which versions can follow which |
//! | `roles.rs` | the source in the file of roles |
//! | `gate/` | what one copy is held back from, so that a source that was emptied does not empty all |
//! | `judge.rs` | what is missing to a cluster that follows, and what people are told of it |

mod change;
mod demotion;
mod designated;
pub mod gate;
mod judge;
pub mod roles;
mod source_watch;
mod stage;
mod versions;
mod witnesses;

pub use change::{accept, cancel_hand_over, follow, hand_over, promote, refuse_change};
pub use demotion::{OwnData, forecast, held_data, hold};
pub use designated::choose_member;
pub use judge::{judge, report};
pub use source_watch::{OwnCopy, SourceWatch, refuse};
pub use stage::{choose_designated, happened, next, source_position};
