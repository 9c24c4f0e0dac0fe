//! Slots are weighed in the pod: which is said outside, and what they weigh is answered as a line of JSON.

use super::pipe;
use super::task::{Task, line};
use crate::output;
use crate::weighing::{self, ShardWeighed, ToWeigh};
use anyhow::Context as _;
use valkeeper_client::Password;
use valkeeper_kube::remote::Remote;

/// Outside.
pub(crate) async fn weigh(remote: &Remote, asked: &ToWeigh) -> anyhow::Result<Vec<ShardWeighed>> {
    let task = Task::Weigh { asked: asked.clone() };
    let said = pipe::answer(remote, &task.line()?).await?;
    serde_json::from_slice(&said).context("what is said in the pod cannot be understood")
}

/// In the pod.
pub(super) async fn weigh_here(asked: &ToWeigh, password: &Password) -> anyhow::Result<()> {
    output::bytes(&line(&weighing::weigh(asked, password).await)?)
}
