//! What is done in a pod of the cluster: there are the servers' addresses and their password, which never leave it. Both sides
//! are here; they talk by stdin and stdout.
//!
//! | file | outside | in the pod |
//! | --- | --- | --- |
//! | `task.rs` | what is asked for first | the same |
//! | `pipe.rs` | streams and exit code of a task | |
//! | `conversation.rs` | commands for servers | sends them |
//! | `weights.rs` | which slots are to be weighed | weighs them |
//! | `drill.rs` | a drill's writers, and a kill | writes, kills |

mod conversation;
mod drill;
mod pipe;
mod task;
mod weights;

pub(super) use conversation::{ServerPlace, converse};
pub(super) use drill::{aim, writers};
pub(super) use weights::weigh;

use anyhow::Context as _;
use std::io::BufRead as _;
use task::Task;
use valkeeper_kube::remote::Inside;

/// In the pod: does what stdin says first.
pub(crate) async fn inside() -> anyhow::Result<()> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line)?;
    let task = serde_json::from_slice(&line)
        .context("the command line outside wants something that this version does not know")?;
    let here = Inside::read()?;
    match task {
        Task::Load { seeds, saturate } => drill::write(&seeds, here.password, saturate).await,
        Task::Weigh { asked } => weights::weigh_here(&asked, &here.password).await,
        Task::Kill { pid } => drill::wait_and_kill(pid),
        Task::Cli { command, within_ms, manner } => {
            conversation::talk(here, None, within_ms, manner, &command).await
        }
        Task::CliTo { command, within_ms, manner, to } => {
            conversation::talk(here, Some(to), within_ms, manner, &command).await
        }
    }
}
